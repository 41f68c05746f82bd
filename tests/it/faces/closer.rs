//! Small faces on large photos: found although the first look is a coarse one, and compared with
//! all their pixels.

use std::io::Cursor;

use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use visavis_face::{AnalysedFace, Picture, PictureKind, Pipeline, geometry::BoundingBox};

use super::with_each_engine;
use crate::support::models::{sample, sample_photo};

/// A photo as a camera writes it: 12 megapixels of a wall with these photos at these places, so
/// wide.
fn wall(pictures: &[(&RgbImage, u32, (i64, i64))]) -> Vec<u8> {
    let mut wall = RgbImage::from_pixel(4000, 3000, Rgb([150, 146, 138]));
    for (picture, width, (x, y)) in pictures {
        let height = picture.height() * width / picture.width();
        let small = imageops::resize(*picture, *width, height, imageops::FilterType::Triangle);
        imageops::replace(&mut wall, &small, *x, *y);
    }
    let mut bytes = Cursor::new(Vec::new());
    wall.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 95)).unwrap();
    bytes.into_inner()
}

fn analysed(engine: &mut Pipeline, bytes: &[u8], hint: Option<BoundingBox>) -> AnalysedFace {
    let picture = Picture { bytes, hint, kind: PictureKind::Selfie };
    engine.analyse(&picture).unwrap().expect("a face")
}

#[test]
fn a_small_face_is_compared_with_all_its_pixels() {
    with_each_engine(compare_a_small_face);
}

fn compare_a_small_face(engine: &mut Pipeline) {
    let portrait = sample_photo("obama-2012");
    let original = analysed(engine, &sample("obama-2012"), None);
    // 110 pixels of face in 4,000: 14 in the photo as it is decoded first.
    let face = analysed(engine, &wall(&[(&portrait, 220, (2_900, 1_700))]), None);
    let area = face.report.area;
    assert_eq!((face.report.width, face.report.height), (4_000, 3_000));
    assert!(area.x > 2_900.0 && area.x + area.width < 3_120.0, "{area:?}");
    assert!(area.y > 1_700.0 && area.y + area.height < 1_980.0, "{area:?}");
    let similarity = face.embedding.cosine(&original.embedding).value();
    assert!(similarity > 0.93, "{similarity}");
    let apart = face.report.quality.measures.inter_eye_distance_px;
    assert!((20.0..70.0).contains(&apart), "{apart} pixels of the photo between the eyes");
}

#[test]
fn a_hint_finds_the_small_face_beside_a_large_one() {
    with_each_engine(follow_a_hint);
}

fn follow_a_hint(engine: &mut Pipeline) {
    let (large, small) = (sample_photo("collins"), sample_photo("obama-2012"));
    let both = wall(&[(&large, 1_800, (200, 200)), (&small, 200, (3_200, 2_300))]);
    let expected = analysed(engine, &sample("obama-2012"), None);
    let hint = BoundingBox::new(3_270.0, 2_310.0, 75.0, 90.0);
    let hinted = analysed(engine, &both, Some(hint));
    assert!(hinted.report.area.iou(&hint) > 0.4, "{:?}", hinted.report.area);
    let similarity = hinted.embedding.cosine(&expected.embedding).value();
    assert!(similarity > 0.8, "{similarity}");
    let without = analysed(engine, &both, None);
    assert!(without.report.area.x < 2_000.0, "{:?}", without.report.area);
    // A smaller one than any look at the photo could show large.
    let speck = BoundingBox::new(3_290.0, 2_335.0, 30.0, 30.0);
    let hinted = analysed(engine, &both, Some(speck));
    assert!(hinted.report.area.x > 3_000.0, "{:?}", hinted.report.area);
    // A hint of another photo leads nowhere, and the face is found all the same.
    let astray = analysed(engine, &both, Some(BoundingBox::new(2_500.0, 100.0, 30.0, 30.0)));
    assert!(astray.report.area.x < 2_000.0, "{:?}", astray.report.area);
}

//! Photos on their side or on their head, without a word about it.

use std::{
    io::Cursor,
    time::{Duration, Instant},
};

use image::{ImageEncoder as _, ImageFormat, RgbImage, codecs::png::PngEncoder, imageops};
use visavis_face::{
    DecodeLimits, Picture, PictureKind, Pipeline,
    decode::{decode, decode_reduced},
};

use super::{analysed, with_each_engine};
use crate::support::models::sample_photo;

const SAMPLES: [&str; 4] = ["obama-2009", "obama-2012", "collins", "hopper"];

#[test]
fn a_turned_photo_shows_the_same_person_and_its_face_is_told_where_it_is() {
    with_each_engine(find_turned_faces);
}

fn find_turned_faces(engine: &mut Pipeline) {
    for sample in SAMPLES {
        let upright = sample_photo(sample);
        let (width, height) = (upright.width() as f32, upright.height() as f32);
        let original = analysed(engine, &upright).expect("a face");
        let nose = original.report.landmarks.0[2];
        // Where the nose goes when the photo is turned clockwise by a quarter, by half, by three.
        let turned = [
            (imageops::rotate90(&upright), (height - 1.0 - nose.y, nose.x)),
            (imageops::rotate180(&upright), (width - 1.0 - nose.x, height - 1.0 - nose.y)),
            (imageops::rotate270(&upright), (nose.y, width - 1.0 - nose.x)),
        ];
        for (picture, (x, y)) in turned {
            let face = analysed(engine, &picture).expect("a face");
            let similarity = face.embedding.cosine(&original.embedding).value();
            assert!(similarity > 0.95, "{sample}: {similarity}");
            let report = face.report;
            assert_eq!((report.width, report.height), picture.dimensions());
            let found = report.landmarks.0[2];
            let close = original.report.quality.measures.inter_eye_distance_px / 10.0;
            assert!((found.x - x).hypot(found.y - y) < close, "{sample}: {found:?} for {x}, {y}");
            let area = report.area;
            assert!((area.x..area.x + area.width).contains(&x), "{sample}: {area:?}");
            assert!((area.y..area.y + area.height).contains(&y), "{sample}: {area:?}");
        }
    }
}

#[test]
fn a_hint_is_turned_with_the_photo() {
    with_each_engine(turn_a_hint);
}

fn turn_a_hint(engine: &mut Pipeline) {
    let photos = ["collins", "hopper"].map(|sample| {
        imageops::resize(&sample_photo(sample), 400, 400, imageops::FilterType::Triangle)
    });
    let mut both = image::RgbImage::new(800, 400);
    imageops::replace(&mut both, &photos[0], 0, 0);
    imageops::replace(&mut both, &photos[1], 400, 0);
    let on_its_side = imageops::rotate270(&both);
    let mut bytes = Vec::new();
    on_its_side.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    let mut with_hint = |y: f32| {
        let hint = visavis_face::geometry::BoundingBox::new(50.0, y, 300.0, 300.0);
        let picture = Picture { bytes: &bytes, hint: Some(hint), kind: PictureKind::Selfie };
        engine.analyse(&picture).unwrap().expect("a face").report.area
    };
    // Turned to the left, the right half is above.
    assert!(with_hint(50.0).centre().y < 400.0);
    assert!(with_hint(450.0).centre().y > 400.0);
}

/// The shorter of two times that it takes.
fn time<T>(mut work: impl FnMut() -> T) -> Duration {
    let times = [(); 2].map(|()| {
        let begun = Instant::now();
        std::hint::black_box(work());
        begun.elapsed()
    });
    times[0].min(times[1])
}

#[test]
fn a_photo_that_exif_lays_on_its_side_is_shrunk_before_it_is_turned() {
    let limits = DecodeLimits::default();
    for orientation in 5..=8 {
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
        encoder.set_exif_metadata([&exif[..], &[orientation, 0, 0, 0, 0, 0, 0]].concat()).unwrap();
        RgbImage::from_pixel(2_600, 1_900, image::Rgb([9, 120, 30]))
            .write_with_encoder(encoder)
            .unwrap();
        let few = decode_reduced(&bytes, &limits, 640).unwrap();
        assert_eq!((few.size, few.image.dimensions()), ((1_900, 2_600), (475, 650)));
        let turning_all = time(|| decode(&bytes, &limits).unwrap());
        let turning_few = time(|| decode_reduced(&bytes, &limits, 640).unwrap());
        let ratio = turning_few.as_secs_f64() / turning_all.as_secs_f64();
        assert!(ratio < 0.8, "{orientation}: {turning_few:?}, and {turning_all:?} for all pixels");
    }
}

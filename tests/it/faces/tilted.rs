//! Heads that lean to a shoulder: the whole photo is rotated by an angle, so that all but the tilt
//! stays the same.

use image::{Rgb, RgbImage};
use visavis_face::{
    DecodeLimits, Pipeline, PipelineOptions,
    decode::decode,
    geometry::Point,
    quality::{Bounds, QualityVerdict, ReasonCode},
};

use super::{analysed, with_each_engine};
use crate::support::models::{config, pack, runtime, sample_photo, shared};

const ANGLES: [f32; 8] = [-60.0, -45.0, -30.0, -15.0, 15.0, 30.0, 45.0, 60.0];

/// The photo rotated clockwise around its middle, as large as before; its border is repeated.
pub(super) fn rotated(photo: &RgbImage, degrees: f32) -> RgbImage {
    let rotation = Rotation::new(photo, degrees);
    let (right, bottom) = (photo.width() as f32 - 1.0, photo.height() as f32 - 1.0);
    RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
        let at = rotation.back(Point::new(x as f32, y as f32));
        let (x, y) = (at.x.clamp(0.0, right), at.y.clamp(0.0, bottom));
        let (fx, fy) = (x.fract(), y.fract());
        let pixel = |dx: f32, dy: f32| {
            photo.get_pixel((x + dx).min(right) as u32, (y + dy).min(bottom) as u32).0
        };
        let corners = [
            (pixel(0.0, 0.0), (1.0 - fx) * (1.0 - fy)),
            (pixel(1.0, 0.0), fx * (1.0 - fy)),
            (pixel(0.0, 1.0), (1.0 - fx) * fy),
            (pixel(1.0, 1.0), fx * fy),
        ];
        let channel = |c: usize| corners.iter().map(|(p, w)| f32::from(p[c]) * w).sum::<f32>();
        Rgb(std::array::from_fn(|c| channel(c).round() as u8))
    })
}

/// A clockwise rotation around the middle of a photo.
struct Rotation {
    sin: f32,
    cos: f32,
    middle: Point,
}

impl Rotation {
    fn new(photo: &RgbImage, degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let half = |pixels: u32| (pixels as f32 - 1.0) / 2.0;
        Self { sin, cos, middle: Point::new(half(photo.width()), half(photo.height())) }
    }

    /// Where a point of the photo goes.
    fn there(&self, at: Point) -> Point {
        let (x, y) = (at.x - self.middle.x, at.y - self.middle.y);
        let (x, y) = (self.cos * x - self.sin * y, self.sin * x + self.cos * y);
        Point::new(self.middle.x + x, self.middle.y + y)
    }

    fn back(&self, at: Point) -> Point {
        let reverse = Self { sin: -self.sin, ..*self };
        reverse.there(at)
    }
}

#[test]
fn a_tilted_head_is_measured_and_compared_as_if_it_were_upright() {
    with_each_engine(compare_tilted_heads);
}

fn compare_tilted_heads(engine: &mut Pipeline) {
    for name in ["obama-2009", "obama-2012", "collins", "hopper"] {
        let photo = sample_photo(name);
        let upright = analysed(engine, &photo).expect("a face");
        for degrees in ANGLES {
            let tilted = analysed(engine, &rotated(&photo, degrees)).expect("a face");
            let at = format!("{name} at {degrees}°");
            let similarity = tilted.embedding.cosine(&upright.embedding).value();
            assert!(similarity > 0.93, "{at}: {similarity}");
            let (quality, as_upright) = (&tilted.report.quality, &upright.report.quality);
            assert_eq!(quality.verdict, QualityVerdict::Pass, "{at}: {:?}", quality.reasons);
            let (measured, expected) = (&quality.measures, &as_upright.measures);
            assert!((measured.confidence - expected.confidence).abs() < 0.05, "{at}: {measured:?}");
            let difference = |of: Option<f32>, other: Option<f32>| {
                (of.unwrap_or_default() - other.unwrap_or_default()).abs()
            };
            assert!(difference(measured.yaw_deg, expected.yaw_deg) < 12.0, "{at}: {measured:?}");
            assert!(
                difference(measured.pitch_deg, expected.pitch_deg) < 12.0,
                "{at}: {measured:?}"
            );
            let roll = (measured.roll_deg - degrees.abs()).abs();
            assert!(roll < expected.roll_deg + 5.0, "{at}: {}", measured.roll_deg);
            // Box and landmarks are reported on the photo as it was sent.
            let rotation = Rotation::new(&photo, degrees);
            let close = expected.inter_eye_distance_px / 5.0;
            for (found, original) in
                tilted.report.landmarks.0.iter().zip(upright.report.landmarks.0)
            {
                assert!(found.distance(rotation.there(original)) < close, "{at}: {found:?}");
            }
            let nose = tilted.report.landmarks.0[2];
            let area = tilted.report.area;
            assert!((area.x..area.x + area.width).contains(&nose.x), "{at}: {area:?}");
            assert!((area.y..area.y + area.height).contains(&nose.y), "{at}: {area:?}");
        }
    }
}

#[test]
fn a_photo_of_a_head_at_45_degrees_shows_the_person_of_another_photo() {
    let Some(tilted) = shared("cases/head-45-degrees.jpg") else { return };
    let tilted = decode(&std::fs::read(tilted).unwrap(), &DecodeLimits::default()).unwrap();
    with_each_engine(|engine| {
        let face = analysed(engine, &tilted).expect("a face");
        assert_eq!(face.report.quality.verdict, QualityVerdict::Pass, "{:?}", face.report.quality);
        let other = analysed(engine, &sample_photo("obama-2009")).expect("a face");
        let similarity = face.embedding.cosine(&other.embedding).value();
        assert!(similarity > 0.6, "{similarity}");
    });
}

#[test]
fn a_limit_on_the_tilt_fails_a_tilted_head_and_no_upright_one() {
    let mut selfie = config().quality.selfie;
    selfie.roll_deg = Bounds { fail_above: Some(25.0), ..Bounds::default() };
    let options = PipelineOptions { selfie, ..PipelineOptions::default() };
    let mut engine = Pipeline::open(&runtime(), &pack(), options).unwrap();
    let photo = sample_photo("obama-2009");
    assert_eq!(
        analysed(&mut engine, &photo).expect("a face").report.quality.verdict,
        QualityVerdict::Pass
    );
    for degrees in [-60.0, -45.0, -32.0, 32.0, 45.0, 60.0] {
        let quality =
            analysed(&mut engine, &rotated(&photo, degrees)).expect("a face").report.quality;
        assert_eq!(quality.verdict, QualityVerdict::Fail, "{degrees}");
        assert_eq!(quality.reasons[0].code, ReasonCode::HeadRolled, "{degrees}");
    }
    // On its side as on its head.
    let on_its_side = image::imageops::rotate90(&photo);
    let quality = analysed(&mut engine, &on_its_side).expect("a face").report.quality;
    assert_eq!(quality.reasons[0].code, ReasonCode::HeadRolled);
    assert!((quality.measures.roll_deg - 90.0).abs() < 8.0);
}

//! An engine whose results are written into the photos.

use std::{thread, time::Duration};

use visavis_face::{
    Comparison, Engine, FaceError, FaceReport, Picture as Input, Refusal, Side, Similarity,
    geometry::{BoundingBox, Landmarks},
    quality::{Measures, QualityLimits, judge},
};

/// What the fake engine is to see in a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// The face of person number n.
    Person(u8),
    /// No face.
    Nothing,
    /// A face whose similarity to every other is the one at which the decision turns.
    Borderline,
    /// A face that is too blurred.
    Blurred(u8),
    /// The engine fails on it, every time.
    Broken,
    /// The engine panics on it, every time.
    Panics,
    /// The face of person 1, found after that many milliseconds.
    Slow(u16),
    /// The face of person number n, and a smaller one of another person.
    Group(u8),
}

impl Picture {
    /// A "JPEG" that the fake engine understands: it passes the checks of the front door only.
    pub fn bytes(self) -> Vec<u8> {
        let (kind, low, high) = match self {
            Self::Person(n) => (b'P', n, 0),
            Self::Nothing => (b'N', 0, 0),
            Self::Borderline => (b'=', 0, 0),
            Self::Blurred(n) => (b'B', n, 0),
            Self::Broken => (b'X', 0, 0),
            Self::Panics => (b'!', 0, 0),
            Self::Slow(ms) => (b'S', ms.to_le_bytes()[0], ms.to_le_bytes()[1]),
            Self::Group(n) => (b'&', n, 0),
        };
        vec![0xFF, 0xD8, 0xFF, kind, low, high]
    }

    fn read(bytes: &[u8]) -> Self {
        match bytes {
            [_, _, _, b'P', n, ..] => Self::Person(*n),
            [_, _, _, b'B', n, ..] => Self::Blurred(*n),
            [_, _, _, b'&', n, ..] => Self::Group(*n),
            [_, _, _, b'=', ..] => Self::Borderline,
            [_, _, _, b'X', ..] => Self::Broken,
            [_, _, _, b'!', ..] => Self::Panics,
            [_, _, _, b'S', low, high, ..] => Self::Slow(u16::from_le_bytes([*low, *high])),
            _ => Self::Nothing,
        }
    }
}

/// The number of no person.
const BORDERLINE: u8 = u8::MAX;

/// Returns the result that a [`Picture`] holds.
#[derive(Debug, Default)]
pub struct FakeEngine;

impl FakeEngine {
    fn look(input: &Input<'_>) -> Result<Option<(u8, FaceReport)>, FaceError> {
        Ok(match Picture::read(input.bytes) {
            Picture::Nothing => None,
            Picture::Broken => return Err(FaceError::Manifest("broken on purpose".to_owned())),
            Picture::Panics => panic!("panicking on purpose"),
            Picture::Person(n) => Some((n, report(20.0, 0.0))),
            Picture::Group(n) => Some((n, report(20.0, 0.5))),
            Picture::Borderline => Some((BORDERLINE, report(20.0, 0.0))),
            Picture::Blurred(n) => Some((n, report(0.5, 0.0))),
            Picture::Slow(ms) => {
                thread::sleep(Duration::from_millis(u64::from(ms)));
                Some((1, report(20.0, 0.0)))
            }
        })
    }
}

impl Engine for FakeEngine {
    fn compare(
        &mut self,
        probe: &Input<'_>,
        reference: &Input<'_>,
    ) -> Result<Comparison, FaceError> {
        let refused = |side| Comparison::Refused { side, refusal: Refusal::NoFace };
        let Some((one, probe)) = Self::look(probe)? else { return Ok(refused(Side::Probe)) };
        let Some((other, reference)) = Self::look(reference)? else {
            return Ok(refused(Side::Reference));
        };
        let similarity = Similarity::clamped(match (one, other) {
            (BORDERLINE, _) | (_, BORDERLINE) => 0.508,
            _ if one == other => 0.7,
            _ => 0.05,
        });
        Ok(Comparison::Compared {
            similarity,
            degradation_loss: 0.0,
            probe: Box::new(probe),
            reference: Box::new(reference),
            times: Default::default(),
        })
    }
}

fn report(sharpness: f32, other_face: f32) -> FaceReport {
    let measures = Measures {
        unified: Some(84.6),
        inter_eye_distance_px: 60.0,
        face_size_px: 150.0,
        confidence: 0.9,
        yaw_deg: Some(1.0),
        pitch_deg: Some(1.0),
        eyes_open: Some(0.9),
        sharpness: Some(sharpness),
        brightness: 0.5,
        other_face,
        ..Measures::default()
    };
    let mut limits = QualityLimits::default();
    limits.sharpness.fail_below = Some(1.5);
    limits.other_face.warn_above = Some(0.35);
    FaceReport {
        width: 640,
        height: 480,
        faces: if other_face > 0.0 { 2 } else { 1 },
        area: BoundingBox::new(100.0, 100.0, 150.0, 180.0),
        landmarks: Landmarks::default(),
        quality: judge(measures, &limits),
    }
}

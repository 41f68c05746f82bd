//! Is the picture good enough? Measures, their limits, and the reasons they lead to.
//!
//! A FAIL forces the answer "not the same person", so a limit that is too strict costs the right
//! person their answer. Only measures that predict errors may fail a picture; the others warn.

mod components;
mod measure;
mod unified;
mod view;

use components::Row;
pub use components::{Component, bounds_of, components};
pub use measure::{Measures, Observed, measure};
use serde::{Deserialize, Serialize};
pub use unified::{UnifiedQuality, UnifiedTerms};

/// Where one measure warns and where it fails; an absent limit never speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// FAIL under this value.
    #[serde(default)]
    pub fail_below: Option<f32>,
    /// Warning under this value.
    #[serde(default)]
    pub warn_below: Option<f32>,
    /// FAIL over this value.
    #[serde(default)]
    pub fail_above: Option<f32>,
    /// Warning over this value.
    #[serde(default)]
    pub warn_above: Option<f32>,
}

/// The limits of all measures for one kind of picture, by the names in [`Measures`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described where it is measured")]
pub struct QualityLimits {
    pub unified: Bounds,
    pub inter_eye_distance_px: Bounds,
    pub face_size_px: Bounds,
    pub confidence: Bounds,
    pub yaw_deg: Bounds,
    pub pitch_deg: Bounds,
    pub roll_deg: Bounds,
    pub eyes_open: Bounds,
    pub sharpness: Bounds,
    pub brightness: Bounds,
    pub luminance_variance: Bounds,
    pub dynamic_range_bits: Bounds,
    pub over_exposed: Bounds,
    pub under_exposed: Bounds,
    pub illumination_uniformity: Bounds,
    pub unnatural_colour: Bounds,
    pub head_size: Bounds,
    pub left_margin: Bounds,
    pub right_margin: Bounds,
    pub margin_above: Bounds,
    pub margin_below: Bounds,
    pub other_face: Bounds,
}

/// What is wrong, in one word that a program can test for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReasonCode {
    /// The eyes are too few pixels apart.
    EyesTooClose,
    /// The face has too few pixels.
    FaceTooSmall,
    /// The detector is not sure that it is a face.
    UncertainFace,
    /// The head is turned to a side.
    HeadTurned,
    /// The head is lowered or raised.
    HeadTilted,
    /// The head leans to a shoulder.
    HeadRolled,
    /// Both eyes seem closed.
    EyesClosed,
    /// The face is out of focus, moved, or enlarged from few pixels.
    Blurred,
    /// All in all the picture is one that is often taken for another person's.
    LowQuality,
    /// Bright and dark parts of the face hardly differ.
    LowContrast,
    /// Bright and dark parts of the face differ too much.
    HighContrast,
    /// One side of the face is lit and the other is not.
    UnevenLight,
    /// The skin has a colour that skin has not.
    UnnaturalColour,
    /// The head is small in its picture.
    HeadTooSmall,
    /// The head leaves too little of its picture free.
    HeadTooLarge,
    /// The picture ends too near to the face, or within it.
    FaceCut,
    /// The face is too dark.
    TooDark,
    /// The face is too bright.
    TooBright,
    /// Too much of the face is pure white.
    OverExposed,
    /// Too much of the face is pure black.
    UnderExposed,
    /// Another face of similar size is in the picture.
    SeveralFaces,
    /// A reason that only a later version knows: the row was written by one.
    #[serde(other)]
    Other,
}

impl ReasonCode {
    /// As answers and metrics have it.
    pub fn name(self) -> String {
        // A variant without members becomes a string.
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

/// One measure beyond one of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What is wrong.
    pub code: ReasonCode,
    /// What was measured.
    pub value: f32,
    /// The limit it went beyond.
    pub limit: f32,
    /// Whether this alone fails the picture; otherwise it is a warning.
    pub fails: bool,
}

/// The verdict on one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum QualityVerdict {
    /// Good enough to decide on.
    Pass,
    /// Not good enough: the decision is "not the same person" whatever the score.
    Fail,
}

/// Measures, reasons and verdict of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// PASS or FAIL.
    pub verdict: QualityVerdict,
    /// Everything beyond a limit, failures first.
    pub reasons: Vec<Reason>,
    /// What was measured.
    pub measures: Measures,
}

/// Holds the measures against the limits.
pub fn judge(measures: Measures, limits: &QualityLimits) -> Quality {
    let reason = |row: &Row| {
        let native = (row.native)(&measures)?;
        (row.bounds)(limits).reason(native, row.below, row.above)
    };
    let mut reasons: Vec<Reason> = components::TABLE.iter().filter_map(reason).collect();
    reasons.sort_by_key(|reason| !reason.fails);
    let failed = reasons.iter().any(|reason| reason.fails);
    let verdict = if failed { QualityVerdict::Fail } else { QualityVerdict::Pass };
    Quality { verdict, reasons, measures }
}

impl Bounds {
    /// The hardest limit that `value` goes beyond; a value that is no number goes beyond none.
    fn reason(&self, value: f32, below: ReasonCode, above: ReasonCode) -> Option<Reason> {
        let under = |limit: Option<f32>| limit.filter(|l| value < *l);
        let over = |limit: Option<f32>| limit.filter(|l| value > *l);
        let reason = |code, limit, fails| Reason { code, value, limit, fails };
        under(self.fail_below)
            .map(|l| reason(below, l, true))
            .or_else(|| over(self.fail_above).map(|l| reason(above, l, true)))
            .or_else(|| under(self.warn_below).map(|l| reason(below, l, false)))
            .or_else(|| over(self.warn_above).map(|l| reason(above, l, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Measures {
        Measures {
            inter_eye_distance_px: 90.0,
            confidence: 0.9,
            yaw_deg: Some(3.0),
            sharpness: 14.0,
            brightness: 0.5,
            ..Measures::default()
        }
    }

    fn limits() -> QualityLimits {
        QualityLimits {
            inter_eye_distance_px: Bounds {
                fail_below: Some(24.0),
                warn_below: Some(60.0),
                ..Bounds::default()
            },
            yaw_deg: Bounds { fail_above: Some(45.0), warn_above: Some(25.0), ..Bounds::default() },
            brightness: Bounds {
                fail_below: Some(0.08),
                fail_above: Some(0.95),
                ..Bounds::default()
            },
            pitch_deg: Bounds { fail_above: Some(1.0), ..Bounds::default() },
            ..QualityLimits::default()
        }
    }

    fn codes(measures: Measures) -> (QualityVerdict, Vec<ReasonCode>) {
        let quality = judge(measures, &limits());
        (quality.verdict, quality.reasons.iter().map(|r| r.code).collect())
    }

    #[test]
    fn a_good_face_passes_without_reasons_and_an_absent_measure_never_speaks() {
        assert_eq!(codes(fine()), (QualityVerdict::Pass, vec![]));
    }

    #[test]
    fn a_warning_passes_and_a_failure_fails_and_comes_first() {
        let turned = Measures { yaw_deg: Some(30.0), ..fine() };
        assert_eq!(codes(turned), (QualityVerdict::Pass, vec![ReasonCode::HeadTurned]));
        let worse = Measures { inter_eye_distance_px: 50.0, brightness: 0.01, ..turned };
        let expected = vec![ReasonCode::TooDark, ReasonCode::EyesTooClose, ReasonCode::HeadTurned];
        assert_eq!(codes(worse), (QualityVerdict::Fail, expected));
        assert_eq!(codes(Measures { brightness: 0.99, ..fine() }).1, [ReasonCode::TooBright]);
    }
}

//! The verdict on a photo, and its reasons.

use serde::{Deserialize, Serialize};

use super::measure::Measures;

/// What is wrong, as a code for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReasonCode {
    /// The eyes are too few pixels apart.
    EyesTooClose,
    /// The face has too few pixels.
    FaceTooSmall,
    /// The detector has low confidence in the face.
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
    /// The overall quality is low: comparisons with such photos are error-prone.
    LowQuality,
    /// Bright and dark parts of the face hardly differ.
    LowContrast,
    /// Bright and dark parts of the face differ too much.
    HighContrast,
    /// One side of the face is lit and the other is not.
    UnevenLight,
    /// The skin colour is unnatural.
    UnnaturalColour,
    /// The head is too small relative to the photo.
    HeadTooSmall,
    /// The head is too large relative to the photo.
    HeadTooLarge,
    /// The border of the photo is too near to the face, or cuts it.
    FaceCut,
    /// The face is too dark.
    TooDark,
    /// The face is too bright.
    TooBright,
    /// Too much of the face is pure white.
    OverExposed,
    /// Too much of the face is pure black.
    UnderExposed,
    /// Another face of similar size is in the photo.
    SeveralFaces,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

impl ReasonCode {
    /// The code in responses and metrics.
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
    /// The limit that was exceeded.
    pub limit: f32,
    /// Whether it fails the photo; otherwise it is a warning.
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

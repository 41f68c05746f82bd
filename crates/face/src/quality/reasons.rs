//! The verdict on a photo, and its reasons.

use serde::{Deserialize, Serialize};

use super::measure::Measures;

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

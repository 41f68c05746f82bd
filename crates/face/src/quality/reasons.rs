//! The verdict on a photo, and its reasons.

use std::fmt;

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
    /// The eyes are hidden.
    EyesCovered,
    /// A reflection or a veil of light lies over an eye.
    EyesGlare,
    /// The mouth is hidden, with the nose or without.
    MouthCovered,
    /// One side of the face is hidden.
    FaceCovered,
    /// The face has noise, as of a camera in little light.
    Noisy,
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
    /// Another face is in the photo, larger than the second portrait of a document.
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

    /// What is wrong, for people: what follows "the photo".
    pub fn problem(self) -> &'static str {
        self.texts().0
    }

    /// What to ask the person for.
    pub fn remedy(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::EyesTooClose => (
                "has too few pixels between the eyes",
                "Move closer to the camera, or send a larger photo.",
            ),
            Self::FaceTooSmall => (
                "has too few pixels of the face",
                "Move closer to the camera, or send a larger photo.",
            ),
            Self::UncertainFace => (
                "hardly shows a face",
                "Show the whole face in good light, without mask, hands or dark glasses.",
            ),
            Self::HeadTurned => {
                ("shows the head turned to one side", "Look straight into the camera.")
            }
            Self::HeadTilted => (
                "shows the head lowered or raised",
                "Hold the camera at eye level and look straight into it.",
            ),
            Self::HeadRolled => ("shows the head tilted to one shoulder", "Hold the head upright."),
            Self::EyesClosed => ("shows closed eyes", "Open both eyes."),
            Self::EyesCovered => (
                "shows covered eyes",
                "Take off dark glasses, and keep hair and hands away from the eyes.",
            ),
            Self::EyesGlare => (
                "shows glare over the eyes",
                "Move out of direct light, use no flash, and avoid reflections on glasses.",
            ),
            Self::MouthCovered => (
                "shows a covered mouth",
                "Take off masks and scarves, and keep hands away from the face.",
            ),
            Self::FaceCovered => (
                "shows one side of the face covered",
                "Keep hair, hands and other things away from the face.",
            ),
            Self::Noisy => ("has too much noise in the face", "Find brighter light."),
            Self::Blurred => (
                "is blurred",
                "Hold the camera still, clean the lens and wait until the image is sharp.",
            ),
            Self::LowQuality => (
                "has a low overall quality",
                "Take a new photo: face the camera, close to it, in even light.",
            ),
            Self::LowContrast => (
                "has too little contrast in the face",
                "Find brighter light, and avoid reflections.",
            ),
            Self::HighContrast => (
                "has too much contrast in the face",
                "Find softer light that comes from the front.",
            ),
            Self::UnevenLight => ("shows the face lit from one side", "Turn to the light."),
            Self::UnnaturalColour => (
                "shows an unnatural skin colour",
                "Use daylight or white light, and no colour filter.",
            ),
            Self::HeadTooSmall => ("shows the head too small", "Move closer to the camera."),
            Self::HeadTooLarge => ("shows the head too large", "Move away from the camera."),
            Self::FaceCut => (
                "shows the face too close to the edge",
                "Move the whole head into the middle of the photo.",
            ),
            Self::TooDark => {
                ("shows the face too dark", "Find brighter light that comes from the front.")
            }
            Self::TooBright => {
                ("shows the face too bright", "Move out of direct light, and use no flash.")
            }
            Self::OverExposed => (
                "has too many white pixels in the face",
                "Move out of direct light, use no flash, and avoid reflections.",
            ),
            Self::UnderExposed => (
                "has too many black pixels in the face",
                "Find brighter light that comes from the front.",
            ),
            Self::SeveralFaces => (
                "shows several faces",
                "Take a photo of one person alone, or select the face with rect.",
            ),
            Self::Other => (
                "has a problem that this version does not know",
                "Update Visavis to see the reason.",
            ),
        }
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

/// What follows the name of the measure: `0.61 is below the minimum of 1.5`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, limit, .. } = *self;
        let side = if value < limit { "below the minimum" } else { "above the maximum" };
        let rounded = format!("{value:.2}");
        // Not so far that it seems to be the limit itself.
        if rounded.parse() == Ok(limit) {
            write!(f, "{value} is {side} of {limit}")
        } else {
            write!(f, "{rounded} is {side} of {limit}")
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_on_which_side_of_which_limit_the_value_lies() {
        let reason = |value, limit| Reason { code: ReasonCode::Blurred, value, limit, fails: true };
        assert_eq!(reason(0.611, 1.5).to_string(), "0.61 is below the minimum of 1.5");
        assert_eq!(reason(30.75, 30.0).to_string(), "30.75 is above the maximum of 30");
        assert_eq!(reason(0.501, 0.5).to_string(), "0.501 is above the maximum of 0.5");
    }
}

//! Whether a detection is a face, by the detector and the embedder together.
//!
//! The detector alone reports muzzles, wheels and folds of cloth as faces. Its confidence in them
//! is low, and so is the length of their embedding, because the embedder was trained only on faces.
//! Hardly any real face is low in both, even if it is dark, small, blurred or turned. The sum of
//! the two separates them far better than either alone.

use serde::{Deserialize, Serialize};

/// A detection is a face if `confidence` × the detector's confidence + the embedding's length is at
/// least `least`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaceCheck {
    /// Weight of the detector's confidence, in units of the embedding's length.
    pub(crate) confidence: f32,
    /// The threshold.
    pub(crate) least: f32,
}

impl FaceCheck {
    /// `confidence` is the detector's, 0 to 1; `length` that of the embedding before it was
    /// normalised.
    pub(crate) fn passes(self, confidence: f32, length: f32) -> bool {
        self.confidence * confidence + length >= self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_the_detector_or_the_embedder_must_be_convinced() {
        let check = FaceCheck { confidence: 20.0, least: 28.0 };
        assert!(check.passes(0.9, 10.0) && check.passes(0.7, 14.0));
        assert!(!check.passes(0.84, 10.5) && !check.passes(0.65, 13.0));
    }
}

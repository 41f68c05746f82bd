//! Is what the detector calls a face one? The embedder has an opinion too.
//!
//! The detector alone takes muzzles, wheels and folds of cloth for faces. Its confidence in them is low, and so is
//! the length of what the embedder, which has seen nothing but faces, makes of them; of real faces hardly any is low
//! in both, however dark, small, blurred or turned it is. The sum of the two tells them apart far better than either.

use serde::{Deserialize, Serialize};

/// A face is taken for one if `confidence` × the detector's confidence + the embedding's length reaches `least`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaceCheck {
    /// What the detector's full confidence is worth, in units of the embedding's length.
    pub(crate) confidence: f32,
    /// What has to be reached.
    pub(crate) least: f32,
}

impl FaceCheck {
    /// `confidence` is the detector's, 0 to 1; `length` that of the embedding before it was normalised.
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

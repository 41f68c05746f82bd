//! What a detector reports.

use serde::{Deserialize, Serialize};

use super::geometry::{BoundingBox, Landmarks};

/// One found face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Where it is, in pixels of the picture.
    pub area: BoundingBox,
    /// Its five landmarks, in pixels of the picture.
    pub landmarks: Landmarks,
    /// The detector's confidence, 0 to 1; nothing to do with likeness.
    pub confidence: f32,
}

impl Detection {
    /// The same face in a picture whose axes are scaled by (`sx`, `sy`).
    #[must_use]
    pub(crate) fn scaled(&self, sx: f32, sy: f32) -> Self {
        let (area, landmarks) = (self.area.scaled(sx, sy), self.landmarks.scaled(sx, sy));
        Self { area, landmarks, ..*self }
    }

    /// Whether all its numbers are finite and none is farther from 0 than `reach`.
    pub(super) fn lies_within(&self, reach: f32) -> bool {
        let BoundingBox { x, y, width, height } = self.area;
        let mut numbers = [x, y, width, height].into_iter();
        // What is not a number is not less than another.
        numbers.all(|number| number.abs() <= reach)
            && self.landmarks.lie_within(reach)
            && self.confidence.is_finite()
    }
}

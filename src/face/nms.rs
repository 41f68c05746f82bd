//! Non-maximum suppression: of detections that cover the same face, the most confident stays.

use super::detect::Detection;

/// Sorts by falling confidence and drops every detection whose intersection over union with a better
/// one exceeds `iou` (0 to 1).
pub fn suppress(mut detections: Vec<Detection>, iou: f32) -> Vec<Detection> {
    detections.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in detections {
        if kept.iter().all(|better| better.area.iou(&candidate.area) <= iou) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::geometry::{BoundingBox, Landmarks};

    fn detection(x: f32, confidence: f32) -> Detection {
        let area = BoundingBox::new(x, 0.0, 10.0, 10.0);
        Detection { area, landmarks: Landmarks::default(), confidence }
    }

    #[test]
    fn the_most_confident_of_overlapping_detections_stays() {
        let kept =
            suppress(vec![detection(0.0, 0.7), detection(1.0, 0.9), detection(50.0, 0.8)], 0.3);
        let confidences: Vec<f32> = kept.iter().map(|d| d.confidence).collect();
        assert_eq!(confidences, [0.9, 0.8]);
    }

    #[test]
    fn neighbours_that_hardly_touch_both_stay() {
        assert_eq!(suppress(vec![detection(0.0, 0.7), detection(9.0, 0.9)], 0.3).len(), 2);
    }
}

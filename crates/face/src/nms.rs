//! Non-maximum suppression: of detections that cover the same face, the most confident stays.

use super::{
    detection::Detection,
    geometry::{BoundingBox, Landmarks},
};

/// Candidates that overlap the best one by more than this are views of the same face and vote on
/// it.
const VOTERS_IOU: f32 = 0.6;

/// Sorts by falling confidence and drops every detection whose intersection over union with a
/// better one exceeds `iou` (0 to 1). What stays is the average of the best candidate and those
/// that agree with it, weighted by confidence.
///
/// The detector returns a result for every cell of its map, and for one face some dozens of cells
/// have almost the same confidence. The last bit of a pixel can decide which of them is highest,
/// and boxes of neighbouring cells differ by some per cent; their average is stable.
pub(crate) fn suppress(mut detections: Vec<Detection>, iou: f32) -> Vec<Detection> {
    detections.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in &detections {
        if kept.iter().all(|better| better.area.iou(&candidate.area) <= iou) {
            kept.push(*candidate);
        }
    }
    kept.iter().map(|best| vote(best, &detections)).collect()
}

/// The best detection with box and landmarks averaged over all that agree with it.
fn vote(best: &Detection, candidates: &[Detection]) -> Detection {
    let agree = |c: &&Detection| c.area.iou(&best.area) > VOTERS_IOU;
    let (mut total, mut area) = (0.0, BoundingBox::default());
    let mut landmarks = Landmarks::default();
    for voter in candidates.iter().filter(agree) {
        let weight = voter.confidence;
        total += weight;
        area.x += weight * voter.area.x;
        area.y += weight * voter.area.y;
        area.width += weight * voter.area.width;
        area.height += weight * voter.area.height;
        for (sum, point) in landmarks.0.iter_mut().zip(voter.landmarks.0) {
            sum.x += weight * point.x;
            sum.y += weight * point.y;
        }
    }
    let scale = 1.0 / total;
    Detection {
        area: area.scaled(scale, scale),
        landmarks: landmarks.scaled(scale, scale),
        confidence: best.confidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn candidates_that_agree_are_averaged_by_confidence() {
        let kept =
            suppress(vec![detection(0.0, 0.9), detection(1.0, 0.6), detection(4.0, 0.6)], 0.3);
        assert_eq!(kept.len(), 1);
        assert!((kept[0].area.x - 0.4).abs() < 1e-5 && (kept[0].area.width - 10.0).abs() < 1e-5);
        assert!((kept[0].confidence - 0.9).abs() < f32::EPSILON);
    }

    #[test]
    fn neighbours_that_hardly_touch_both_stay() {
        assert_eq!(suppress(vec![detection(0.0, 0.7), detection(9.0, 0.9)], 0.3).len(), 2);
    }
}

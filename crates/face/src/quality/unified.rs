//! The overall quality of a photo: one number that predicts how well it matches other photos of the
//! same person.

use serde::{Deserialize, Serialize};

/// A logistic fit to how much less similar the mated pairs of a photo are than the person's other
/// pairs. It is fitted by `visavis calibrate` for one pack, because the length of an embedding
/// depends on the net.
///
/// score = 100 / (1 + exp(−(constant + length · l + confidence · c − yaw · (y/30)² − pitch ·
/// (p/30)²))), and at most 25 per unit of sharpness: on usable photos sharpness predicts nothing,
/// so a fit to them does not lower the score of a face without any detail.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnifiedQuality {
    /// Added always.
    pub constant: f64,
    /// For each unit of the embedding's length.
    pub length: f64,
    /// For the detector's full confidence.
    pub confidence: f64,
    /// Taken off for a head turned by 30°; it grows with the square.
    pub yaw: f64,
    /// Taken off for a head lowered or raised by 30°; it grows with the square.
    pub pitch: f64,
}

/// The terms of the overall quality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnifiedTerms {
    /// Of the embedding, before it was normalised.
    pub(crate) length: f32,
    /// The detector's, 0 to 1.
    pub(crate) confidence: f32,
    /// Degrees; 0 if no net estimated it.
    pub(crate) yaw_deg: f32,
    /// Degrees; 0 if no net estimated it.
    pub(crate) pitch_deg: f32,
    /// Of the face; `None` sets no maximum.
    pub(crate) sharpness: Option<f32>,
}

/// The score that a unit of sharpness allows.
const SHARPNESS_ALLOWS: f32 = 25.0;

impl UnifiedTerms {
    /// What is fitted, in the order of the coefficients: length, confidence, and what yaw and pitch
    /// take off.
    pub fn values(&self) -> [f64; 4] {
        let square = |degrees: f32| -(f64::from(degrees) / 30.0).powi(2);
        [
            f64::from(self.length),
            f64::from(self.confidence),
            square(self.yaw_deg),
            square(self.pitch_deg),
        ]
    }
}

impl UnifiedQuality {
    /// 0 to 100.
    pub(crate) fn score(&self, terms: &UnifiedTerms) -> f32 {
        let weights = [self.length, self.confidence, self.yaw, self.pitch];
        let sum: f64 = weights.iter().zip(terms.values()).map(|(w, term)| w * term).sum();
        #[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
        let score = (100.0 / (1.0 + (-(self.constant + sum)).exp())) as f32;
        terms.sharpness.map_or(score, |sharpness| score.min(SHARPNESS_ALLOWS * sharpness))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_embeddings_surer_detections_straight_heads_and_detail_score_higher() {
        let model =
            UnifiedQuality { constant: -22.0, length: 0.5, confidence: 18.0, yaw: 2.0, pitch: 0.6 };
        let usual = UnifiedTerms {
            length: 15.0,
            confidence: 0.92,
            yaw_deg: 3.0,
            pitch_deg: 5.0,
            sharpness: Some(10.0),
        };
        let score = |terms: UnifiedTerms| model.score(&terms);
        let best = score(usual);
        assert!((80.0..100.0).contains(&best), "{best}");
        for worse in [
            UnifiedTerms { length: 12.0, ..usual },
            UnifiedTerms { confidence: 0.8, ..usual },
            UnifiedTerms { yaw_deg: -30.0, ..usual },
            UnifiedTerms { pitch_deg: 45.0, ..usual },
            UnifiedTerms { sharpness: Some(1.5), ..usual },
        ] {
            assert!(score(worse) < best - 1.0, "{worse:?}: {}", score(worse));
        }
    }
}

//! The outcome of a comparison: stored with the job, returned to the client.

use serde::{Deserialize, Serialize};
use visavis_face::{
    FaceReport, Refusal, Side, Similarity,
    quality::{QualityVerdict, ReasonCode},
};

use super::{decision::Decision, score::Score};

/// Two faces were compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How much alike the two faces are.
    pub(crate) similarity: Similarity,
    /// How much lower it is because both photos are degraded in the same way, 0 to 2; 0 in outcomes
    /// of earlier versions.
    #[serde(default)]
    pub(crate) degradation_loss: f32,
    /// What is printed.
    pub score: Score,
    /// The score at which the decision turns.
    pub(crate) threshold: f64,
    /// Made on the unrounded similarity.
    pub decision: Decision,
    /// What was found on the probe.
    pub(crate) probe: Box<FaceReport>,
    /// What was found on the reference.
    pub(crate) reference: Box<FaceReport>,
    /// Name of the model pack.
    pub(crate) model: String,
    /// Name of the calibration table.
    pub(crate) calibration: String,
}

impl Verdict {
    /// A match on two pictures that are both good enough.
    pub fn same_person(&self) -> bool {
        let passes = |face: &FaceReport| face.quality.verdict == QualityVerdict::Pass;
        self.decision == Decision::Match && passes(&self.probe) && passes(&self.reference)
    }

    /// How much lower the similarity is because both photos are degraded in the same way, if that
    /// may change the score by a point.
    pub(crate) fn notable_loss(&self) -> Option<f32> {
        const LEAST: f32 = 0.005;
        Some(self.degradation_loss).filter(|loss| *loss >= LEAST)
    }

    /// The photos, 1 and 2, that fail the quality check, each with its first reason. Such a photo
    /// scores low beside any other, so the two may be one person.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (u8, ReasonCode)> {
        let failure = |face: &FaceReport| face.quality.reasons.iter().find(|r| r.fails).copied();
        let faces = [(1, failure(&self.probe)), (2, failure(&self.reference))];
        faces.into_iter().filter_map(|(photo, failure)| Some((photo, failure?.code)))
    }

    /// Why the score shows nothing, for people: `photo 1 is blurred`.
    pub fn unreliable(&self) -> Option<String> {
        let problems = self.failures().map(|(n, code)| format!("photo {n} {}", code.problem()));
        let problems: Vec<_> = problems.collect();
        (!problems.is_empty()).then(|| problems.join(", "))
    }
}

/// The end of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Both pictures showed a face.
    Compared(Verdict),
    /// A picture could not be used.
    Refused {
        /// Which one.
        side: Side,
        /// Why.
        refusal: Refusal,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_the_way_through_json() {
        let outcome = Outcome::Refused {
            side: Side::Reference,
            refusal: Refusal::Dimensions { width: 9, height: 8 },
        };
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
        assert!(text.contains("reference"), "{text}");
    }
}

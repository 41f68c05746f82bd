//! From similarity to decision: the pack's calibration and the rate of false matches that is accepted.

use super::{
    outcome::{Decision, Outcome, Verdict},
    score::Score,
};
use crate::face::{
    Comparison,
    calibration::{Calibration, score_at_decades},
};

/// Decides for one model pack.
#[derive(Debug, Clone)]
pub struct Policy {
    calibration: Calibration,
    model: String,
    decades: f64,
}

impl Policy {
    /// `fmr` is the false match rate at which the decision turns, such as 1e-5.
    ///
    /// # Errors
    /// A sentence when the rate is outside 1e-6 … 1e-1, where the scale is straight.
    pub fn new(calibration: Calibration, model: &str, fmr: f64) -> Result<Self, String> {
        if !(1e-6..=1e-1).contains(&fmr) {
            return Err(format!("compare.fmr is {fmr:e}; it must lie between 1e-6 and 1e-1"));
        }
        Ok(Self { calibration, model: model.to_owned(), decades: -fmr.log10() })
    }

    /// The score at which the decision turns.
    pub fn threshold(&self) -> f64 {
        score_at_decades(self.decades)
    }

    /// Turns what the engine found into what is answered.
    pub fn decide(&self, comparison: Comparison) -> Outcome {
        match comparison {
            Comparison::Refused { side, refusal } => Outcome::Refused { side, refusal },
            Comparison::Compared { similarity, probe, reference } => {
                let matches = self.calibration.decades(similarity) >= self.decades;
                let decision = if matches { Decision::Match } else { Decision::NonMatch };
                let threshold = self.threshold();
                let exact = self.calibration.score(similarity);
                Outcome::Compared(Verdict {
                    similarity,
                    score: Score::printed(exact, threshold, decision),
                    threshold,
                    decision,
                    probe,
                    reference,
                    model: self.model.clone(),
                    calibration: self.calibration.id().to_owned(),
                })
            }
        }
    }
}

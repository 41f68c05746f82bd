//! From similarity to decision: the pack's calibration and the rate of false matches that is
//! accepted.

use visavis_face::{Comparison, calibration::Calibration};

use super::{
    decision::Decision,
    fmr::Fmr,
    outcome::{Outcome, Verdict},
    request::RequestOptions,
    score::Score,
};

/// Decides for one model pack.
#[derive(Debug, Clone)]
pub struct Policy {
    calibration: Calibration,
    model: String,
    fmr: Fmr,
}

impl Policy {
    /// `fmr` is the false match rate at which the decision turns where a request has none of its
    /// own.
    pub fn new(calibration: Calibration, model: &str, fmr: Fmr) -> Self {
        Self { calibration, model: model.to_owned(), fmr }
    }

    /// The score at which the decision turns where a request has none of its own.
    pub fn threshold(&self) -> f64 {
        self.fmr.threshold()
    }

    /// Name of the model pack.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Name of its calibration table.
    pub(crate) fn calibration(&self) -> &str {
        self.calibration.id()
    }

    /// Turns what the engine found into an outcome, by the options of the request.
    pub fn decide(&self, comparison: Comparison, options: &RequestOptions) -> Outcome {
        let fmr = options.fmr.unwrap_or(self.fmr);
        match comparison {
            Comparison::Refused { side, refusal } => Outcome::Refused { side, refusal },
            Comparison::Compared {
                similarity,
                degradation_loss,
                mut probe,
                mut reference,
                times: _,
            } => {
                for face in [&mut probe, &mut reference] {
                    options.several_faces.apply(&mut face.quality);
                }
                let matches = self.calibration.decades(similarity) >= fmr.decades();
                let decision = if matches { Decision::Match } else { Decision::NonMatch };
                let threshold = fmr.threshold();
                let exact = self.calibration.score(similarity);
                Outcome::Compared(Verdict {
                    similarity,
                    degradation_loss,
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

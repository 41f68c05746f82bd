//! What became of comparisons, for the metrics: how many came to what, and why pictures were not good enough.

use crate::compare::{Decision, Outcome};

/// Counts an outcome.
pub(super) fn tell(outcome: &Outcome) {
    let name = match outcome {
        Outcome::Refused { refusal, .. } => {
            metrics::counter!("visavis_pictures_refused_total", "reason" => refusal.name())
                .increment(1);
            "refused"
        }
        Outcome::Compared(verdict) => {
            metrics::histogram!("visavis_score").record(verdict.score.value());
            let failed = [&verdict.probe, &verdict.reference]
                .into_iter()
                .flat_map(|face| &face.quality.reasons)
                .filter(|reason| reason.fails);
            for reason in failed {
                metrics::counter!("visavis_quality_failures_total", "reason" => reason.code.name())
                    .increment(1);
            }
            match verdict.decision {
                Decision::Match => "match",
                Decision::NonMatch => "non_match",
            }
        }
    };
    metrics::counter!("visavis_comparisons_total", "outcome" => name).increment(1);
}

//! Metrics and traces of comparisons: their outcomes, why pictures were not good enough, and how
//! long the stages took.

use std::time::Instant;

use visavis_face::stages::{Stage, StageTimes};

use crate::{
    compare::{Decision, Outcome},
    telemetry::traces::{Past, record_past},
};

/// What an outcome is called in metrics and the log.
pub(super) fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Refused { .. } => "refused",
        Outcome::Compared(verdict) => match verdict.decision {
            Decision::Match => "match",
            Decision::NonMatch => "non_match",
        },
    }
}

/// Counts an outcome.
pub(super) fn count(outcome: &Outcome) {
    match outcome {
        Outcome::Refused { refusal, .. } => {
            metrics::counter!("visavis_pictures_refused_total", "reason" => refusal.name())
                .increment(1);
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
        }
    }
    metrics::counter!("visavis_comparisons_total", "outcome" => name(outcome)).increment(1);
}

/// Records the times of the stages, and adds them to the span of the comparison: for each picture
/// its stages, one after the other.
pub(super) fn record_stages(times: &[StageTimes; 2], begun: Instant) {
    let mut left = begun.elapsed();
    for (picture, times) in ["face1", "face2"].into_iter().zip(times) {
        for (stage, took) in Stage::ALL.into_iter().map(|stage| (stage, times.get(stage))) {
            metrics::histogram!("visavis_stage_seconds", "stage" => stage.name()).record(took);
            left = left.saturating_sub(took);
            let attributes = &[("stage", stage.name()), ("picture", picture)];
            record_past(Past { name: "face.stage", took, ago: left, attributes });
        }
    }
}

//! What became of comparisons, for metrics and traces: how many came to what, why pictures were not good enough, and
//! how long it all took.

use std::time::{Duration, Instant};

use crate::{
    compare::{Decision, Outcome, TraceContext},
    face::stages::{Stage, StageTimes},
    telemetry::spans::{Role, Span, are_wanted, tell as tell_span},
};

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

/// Records the times of the stages, and makes spans of them: one for the comparison, and for each picture its stages
/// in it, one after the other.
pub(super) fn tell_times(times: &[StageTimes; 2], trace: Option<TraceContext>, begun: Instant) {
    for (stage, time) in times.iter().flat_map(by_stage) {
        metrics::histogram!("visavis_stage_seconds", "stage" => stage.name()).record(time);
    }
    let Some(request) = trace.filter(|trace| are_wanted() && trace.is_sampled()) else { return };
    let (took, own) = (begun.elapsed(), request.child());
    tell_span(span("comparison", own, request, took, Duration::ZERO, Vec::new()));
    let mut left = took;
    for (picture, times) in ["face1", "face2"].into_iter().zip(times) {
        for (stage, time) in by_stage(times) {
            left = left.saturating_sub(time);
            let attributes = vec![("picture", picture.to_owned())];
            tell_span(span(stage.name(), own.child(), own, time, left, attributes));
        }
    }
}

/// How long a job had waited when it was taken.
pub(super) fn tell_wait(trace: Option<TraceContext>, waited: Duration, attempt: u32) {
    let Some(request) = trace.filter(|trace| are_wanted() && trace.is_sampled()) else { return };
    let attributes = vec![("attempt", attempt.to_string())];
    let waited = span("queue", request.child(), request, waited, Duration::ZERO, attributes);
    tell_span(Span { role: Role::Consumer, ..waited });
}

fn by_stage(times: &StageTimes) -> impl Iterator<Item = (Stage, Duration)> {
    Stage::ALL.into_iter().map(|stage| (stage, times.of(stage)))
}

fn span(
    name: &'static str,
    own: TraceContext,
    parent: TraceContext,
    took: Duration,
    ago: Duration,
    attributes: Vec<(&'static str, String)>,
) -> Span {
    let (trace_id, span_id, parent_id) = (own.trace_id(), own.span_id(), parent.span_id());
    Span { name, role: Role::Internal, trace_id, span_id, parent_id, took, ago, attributes }
}

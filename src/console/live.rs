//! The live view: requests of the last two minutes, and the queue.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::extract::State;
use serde::Serialize;

use super::{Shared, api::NoStoreJson};
use crate::{
    clock::UnixMillis,
    http::{Answered, Recent},
};

/// Time between two points of the chart.
const STEP: Duration = Duration::from_secs(2);

/// What the page polls every two seconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Live {
    ready: bool,
    step_s: u64,
    /// Oldest first; the last one is not complete.
    points: Vec<Point>,
    endpoints: Vec<Endpoint>,
    /// By database.
    queue: Vec<QueueDepth>,
}

/// The requests of one step of time.
#[derive(Debug, Default, Serialize)]
struct Point {
    requests: usize,
    errors: usize,
    #[serde(flatten)]
    latency: Latency,
}

/// The requests to one endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    name: &'static str,
    requests: usize,
    errors: usize,
    #[serde(flatten)]
    latency: Latency,
    codes: BTreeMap<&'static str, usize>,
}

/// Percentiles of the latency in milliseconds; absent without requests.
#[derive(Debug, Default, Serialize)]
struct Latency {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// Jobs queued or running in one database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueDepth {
    shard: u32,
    /// Absent if the database does not respond.
    jobs: Option<u64>,
    bytes: u64,
    oldest_ms: Option<UnixMillis>,
}

pub(super) async fn live(State(console): State<Shared>) -> NoStoreJson<Live> {
    let app = &console.parts.app;
    let mut queue = Vec::new();
    for shard in app.shards.iter() {
        let depth = shard.store.depth().await;
        let depth = depth.inspect_err(|error| tracing::warn!(%error, "the queue cannot be read"));
        let (jobs, depth) = (depth.as_ref().ok().map(|d| d.jobs), depth.unwrap_or_default());
        let oldest_ms = depth.oldest.map(|then| app.clock.now() - then);
        queue.push(QueueDepth { shard: shard.number, jobs, bytes: depth.bytes, oldest_ms });
    }
    let answered = app.recent().look();
    NoStoreJson(Live {
        ready: app.is_ready(),
        step_s: STEP.as_secs(),
        points: points(&answered, Instant::now()),
        endpoints: endpoints(&answered),
        queue,
    })
}

/// Every code but those of accepted and finished requests is an error.
fn is_error(answered: &Answered) -> bool {
    !matches!(answered.code, "SUCCESS" | "PROCESSING")
}

fn points(answered: &[Answered], now: Instant) -> Vec<Point> {
    let count = usize::try_from(Recent::WINDOW.as_secs() / STEP.as_secs()).unwrap_or(1);
    let mut steps: Vec<Vec<&Answered>> = vec![Vec::new(); count];
    for one in answered {
        let ago = now.saturating_duration_since(one.at).as_secs() / STEP.as_secs();
        let place = usize::try_from(ago).ok().and_then(|ago| (count - 1).checked_sub(ago));
        if let Some(step) = place.and_then(|place| steps.get_mut(place)) {
            step.push(one);
        }
    }
    let point = |step: Vec<&Answered>| Point {
        requests: step.len(),
        errors: step.iter().filter(|one| is_error(one)).count(),
        latency: Latency::from_durations(step.iter().map(|one| one.elapsed)),
    };
    steps.into_iter().map(point).collect()
}

fn endpoints(answered: &[Answered]) -> Vec<Endpoint> {
    let mut by_endpoint: BTreeMap<&str, Vec<&Answered>> = BTreeMap::new();
    for one in answered {
        by_endpoint.entry(one.endpoint).or_default().push(one);
    }
    let endpoint = |(name, all): (&'static str, Vec<&Answered>)| {
        let mut codes = BTreeMap::new();
        for one in &all {
            *codes.entry(one.code).or_insert(0) += 1;
        }
        Endpoint {
            name,
            requests: all.len(),
            errors: all.iter().filter(|one| is_error(one)).count(),
            latency: Latency::from_durations(all.iter().map(|one| one.elapsed)),
            codes,
        }
    };
    by_endpoint.into_iter().map(endpoint).collect()
}

impl Latency {
    fn from_durations(all: impl Iterator<Item = Duration>) -> Self {
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        // Nearest rank.
        let at = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).saturating_sub(1);
            all.get(rank).map(|elapsed| (elapsed.as_secs_f64() * 1e5).round() / 1e2)
        };
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(at: Instant, code: &'static str, ms: u64) -> Answered {
        Answered { at, endpoint: "compare", code, elapsed: Duration::from_millis(ms) }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of =
            |all: &[u64]| Latency::from_durations(all.iter().map(|ms| Duration::from_millis(*ms)));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let Latency { p50, p95, p99 } = of(&hundred);
        assert_eq!((p50, p95, p99), (Some(50.0), Some(95.0), Some(99.0)));
        assert_eq!(of(&[7]).p99, Some(7.0));
        assert_eq!(of(&[]).p50, None);
    }

    #[test]
    fn a_request_is_counted_in_its_step_of_time_with_its_code() {
        let then = Instant::now();
        let now = then + Duration::from_secs(200);
        let ago = |seconds: u64| then + Duration::from_secs(200 - seconds);
        let all = [
            answered(ago(200), "SUCCESS", 9),
            answered(ago(119), "SUCCESS", 9),
            answered(ago(3), "SYSTEM_ERROR", 9),
            answered(ago(1), "PROCESSING", 9),
            answered(now, "SUCCESS", 11),
        ];
        let points = points(&all, now);
        let counts: Vec<_> = points.iter().map(|point| (point.requests, point.errors)).collect();
        assert_eq!(counts.len(), 60);
        assert_eq!((counts[0], counts[58], counts[59]), ((1, 0), (1, 1), (2, 0)));
        assert_eq!(points[59].latency.p99, Some(11.0));
        let endpoints = endpoints(&all);
        assert_eq!((endpoints.len(), endpoints[0].requests, endpoints[0].errors), (1, 5, 1));
        assert_eq!(endpoints[0].codes["SUCCESS"], 3);
    }
}

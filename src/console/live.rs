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
    /// Requests whose photos cannot be used.
    refused: usize,
    errors: usize,
    /// Jobs in all databases at the last reading; absent without one.
    jobs: Option<u64>,
    #[serde(flatten)]
    latency: Latency,
}

/// The requests to one endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    name: &'static str,
    requests: usize,
    refused: usize,
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
    let jobs: Vec<_> = app.shards.iter().map(|shard| shard.admission.recent()).collect();
    NoStoreJson(Live {
        ready: app.is_ready(),
        step_s: STEP.as_secs(),
        points: points(&answered, &jobs, Instant::now()),
        endpoints: endpoints(&answered),
        queue,
    })
}

/// Whether the photos of a request cannot be used: nothing is wrong with client or server.
fn is_refused(answered: &Answered) -> bool {
    answered.code == "UNABLE_GET_IMAGE"
}

/// Every other code but those of accepted and finished requests is an error.
fn is_error(answered: &Answered) -> bool {
    !is_refused(answered) && !matches!(answered.code, "SUCCESS" | "PROCESSING")
}

/// `jobs`: the readings of each database, oldest first.
fn points(answered: &[Answered], jobs: &[Vec<(Instant, u64)>], now: Instant) -> Vec<Point> {
    let count = usize::try_from(Recent::WINDOW.as_secs() / STEP.as_secs()).unwrap_or(1);
    let place = |then: Instant| {
        let ago = now.saturating_duration_since(then).as_secs() / STEP.as_secs();
        usize::try_from(ago).ok().and_then(|ago| (count - 1).checked_sub(ago))
    };
    let mut steps: Vec<Vec<&Answered>> = vec![Vec::new(); count];
    for one in answered {
        if let Some(place) = place(one.at) {
            steps[place].push(one);
        }
    }
    let mut all_jobs = vec![None; count];
    for readings in jobs {
        let mut last = vec![None; count];
        for (then, jobs) in readings {
            if let Some(place) = place(*then) {
                last[place] = Some(*jobs);
            }
        }
        for (sum, jobs) in all_jobs.iter_mut().zip(last) {
            *sum = sum.map_or(jobs, |sum: u64| Some(sum + jobs.unwrap_or_default()));
        }
    }
    let point = |(step, jobs): (Vec<&Answered>, Option<u64>)| Point {
        requests: step.len(),
        refused: step.iter().filter(|one| is_refused(one)).count(),
        errors: step.iter().filter(|one| is_error(one)).count(),
        jobs,
        latency: Latency::from_durations(step.iter().map(|one| one.elapsed)),
    };
    steps.into_iter().zip(all_jobs).map(point).collect()
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
            refused: all.iter().filter(|one| is_refused(one)).count(),
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
            answered(ago(1), "UNABLE_GET_IMAGE", 9),
            answered(now, "SUCCESS", 11),
        ];
        let jobs = [vec![(ago(119), 1), (ago(3), 4), (ago(2), 5)], vec![(ago(3), 2)]];
        let points = points(&all, &jobs, now);
        let counts: Vec<_> =
            points.iter().map(|point| (point.requests, point.refused, point.errors)).collect();
        assert_eq!(counts.len(), 60);
        assert_eq!((counts[0], counts[58], counts[59]), ((1, 0, 0), (1, 0, 1), (3, 1, 0)));
        let jobs: Vec<_> = points.iter().map(|point| point.jobs).collect();
        assert_eq!((jobs[0], jobs[1], jobs[58], jobs[59]), (Some(1), None, Some(7), None));
        assert_eq!(points[59].latency.p99, Some(11.0));
        let endpoints = endpoints(&all);
        let Endpoint { requests, refused, errors, .. } = &endpoints[0];
        assert_eq!((endpoints.len(), *requests, *refused, *errors), (1, 6, 1, 1));
        assert_eq!(endpoints[0].codes["SUCCESS"], 3);
    }
}

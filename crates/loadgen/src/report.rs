//! What was measured, for people and for machines.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{exchange::Mode, load::Tally};

/// Everything about one run. Numbers that were not measured are null.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    #[serde(flatten)]
    pub(super) asked: Asked,
    pub(super) slices: usize,
    /// Seconds for which the service was measured.
    pub(super) seconds: f64,
    pub(super) pairs: usize,
    pub(super) pairs_per_second: f64,
    pub(super) floor_pairs_per_second: Option<f64>,
    pub(super) ratio_to_floor: Option<f64>,
    pub(super) latency_ms: Latencies,
    pub(super) errors: u64,
    pub(super) errors_by_code: BTreeMap<String, u64>,
    pub(super) first_error: Option<String>,
    pub(super) refused: usize,
    pub(super) refusal_ms: Latencies,
    #[serde(rename = "rssMiB")]
    pub(super) rss_mib: Option<f64>,
    pub(super) cpu_seconds_per_pair: Option<f64>,
    pub(super) pairs_per_cpu_second: Option<f64>,
    pub(super) floor_cpu_seconds_per_pair: Option<f64>,
    pub(super) floor_pairs_per_cpu_second: Option<f64>,
    pub(super) cpu_ratio_to_floor: Option<f64>,
    pub(super) generator_cpu_seconds_per_pair: Option<f64>,
    /// Questions for an outcome, in mode async.
    pub(super) polls_per_pair: Option<f64>,
}

/// Milliseconds from when a request was due until its response with the outcome, or its refusal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Latencies {
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Latencies {
    /// Exact: every value is kept, none falls into a class.
    pub(super) fn new(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            // The smallest value that so many of a hundred do not exceed.
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).map(|value| rounded(value.as_secs_f64() * 1e3))
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// Sums over the slices of a run.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) tally: Tally,
    pub(super) time: Duration,
    pub(super) cpu: Option<f64>,
    pub(super) generator_cpu: Option<f64>,
    pub(super) floor: FloorSums,
    /// Pairs a second to those of the floor, for each slice.
    pub(super) ratios: Vec<f64>,
    pub(super) slices: usize,
    pub(super) rss_mib: Option<f64>,
    pub(super) polls: u64,
}

/// The same of the floor.
#[derive(Debug, Default)]
pub(super) struct FloorSums {
    pub(super) pairs: usize,
    pub(super) time: Duration,
    pub(super) cpu: Option<f64>,
}

/// Adds to a sum what is known.
pub(super) fn sum(sum: &mut Option<f64>, more: Option<f64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or_default() + more);
    }
}

/// Pairs in a time.
pub(super) fn rate(pairs: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { pairs as f64 / time.as_secs_f64() }
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    pub(super) mode: Mode,
    pub(super) encrypted: bool,
    pub(super) photos: usize,
    pub(super) workers: usize,
    /// Requests in flight, or with a rate how many there may be.
    pub(super) in_flight: usize,
    pub(super) rate: Option<f64>,
    /// Ctrl-C came before the time was up.
    pub(super) interrupted: bool,
}

impl Report {
    pub(super) fn new(asked: Asked, sums: Sums) -> Self {
        let Sums { tally, floor, .. } = sums;
        let pairs = tally.pairs();
        let per_pair = |cpu: Option<f64>, pairs: usize| {
            cpu.filter(|cpu| pairs > 0 && *cpu > 0.0).map(|cpu| cpu / pairs as f64)
        };
        let (cpu, floor_cpu) = (per_pair(sums.cpu, pairs), per_pair(floor.cpu, floor.pairs));
        let inverse = |cpu: Option<f64>| cpu.map(|cpu| rounded(1.0 / cpu));
        let floor_rate = (floor.pairs > 0).then(|| rate(floor.pairs, floor.time));
        Self {
            slices: sums.slices,
            seconds: rounded(sums.time.as_secs_f64()),
            pairs,
            pairs_per_second: rounded(rate(pairs, sums.time)),
            floor_pairs_per_second: floor_rate.map(rounded),
            ratio_to_floor: median(sums.ratios).map(rounded),
            errors: tally.errors(),
            errors_by_code: tally.errors,
            first_error: tally.first_error,
            refused: tally.refusals.len(),
            refusal_ms: Latencies::new(tally.refusals),
            latency_ms: Latencies::new(tally.latencies),
            rss_mib: sums.rss_mib.map(rounded),
            cpu_seconds_per_pair: cpu.map(fine),
            pairs_per_cpu_second: inverse(cpu),
            floor_cpu_seconds_per_pair: floor_cpu.map(fine),
            floor_pairs_per_cpu_second: inverse(floor_cpu),
            cpu_ratio_to_floor: floor_cpu.zip(cpu).map(|(floor, cpu)| rounded(floor / cpu)),
            generator_cpu_seconds_per_pair: per_pair(sums.generator_cpu, pairs).map(fine),
            polls_per_pair: (asked.mode == Mode::Async && pairs > 0)
                .then(|| rounded(sums.polls as f64 / pairs as f64)),
            asked,
        }
    }

    /// Whether everything went as it should.
    pub fn is_good(&self) -> bool {
        self.errors == 0 && self.pairs > 0
    }

    /// For people.
    pub fn table(&self) -> String {
        let mode = match self.asked.mode {
            Mode::Compare => "compare",
            Mode::Async => "asynccompare",
        };
        let load = match self.asked.rate {
            Some(rate) => format!("{rate} requests due per second"),
            None => format!("{} in flight", self.asked.in_flight),
        };
        let mut lines = vec![
            format!(
                "{mode}, {}: {} photos, {} workers, {load}, {} pairs in {:.1} s{}",
                if self.asked.encrypted { "encrypted" } else { "plain" },
                self.asked.photos,
                self.asked.workers,
                self.pairs,
                self.seconds,
                if self.asked.interrupted { " (interrupted)" } else { "" }
            ),
            String::new(),
            row("", &["service", "floor", "ratio"].map(str::to_owned)),
        ];
        let three = |name: &str, service, floor, ratio| {
            row(name, &[shown(service), shown(floor), shown(ratio)])
        };
        let (service, floor) = (self.pairs_per_second, self.floor_pairs_per_second);
        lines.push(three("pairs per second", Some(service), floor, self.ratio_to_floor));
        let (service, floor) = (self.pairs_per_cpu_second, self.floor_pairs_per_cpu_second);
        lines.push(three("pairs per second of CPU", service, floor, self.cpu_ratio_to_floor));
        let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
        let (service, floor) = (ms(self.cpu_seconds_per_pair), ms(self.floor_cpu_seconds_per_pair));
        lines.push(three("ms of CPU per pair", service, floor, None));
        lines
            .push(row("  and of the generator", &[shown(ms(self.generator_cpu_seconds_per_pair))]));
        if self.polls_per_pair.is_some() {
            lines.push(row("polls per pair", &[shown(self.polls_per_pair)]));
        }
        lines.push(row("memory, MiB", &[shown(self.rss_mib)]));
        let latencies =
            |name: &str, of: Latencies| row(name, &[of.p50, of.p90, of.p99, of.max].map(shown));
        lines.push(String::new());
        lines.push(row("", &["p50", "p90", "p99", "max"].map(str::to_owned)));
        lines.push(latencies("latency, ms", self.latency_ms));
        if self.refused > 0 {
            lines.push(latencies("  of a refusal", self.refusal_ms));
        }
        lines.push(String::new());
        let kinds: Vec<_> =
            self.errors_by_code.iter().map(|(code, count)| format!("{count} {code}")).collect();
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        lines.push(format!("errors {}{kinds}, refused {}", self.errors, self.refused));
        lines.extend(self.first_error.as_ref().map(|error| format!("the first error: {error}")));
        lines.join("\n")
    }
}

fn row(name: &str, cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>9}")).collect();
    format!("{name:<24} {}", cells.join(" ")).trim_end().to_owned()
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// To thousandths: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// To millionths, for what is small.
fn fine(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() {
        let values = (1..=200).rev().map(Duration::from_millis).collect();
        let Latencies { p50, p90, p99, max } = Latencies::new(values);
        assert_eq!([p50, p90, p99, max], [100.0, 180.0, 198.0, 200.0].map(Some));
        let Latencies { p50, max, .. } = Latencies::new(vec![Duration::from_millis(7)]);
        assert_eq!((p50, max), (Some(7.0), Some(7.0)));
        assert_eq!(Latencies::new(Vec::new()), Latencies::default());
    }

    #[test]
    fn the_ratio_is_the_median_of_the_slices() {
        assert_eq!(median(vec![0.9, 0.1, 0.8]), Some(0.8));
        assert_eq!(median(vec![1.0, 0.5]), Some(0.75));
        assert_eq!(median(Vec::new()), None);
    }
}

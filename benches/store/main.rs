//! What the queue costs and how it behaves: rates beside hand-written SQL, waiting when idle,
//! growth. On a private Postgres with its own default settings and on `SQLite`, both in the folder
//! for temporary files.
//!
//! Arguments choose among `rates`, `latency` and `growth`. The machines are noisy: the kinds of a
//! round are measured in turn, and the ratios are what to quote.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]
#![expect(unreachable_pub, reason = "nothing outside sees these modules")]

mod bare;
mod fixture;
mod growth;
mod latency;
mod rates;
mod support;

use support::Cluster;

#[tokio::main]
async fn main() {
    if let Ok(url) = std::env::var(latency::WORKER) {
        return latency::work(&url).await;
    }
    let arguments: Vec<_> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| a == name);
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::with("");
    if wanted("rates") {
        rates::run(&cluster, folder.path()).await;
    }
    if wanted("latency") {
        latency::run(&cluster, folder.path()).await;
    }
    if wanted("growth") {
        growth::run(&cluster).await;
    }
}

/// Of at least one value.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

//! The log and the metrics: where they go and what they look like. What may be logged is said in
//! `docs/LOGGING.md`.

use std::{io::IsTerminal as _, sync::OnceLock};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt};

/// Sends the log of this process to standard error; a second call changes nothing.
///
/// # Errors
/// A sentence when the filter cannot be read.
pub fn start(level: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|e| format!("log.level: {e}"))?;
    let colours = std::io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // An error means that a log is set up already, which tests do.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
    Ok(())
}

/// Sizes of batches, up to the largest that can be configured.
const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Waits around the default of two milliseconds, and those of a device that has too much to do.
const WAITS: [f64; 10] = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.256, 1.0];

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(full("visavis_batch_rows"), &ROWS)?
        .set_buckets_for_metric(full("visavis_batch_wait_seconds"), &WAITS)?
        .install_recorder()
}

/// Says once what this process is.
pub fn tell_info(labels: &[(&'static str, String); 5]) {
    metrics::gauge!("visavis_info", labels).set(1.0);
}

/// The metrics of this process, collected from the first call on.
///
/// # Errors
/// A sentence when something else collects them already.
pub fn metrics() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let install = || {
        let handle = recorder().map_err(|e| e.to_string())?;
        metrics::describe_counter!(
            "visavis_decrypt_failures_total",
            "Encrypted bodies that did not decrypt into JSON: a wrong key, or somebody who probes the server's"
        );
        metrics::describe_counter!(
            "visavis_decrypt_refused_total",
            "Encrypted requests refused unread after too many that did not decrypt"
        );
        metrics::describe_counter!(
            "visavis_connections_refused_total",
            "Connections closed unread because there were too many"
        );
        metrics::describe_gauge!(
            "visavis_info",
            "Always 1; the labels tell what this process is and computes on"
        );
        metrics::describe_histogram!("visavis_batch_rows", "Pictures in a batch on the device");
        metrics::describe_histogram!(
            "visavis_batch_wait_seconds",
            "How long a picture waited until its batch began"
        );
        metrics::describe_counter!(
            "visavis_batch_failures_total",
            "Batches that failed and were run again one by one"
        );
        Ok(handle)
    };
    HANDLE.get_or_init(install).clone()
}

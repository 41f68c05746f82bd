//! The log and the metrics: where they go and what they look like. What may be logged is said in
//! `docs/LOGGING.md`.

use std::{io::IsTerminal as _, sync::OnceLock};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
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

/// The metrics of this process, collected from the first call on.
///
/// # Errors
/// A sentence when something else collects them already.
pub fn metrics() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let install = || {
        let handle = PrometheusBuilder::new().install_recorder().map_err(|e| e.to_string())?;
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
        Ok(handle)
    };
    HANDLE.get_or_init(install).clone()
}

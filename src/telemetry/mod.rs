//! The log, the metrics and the traces. `docs/LOGGING.md` defines what may be logged.

mod filter;
mod format;
mod log;
pub mod traces;

use std::{io::IsTerminal as _, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use self::{
    filter::parse_filter,
    format::{Format, layer},
    log::finish,
};

/// Sends the log of this process to standard error, and its traces to `endpoint`, if that is not
/// empty. A second call has no effect.
///
/// # Errors
/// When the filter or the address cannot be used, or the program was built without the export.
pub fn start(level: &str, format: Format, endpoint: &str) -> Result<(), String> {
    let filter = parse_filter(level).map_err(|why| format!("log.level: {why}"))?;
    // What sqlx logs it also returns as an error, which is logged where it is handled.
    let filter = match "sqlx=off".parse() {
        Ok(directive) if !level.contains("sqlx") => filter.add_directive(directive),
        _ => filter,
    };
    let log = layer(format, std::io::stderr().is_terminal(), log::Log::to_stderr());
    let subscriber = tracing_subscriber::registry().with(log.with_filter(filter));
    #[cfg(feature = "otlp")]
    let subscriber = {
        let traces = (!endpoint.is_empty()).then(|| traces::layer(endpoint)).transpose()?;
        subscriber.with(traces)
    };
    #[cfg(not(feature = "otlp"))]
    if !endpoint.is_empty() {
        traces::check(endpoint)?;
    }
    // An error means that a log is set up already, which tests do.
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Writes a panic to the log, with the fields of its request.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    tracing::error!(panic = message, location, "panic");
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric: name, kind, labels and help text. docs/METRICS.md has the same table.
#[rustfmt::skip]
const METRICS: &[(&str, Kind, &str, &str)] = &[
    ("visavis_info", Kind::Gauge, "version, provider, device, device_name, jpeg, pack, calibration",
        "Always 1; the labels are version, device and pack of this process"),
    ("visavis_requests_total", Kind::Counter, "endpoint, client, code",
        "Requests by result code; client is the Client-Id of a registered client, or unknown"),
    ("visavis_request_seconds", Kind::Histogram, "endpoint",
        "Time from the head of a request to its response"),
    ("visavis_refused_total", Kind::Counter, "reason", "Requests refused because of a limit"),
    ("visavis_signature_failures_total", Kind::Counter, "client",
        "Requests with a wrong signature"),
    ("visavis_decrypt_failures_total", Kind::Counter, "client",
        "Encrypted bodies that did not decrypt into JSON: a wrong key, or an attacker's probe"),
    ("visavis_decrypt_refused_total", Kind::Counter, "client",
        "Encrypted requests refused unread after too many decryption failures"),
    ("visavis_connections_refused_total", Kind::Counter, "",
        "Connections closed unread because of the limit on connections"),
    ("visavis_connections_evicted_total", Kind::Counter, "",
        "Idle connections closed to make room for others"),
    ("visavis_connections_idle_total", Kind::Counter, "",
        "Connections closed because they were idle"),
    ("visavis_comparisons_total", Kind::Counter, "outcome",
        "Pairs compared in this process: match, non_match or refused"),
    ("visavis_score", Kind::Histogram, "",
        "Scores of the pairs compared in this process, 0 to 100"),
    ("visavis_stage_seconds", Kind::Histogram, "stage",
        "Time of one photo in each stage of the pipeline"),
    ("visavis_quality_failures_total", Kind::Counter, "reason",
        "Faces that failed the quality limits, by reason"),
    ("visavis_pictures_refused_total", Kind::Counter, "reason", "Photos that could not be used"),
    ("visavis_compute_threads", Kind::Gauge, "", "Threads that compare"),
    ("visavis_compute_busy", Kind::Gauge, "", "Compute threads that are comparing"),
    ("visavis_engine_restarts_total", Kind::Counter, "",
        "Panics of the pipeline; each costs one comparison"),
    ("visavis_queue_jobs", Kind::Gauge, "shard", "Jobs queued or running, in the database"),
    ("visavis_queue_bytes", Kind::Gauge, "shard",
        "Size of the photos of jobs that are queued or running"),
    ("visavis_queue_oldest_seconds", Kind::Gauge, "shard",
        "Age of the oldest job that is queued or running"),
    ("visavis_jobs_completed_total", Kind::Counter, "", "Jobs that this process completed"),
    ("visavis_job_seconds", Kind::Histogram, "",
        "Time from the acceptance of a job to its outcome"),
    ("visavis_retries_total", Kind::Counter, "", "Jobs put back for another attempt"),
    ("visavis_dead_total", Kind::Counter, "", "Jobs that failed for good"),
    ("visavis_seal_failures_total", Kind::Counter, "",
        "Jobs put back because this process does not have their master key"),
    ("visavis_leases_lost_total", Kind::Counter, "",
        "Leases that expired while the job was running"),
    ("visavis_log_lines_lost_total", Kind::Counter, "",
        "Log lines that could not be written, or not in time"),
    ("process_cpu_seconds_total", Kind::Counter, "",
        "Processor time of the process in user and kernel mode, whole seconds"),
    ("process_resident_memory_bytes", Kind::Gauge, "", "Memory of the process in RAM"),
    ("process_virtual_memory_bytes", Kind::Gauge, "", "Address space of the process"),
    ("process_threads", Kind::Gauge, "", "Threads of the process"),
    ("process_start_time_seconds", Kind::Gauge, "",
        "When the process started, seconds since 1970-01-01"),
    ("process_open_fds", Kind::Gauge, "", "Open files, as visavis_open_files"),
    ("process_max_fds", Kind::Gauge, "", "Limit on open files, as visavis_open_files_limit"),
    ("visavis_certificate_expires_seconds", Kind::Gauge, "",
        "When the certificate in tls.cert_file expires, seconds since 1970-01-01"),
    ("visavis_old_keys_expire_seconds", Kind::Gauge, "client",
        "When the first of the old key sets expires, seconds since 1970-01-01; 0: none"),
    ("visavis_open_files", Kind::Gauge, "", "Open files, including connections"),
    ("visavis_open_files_limit", Kind::Gauge, "", "Limit on open files"),
    ("visavis_open_files_exhausted_total", Kind::Counter, "",
        "Times that a file could not be opened because of the limit"),
    ("visavis_task_restarts_total", Kind::Counter, "task", "Restarts of background tasks"),
    ("visavis_store_errors_total", Kind::Counter, "",
        "Requests that failed or were refused because of the database"),
    ("visavis_store_connections_closed_total", Kind::Counter, "",
        "Connections to SQLite closed because of an unfinished transaction"),
    ("visavis_database_up", Kind::Gauge, "shard",
        "1 if the database could be read within the last second or so, otherwise 0"),
    ("visavis_database_clock_ahead_seconds", Kind::Gauge, "shard",
        "Time by which the clock of the database is ahead of the clock of this machine"),
    ("visavis_pool_connections", Kind::Gauge, "shard, state",
        "Connections to the database: used and idle"),
    ("visavis_payload_bytes", Kind::Gauge, "shard",
        "Disk space of stored photos in Postgres, including dead rows"),
    ("visavis_dead_tuples", Kind::Gauge, "shard", "Dead rows of the job tables in Postgres"),
    ("visavis_database_bytes", Kind::Gauge, "shard", "Size of the embedded database"),
    ("visavis_database_free_bytes", Kind::Gauge, "shard", "Free pages of the embedded database"),
    ("visavis_batch_rows", Kind::Histogram, "net", "Faces in a batch on the device"),
    ("visavis_batch_wait_seconds", Kind::Histogram, "net", "Time that a face waited for its batch"),
    ("visavis_batch_failures_total", Kind::Counter, "net",
        "Batches that failed and were run again face by face"),
];

/// Sizes of batches, up to the largest that can be configured.
const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Waits around the default of two milliseconds, and those of a device that has too much to do.
const WAITS: [f64; 10] = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.256, 1.0];
/// From one stage of a small photo to the timeout of `compare`.
const TIMES: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A job may wait in a long queue.
const AGES: [f64; 12] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
/// Ten points are ten times fewer false matches.
const SCORES: [f64; 10] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(full("visavis_batch_rows"), &ROWS)?
        .set_buckets_for_metric(full("visavis_batch_wait_seconds"), &WAITS)?
        .set_buckets_for_metric(full("visavis_job_seconds"), &AGES)?
        .set_buckets_for_metric(full("visavis_score"), &SCORES)?
        .set_buckets(&TIMES)?
        .install_recorder()
}

/// Sets the metric with version, device and pack of this process.
pub(crate) fn set_info(labels: &[(&'static str, String)]) {
    metrics::gauge!("visavis_info", labels).set(1.0);
}

/// The metrics of this process, collected from the first call on.
///
/// # Errors
/// When something else collects them already.
pub fn metrics() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let install = || {
        let handle = recorder().map_err(|e| e.to_string())?;
        for (name, kind, _, help) in METRICS {
            match kind {
                Kind::Counter => metrics::describe_counter!(*name, *help),
                Kind::Gauge => metrics::describe_gauge!(*name, *help),
                Kind::Histogram => metrics::describe_histogram!(*name, *help),
            }
        }
        Ok(handle)
    };
    HANDLE.get_or_init(install).clone()
}

/// Aggregates the values of histograms every few seconds: until then each value is stored, and the
/// metrics may never be requested.
pub(crate) async fn run_upkeep() {
    const INTERVAL: Duration = Duration::from_secs(5);
    let Ok(handle) = metrics() else { return };
    loop {
        tokio::time::sleep(INTERVAL).await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn walk(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some() && !path.ends_with("telemetry/mod.rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let is_metric = |quoted: &&str| {
                    quoted.starts_with("visavis_") || quoted.starts_with("process_")
                };
                let names = text.split('"').filter(is_metric);
                // A channel and two functions of Postgres, and a cookie.
                let others = ["visavis_job", "visavis_now", "visavis_millis", "visavis_console"];
                let metrics = names.filter(|name| !others.contains(name));
                found.extend(metrics.map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_table_has_every_metric_of_the_code() {
        let mut found = BTreeSet::from(["visavis_info".to_owned()]);
        for folder in ["src", "crates"] {
            walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
        }
        let listed: BTreeSet<_> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn the_document_has_every_metric_with_its_labels_and_what_it_says() {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
        let document = fs::read_to_string(document).unwrap();
        for (name, kind, labels, help) in METRICS {
            let kind = format!("{kind:?}").to_lowercase();
            let row = format!("| `{name}` | {kind} | {labels} | {help} |");
            assert!(document.contains(&row), "docs/METRICS.md lacks\n{row}");
        }
        let is_row =
            |line: &&str| line.starts_with("| `visavis_") || line.starts_with("| `process_");
        let rows = document.lines().filter(is_row).count();
        assert_eq!(rows, METRICS.len(), "and nothing else");
    }
}

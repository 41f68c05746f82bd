//! Counts open files. Every connection is one, and a server that has reached the limit silently
//! accepts no connections.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use crate::config::Config;

/// How often to count.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);
/// At most one log line in this time.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// Files beside connections: database, nets, sockets of the pool.
const OTHER_FILES: u64 = 100;

/// The maximum number of open files with this configuration.
pub fn needed_files(config: &Config) -> u64 {
    config.http.max_connections as u64 + OTHER_FILES
}

/// Raises the soft limit as far as the hard one lets it, and warns if that is not enough.
pub fn raise_limit(config: &Config) {
    let (needed, limit) = (needed_files(config), rlimit::increase_nofile_limit(u64::MAX));
    match limit {
        Ok(limit) if limit < needed => {
            tracing::warn!(
                limit,
                needed,
                "the limit on open files is too low: raise LimitNOFILE or ulimit -Hn, or lower \
                 http.max_connections"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

/// Counts until it is aborted.
pub(super) async fn watch() {
    let mut logged: Option<Instant> = None;
    loop {
        tokio::time::sleep(COUNT_INTERVAL).await;
        match count() {
            Ok(open) => {
                metrics::gauge!("visavis_open_files").set(open as f64);
                metrics::gauge!("process_open_fds").set(open as f64);
            }
            Err(error) if is_exhausted(&error) => {
                metrics::counter!("visavis_open_files_exhausted_total").increment(1);
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
                    logged = Some(Instant::now());
                    tracing::error!(
                        "the limit on open files is reached, so no connections are accepted: raise \
                         LimitNOFILE or ulimit -n"
                    );
                }
            }
            // A system without /proc.
            Err(_) => {}
        }
        if let Ok((limit, _)) = rlimit::getrlimit(rlimit::Resource::NOFILE) {
            metrics::gauge!("visavis_open_files_limit").set(limit as f64);
            metrics::gauge!("process_max_fds").set(limit as f64);
        }
    }
}

fn count() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Whether the limit of the process or of the system is reached.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

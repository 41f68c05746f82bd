//! What the process takes of the machine, by the names that Prometheus clients use; and what is
//! about to expire.

use std::{collections::HashSet, fs, io, time::Duration};

use rustix::param::{clock_ticks_per_second, page_size};

use crate::{clients::Clients, http::TlsFiles, shutdown::Shutdown};

/// How often to measure the process.
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);
/// How often to look for what expires.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(1);

/// Measures the process until the task is aborted.
pub(super) async fn measure() {
    loop {
        // An error means a system without /proc.
        if let Ok(used) = Used::read() {
            metrics::gauge!("process_start_time_seconds").set(used.started_s as f64);
            metrics::counter!("process_cpu_seconds_total").absolute(used.cpu_s);
            metrics::gauge!("process_resident_memory_bytes").set(used.resident_bytes as f64);
            metrics::gauge!("process_virtual_memory_bytes").set(used.virtual_bytes as f64);
            metrics::gauge!("process_threads").set(used.threads as f64);
        }
        tokio::time::sleep(MEASURE_INTERVAL).await;
    }
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Used {
    /// In user and in kernel mode, whole seconds.
    cpu_s: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    /// Since the epoch, seconds.
    started_s: u64,
}

/// The units of `/proc`.
struct Units {
    ticks_per_s: u64,
    page_bytes: u64,
    /// When the system started, seconds since the epoch.
    booted_s: u64,
}

impl Used {
    fn read() -> io::Result<Self> {
        let other_form = || io::Error::other("/proc has another form");
        let system = fs::read_to_string("/proc/stat")?;
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "));
        let units = Units {
            ticks_per_s: clock_ticks_per_second(),
            page_bytes: page_size() as u64,
            booted_s: booted.and_then(|time| time.trim().parse().ok()).ok_or_else(other_form)?,
        };
        let process = fs::read_to_string("/proc/self/stat")?;
        Self::parse(&process, &units).ok_or_else(other_form)
    }

    /// Fields as in `proc_pid_stat(5)`, counted from the third one, the state: the name before it
    /// may have spaces.
    fn parse(stat: &str, units: &Units) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_s: (number(14)? + number(15)?).checked_div(units.ticks_per_s)?,
            threads: number(20)?,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)?.checked_mul(units.page_bytes)?,
            started_s: units.booted_s + number(22)?.checked_div(units.ticks_per_s)?,
        })
    }
}

/// Reports when the certificate and old key sets expire, until shutdown.
pub(super) async fn watch_expiry(
    clients: Clients,
    certificate: Option<TlsFiles>,
    mut shutdown: Shutdown,
) {
    let mut reported = HashSet::new();
    loop {
        tokio::select! {
            () = report(&clients, certificate.as_ref(), &mut reported) => {}
            () = shutdown.requested() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EXPIRY_INTERVAL) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// `reported`: the clients that have a value.
async fn report(clients: &Clients, certificate: Option<&TlsFiles>, reported: &mut HashSet<String>) {
    if let Some(end) = certificate.and_then(|files| files.fitness().ok()?.not_after_s) {
        metrics::gauge!("visavis_certificate_expires_seconds").set(end as f64);
    }
    let mut expiring = HashSet::new();
    for table in clients.tables() {
        match table.store.expiring_keys().await {
            Ok(found) => {
                for (client, end) in found {
                    metrics::gauge!("visavis_old_keys_expire_seconds", "client" => client.clone())
                        .set(end as f64 / 1_000.0);
                    expiring.insert(client);
                }
            }
            Err(error) => {
                tracing::warn!(shard = table.shard, %error, "cannot read which keys expire");
                return;
            }
        }
    }
    // A value cannot be taken back.
    for client in reported.difference(&expiring) {
        metrics::gauge!("visavis_old_keys_expire_seconds", "client" => client.clone()).set(0.0);
    }
    *reported = expiring;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_process_are_found_whatever_it_is_called() {
        let stat = "7 (a) b (c) S 4 5 6 7 8 9 10 11 12 13 150 250 16 17 18 19 9 21 300 4096 3 25";
        let units = Units { ticks_per_s: 100, page_bytes: 4_096, booted_s: 1_000 };
        let used = Used {
            cpu_s: 4,
            threads: 9,
            virtual_bytes: 4_096,
            resident_bytes: 12_288,
            started_s: 1_003,
        };
        assert_eq!(Used::parse(stat, &units), Some(used));
        assert_eq!(Used::parse("7 (a) S 1 2", &units), None);
        let own = Used::read().unwrap();
        assert!(own.resident_bytes > 1 << 20 && own.virtual_bytes >= own.resident_bytes, "{own:?}");
        assert!(own.threads >= 1 && own.started_s > 1_700_000_000, "{own:?}");
    }
}

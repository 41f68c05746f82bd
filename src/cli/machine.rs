//! What the machine has to have for a configuration: open files, memory, clocks, and a folder that is nobody
//! else's. Each complaint names its cure.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{
    app::{self, Data},
    config::Config,
    db::Db,
    face::Device,
};

/// Files beside connections: database, nets, sockets of the pool.
const OTHER_FILES: u64 = 100;
/// What a process has in memory beside bodies and nets, and what the nets of one thread take with a large photo.
const BASE_MIB: u64 = 100;
const THREAD_MIB: u64 = 100;
/// What CUDA takes of the machine's memory, and how much more for each size of batch: 913 MiB and 1477 in all were measured
/// with one and with six sizes, beside what threads take.
const CUDA_MIB: u64 = 700;
const CUDA_SIZE_MIB: u64 = 120;
/// As far as two clocks may be apart: a Request-Time that is read late, a lease that seems over early.
const SKEW_MS: i64 = 5_000;

/// Whether there may be as many open files as connections are allowed.
pub(super) fn files(config: &Config) -> Result<String> {
    let (_, hard) =
        rlimit::getrlimit(rlimit::Resource::NOFILE).context("the limit on open files")?;
    let needed = config.http.max_connections as u64 + OTHER_FILES;
    if hard < needed {
        bail!(
            "{hard} files may be open, and {} connections need {needed}: raise the limit (LimitNOFILE= of the unit, \
             ulimit -Hn) or lower http.max_connections",
            config.http.max_connections
        );
    }
    Ok(format!("{needed} open files are needed at most, {hard} are allowed"))
}

/// Whether what may be in memory at once fits.
pub(super) fn memory(config: &Config) -> Result<String> {
    let parts = memory_parts(config, config.runtime.device()?, app::compute_threads(config)?);
    let needed = BASE_MIB + parts.iter().map(|(mib, _)| mib).sum::<u64>();
    let Some(there) = memory_mib() else {
        return Ok(format!("{needed} MiB may be used; the system does not tell how much there is"));
    };
    if there < needed {
        let parts: Vec<_> = parts.iter().map(|(mib, what)| format!("{mib} for {what}")).collect();
        bail!("{there} MiB are there, and up to {needed} may be used: {}", parts.join(", "));
    }
    Ok(format!("{needed} MiB may be used at most, {there} are there"))
}

/// What may be used beside the base, in MiB, and for what.
fn memory_parts(config: &Config, device: Device, threads: usize) -> Vec<(u64, String)> {
    let mut parts = vec![
        (
            config.http.body_budget_bytes as u64 >> 20,
            "bodies of requests (http.body_budget_bytes)".to_owned(),
        ),
        (config.queue.kept_bytes >> 20, "pictures of accepted jobs (queue.kept_bytes)".to_owned()),
        (THREAD_MIB * threads as u64, format!("{threads} threads (worker.threads)")),
    ];
    if matches!(device, Device::Cuda(_)) {
        let sizes = config.runtime.batches().sizes().count() as u64;
        let what = format!("CUDA and {sizes} sizes of batch (runtime.batch_max)");
        parts.push((CUDA_MIB + CUDA_SIZE_MIB * sizes, what));
    }
    parts
}

/// The memory of the machine, or that of the container if it has less.
fn memory_mib() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()? / 1_024;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok()).map(|bytes| bytes >> 20);
    Some(limit.map_or(machine, |limit| limit.min(machine)))
}

/// Who may look into the data folder: outcomes lie in it in clear.
pub(super) fn folder(dir: &Path) -> Result<String> {
    let mode = fs::metadata(dir).context("the data folder")?.permissions().mode();
    if mode & 0o007 != 0 {
        // Not wrong in a container, where nobody else is.
        return Ok(format!(
            "{} may be entered by every user of this system (mode {:o}), and outcomes lie in it in clear; chmod 700 {} \
             closes it",
            dir.display(),
            mode & 0o777,
            dir.display()
        ));
    }
    Ok(format!("{} is closed to other users", dir.display()))
}

/// Whether the clocks of the databases go like this one.
pub(super) async fn clocks(data: &Data) -> Result<String> {
    let mut most = 0;
    for database in &data.databases {
        let Db::Postgres(db) = &database.db else { continue };
        let skew = db.skew_ms(&crate::clock::Clock::System).await?;
        if skew.abs() > SKEW_MS {
            bail!(
                "the clock of database {} is {} ms {} this one's: have both machines set theirs (chrony, ntpd), or \
                 requests seem stale and leases over",
                database.number,
                skew.abs(),
                if skew > 0 { "ahead of" } else { "behind" }
            );
        }
        most = most.max(skew.abs());
    }
    Ok(format!("databases and this machine agree to {most} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::load(None, std::iter::empty()).unwrap();
        change(&mut config);
        config
    }

    #[test]
    fn what_the_machine_lacks_is_told_with_the_setting_that_asks_for_it() {
        let many = config(|config| config.http.max_connections = 1 << 40);
        assert!(files(&many).unwrap_err().to_string().contains("http.max_connections"));
        let large = config(|config| config.http.body_budget_bytes = 1 << 50);
        assert!(memory(&large).unwrap_err().to_string().contains("http.body_budget_bytes"));
        assert!(files(&config(|_| ())).is_ok() && memory(&config(|_| ())).is_ok());
    }

    #[test]
    fn a_gpu_takes_memory_of_the_machine_too_and_more_for_larger_batches() {
        let config = config(|config| config.runtime.batch_max = 20);
        let parts = |device| memory_parts(&config, device, 4);
        let (cpu, gpu) = (parts(Device::Cpu), parts(Device::Cuda(0)));
        assert_eq!(cpu[2], (4 * THREAD_MIB, "4 threads (worker.threads)".to_owned()));
        assert_eq!(gpu[..3], cpu);
        // 1, 2, 4, 8, 16 and 20 rows.
        let (mib, what) = &gpu[3];
        assert_eq!(*mib, CUDA_MIB + 6 * CUDA_SIZE_MIB);
        assert!(what.contains("6 sizes") && what.contains("runtime.batch_max"), "{what}");
    }

    #[test]
    fn a_folder_that_others_may_enter_is_told_with_its_cure() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(folder(dir.path()).unwrap().contains("closed to other users"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(folder(dir.path()).unwrap().contains("chmod 700"));
    }
}

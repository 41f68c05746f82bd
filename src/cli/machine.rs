//! What a configuration requires of the machine: open files, memory, clocks, and a data folder that
//! other users cannot read.

use std::{fmt, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{
    app::{Data, MemoryPlan, needed_files},
    config::Config,
    db::Db,
};

/// Largest tolerated difference of two clocks: with a larger one, requests seem stale and leases
/// expired.
const MAX_SKEW_MS: i64 = 5_000;
/// Clocks that are synchronised by NTP differ by less.
const LARGE_SKEW_MS: i64 = 1_000;

/// Whether the limit on open files suffices for the allowed connections.
pub(super) fn files(config: &Config) -> Result<String> {
    let (_, hard) =
        rlimit::getrlimit(rlimit::Resource::NOFILE).context("the limit on open files")?;
    let needed = needed_files(config);
    if hard < needed {
        bail!(
            "up to {needed} open files needed for {} connections (limit {hard}): raise the limit \
             (LimitNOFILE= of the unit, ulimit -Hn) or lower http.max_connections",
            config.http.max_connections
        );
    }
    Ok(format!("up to {needed} open files needed (limit {hard})"))
}

/// Whether the memory of the machine suffices.
pub(super) fn memory(config: &Config) -> Result<String> {
    let plan = MemoryPlan::new(config)?;
    let needed = plan.needed_mib();
    let parts: Vec<_> = plan.parts.iter().map(|(mib, what)| format!("{mib} for {what}")).collect();
    let parts = parts.join(", ");
    match plan.available_mib {
        None => Ok(format!("up to {needed} MiB needed (available memory is unknown): {parts}")),
        Some(available) if available < needed => bail!(
            "up to {needed} MiB needed, {available} MiB available: raise the limit on memory or \
             lower a setting: {parts}"
        ),
        Some(available) => {
            Ok(format!("up to {needed} MiB needed ({available} MiB available): {parts}"))
        }
    }
}

/// Whether other users can read the data folder: outcomes in it are not encrypted.
pub(super) fn folder(dir: &Path) -> Result<String> {
    let mode = fs::metadata(dir).context("the data folder")?.permissions().mode();
    if mode & 0o007 != 0 {
        // No error: in a container there is no other user.
        return Ok(format!(
            "{} is accessible to every user of this system (mode {:o}), and outcomes in it are not \
             encrypted: run chmod 700 {}",
            dir.display(),
            mode & 0o777,
            dir.display()
        ));
    }
    Ok(format!("{} is not accessible to other users", dir.display()))
}

/// How far the clock of a database is ahead of this machine's.
#[derive(Clone, Copy)]
pub(super) struct Skew {
    database: u32,
    ms: i64,
}

impl Skew {
    /// Whether it makes requests seem stale and leases expired.
    pub(super) fn is_wrong(self) -> bool {
        self.ms.abs() > MAX_SKEW_MS
    }

    /// Whether an operator should find the reason.
    pub(super) fn is_large(self) -> bool {
        self.ms.abs() >= LARGE_SKEW_MS
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, ms } = *self;
        if !self.is_large() {
            return write!(f, "databases and this machine agree to {} ms", ms.abs());
        }
        let direction = if ms > 0 { "ahead of" } else { "behind" };
        write!(
            f,
            "the clock of database {database} is {} ms {direction} this machine's: set both by NTP \
             (chrony, systemd-timesyncd), otherwise requests seem stale and leases expired",
            ms.abs()
        )
    }
}

/// The clock of a database that differs most from this one.
pub(super) async fn clocks(data: &Data) -> Result<Skew> {
    let mut worst = Skew { database: 0, ms: 0 };
    for database in &data.databases {
        let Db::Postgres(db) = &database.db else { continue };
        let ms = db.skew_ms(&crate::clock::Clock::System).await?;
        if ms.abs() > worst.ms.abs() {
            worst = Skew { database: database.number, ms };
        }
    }
    Ok(worst)
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
    fn what_the_machine_lacks_is_reported_with_the_setting_that_requires_it() {
        let many = config(|config| config.http.max_connections = 1 << 40);
        assert!(files(&many).unwrap_err().to_string().contains("http.max_connections"));
        let large = config(|config| config.http.body_budget_bytes = 1 << 50);
        assert!(memory(&large).unwrap_err().to_string().contains("http.body_budget_bytes"));
        assert!(files(&config(|_| ())).is_ok() && memory(&config(|_| ())).is_ok());
    }

    #[test]
    fn a_folder_that_others_can_read_is_reported_with_the_command_that_fixes_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(folder(dir.path()).unwrap().contains("is not accessible to other users"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(folder(dir.path()).unwrap().contains("chmod 700"));
    }
}

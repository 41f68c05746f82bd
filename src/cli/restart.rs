//! Variables that libraries read when a process starts. Only `unsafe` code could set one of the running process.

use std::{env, io, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Result, bail};
use visavis_face::telemetry;

/// From what size on glibc asks the system for memory, and gives it back when it is freed, and how much that lies free below
/// that size it keeps per thread, bytes. By default it raises the first to 32 MiB and the second to 64 MiB: a photo without a
/// face then leaves 150 MiB behind.
const ALLOCATOR: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "4194304"), ("MALLOC_TRIM_THRESHOLD_", "16777216")];

/// Starts the program again, in this process and with the same arguments, unless its environment disables telemetry and has
/// settings for the allocator.
///
/// # Errors
/// When that fails and telemetry is not disabled.
pub(super) fn restart_with_variables() -> Result<()> {
    let is_missing = |(name, _): &(&str, &str)| env::var_os(name).is_none();
    let mut missing: Vec<_> = ALLOCATOR.into_iter().filter(is_missing).collect();
    if !telemetry::is_disabled() {
        missing.push((telemetry::VARIABLE, telemetry::DISABLED));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let error = restart(&missing);
    if telemetry::is_disabled() {
        // More memory is used than could be.
        return Ok(());
    }
    bail!(
        "ONNX Runtime's telemetry cannot be disabled because the program cannot restart itself ({error}): set {}={} in its \
         environment",
        telemetry::VARIABLE,
        telemetry::DISABLED
    )
}

/// Returns only when that fails.
fn restart(variables: &[(&str, &str)]) -> io::Error {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    let exec = |program: &Path| {
        let mut command = Command::new(program);
        command.arg0(&name).args(&arguments).envs(variables.iter().copied()).exec()
    };
    // By its path, so that `ps` and `pgrep` show its name and not `exe`; by the link if an upgrade has just replaced it.
    if let Ok(program) = env::current_exe() {
        exec(&program);
    }
    exec(Path::new("/proc/self/exe"))
}

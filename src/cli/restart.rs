//! Variables that libraries read at the start of a process. Only `unsafe` code can set one of a
//! running process.

use std::{env, io, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Result, bail};
use visavis_face::telemetry;

/// The size from which glibc maps memory separately and unmaps it when it is freed, and the free
/// memory that it keeps per thread, bytes. By default it raises the first to 32 MiB and the second
/// to 64 MiB, and a photo without a face then leaves 150 MiB allocated.
const ALLOCATOR: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "4194304"), ("MALLOC_TRIM_THRESHOLD_", "16777216")];

/// Restarts the program in this process, with the same arguments, unless its environment disables
/// telemetry and has settings for the allocator.
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
        // Without the settings of the allocator, it only uses more memory.
        return Ok(());
    }
    bail!(
        "ONNX Runtime's telemetry cannot be disabled because the program cannot restart itself \
         ({error}): set {}={} in its environment",
        telemetry::VARIABLE,
        telemetry::DISABLED
    )
}

/// Returns only if it fails.
fn restart(variables: &[(&str, &str)]) -> io::Error {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    let exec = |program: &Path| {
        let mut command = Command::new(program);
        command.arg0(&name).args(&arguments).envs(variables.iter().copied()).exec()
    };
    // By its path, so that `ps` and `pgrep` show its name and not `exe`; by the link if an upgrade
    // has just replaced the file.
    if let Ok(program) = env::current_exe() {
        exec(&program);
    }
    exec(Path::new("/proc/self/exe"))
}

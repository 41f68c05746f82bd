//! The telemetry collector of ONNX Runtime (Microsoft's 1DS, in libraries for Linux from 1.29 on). It is on unless the
//! environment disables it before the library is loaded; no call into the library does that.

use std::{env, io, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::face::telemetry;

/// Starts the program again, in this process and with the same arguments, unless its environment disables telemetry. Only
/// `unsafe` code could set a variable of the running process.
///
/// # Errors
/// When that fails.
pub(super) fn restart_without_telemetry() -> Result<()> {
    if telemetry::is_disabled() {
        return Ok(());
    }
    let error = restart();
    bail!(
        "ONNX Runtime's telemetry cannot be disabled because the program cannot restart itself ({error}): set {}={} in its \
         environment",
        telemetry::VARIABLE,
        telemetry::DISABLED
    )
}

/// Returns only when that fails.
fn restart() -> io::Error {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    let exec = |program: &Path| {
        let mut command = Command::new(program);
        command.arg0(&name).args(&arguments).env(telemetry::VARIABLE, telemetry::DISABLED).exec()
    };
    // By its path, so that `ps` and `pgrep` show its name and not `exe`; by the link if an upgrade has just replaced it.
    if let Ok(program) = env::current_exe() {
        exec(&program);
    }
    exec(Path::new("/proc/self/exe"))
}

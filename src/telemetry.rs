//! The log: where it goes and what it looks like. What may be logged is said in `docs/LOGGING.md`.

use std::io::IsTerminal as _;

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

//! The only place that prints. A reader that has gone, as `head` has after ten lines, loses the rest and fails nothing: the
//! command goes on to its end and to its usual exit code.

use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Prints a line to standard output.
macro_rules! out {
    ($($part:tt)*) => { $crate::cli::output::print(format_args!("{}\n", format_args!($($part)*))) };
}

/// Prints to standard output without ending the line.
macro_rules! out_part {
    ($($part:tt)*) => { $crate::cli::output::print(format_args!($($part)*)) };
}

/// Prints a line to standard error.
macro_rules! err {
    ($($part:tt)*) => { $crate::cli::output::complain(format_args!($($part)*)) };
}

/// Why nothing is printed any more.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

pub(crate) fn print(text: fmt::Arguments<'_>) {
    let mut failed = failure();
    if failed.is_none() {
        *failed = io::stdout().lock().write_fmt(text).err();
    }
}

/// A line that a service can do without.
///
/// # Errors
/// When it was not printed.
pub(super) fn try_line(text: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// If standard error cannot be written either, there is nowhere to report it.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// To be called at the end of a command.
///
/// # Errors
/// When something that was printed is lost, on a full disk for example.
pub(super) fn finish() -> io::Result<()> {
    let flushed = io::stdout().flush();
    match failure().take().map_or(flushed, Err) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn failure() -> MutexGuard<'static, Option<io::Error>> {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner)
}

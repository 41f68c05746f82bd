//! The only module that prints. If the reader closes the pipe, as `head` does, the rest is dropped:
//! the command continues and its exit code does not change.

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
    ($($part:tt)*) => { $crate::cli::output::print_error(format_args!($($part)*)) };
}

/// The error after which nothing is printed.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

pub(crate) fn print(text: fmt::Arguments<'_>) {
    let mut failed = failure();
    if failed.is_none() {
        *failed = io::stdout().lock().write_fmt(text).err();
    }
}

/// Prints a line that a service can run without.
///
/// # Errors
/// When it was not printed.
pub(super) fn try_line(text: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints to standard error; an error of that cannot be reported.
pub(crate) fn print_error(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Flushes standard output at the end of a command.
///
/// # Errors
/// When printed text is lost, for example on a full disk.
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

//! Reading a new password: from the terminal without showing it, or from standard input. Never from
//! an argument, which other users of the machine can read.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// More than the longest password.
const MAX_INPUT_BYTES: u64 = 4_096;

/// Reads a password; on a terminal twice, because it is not shown.
pub(super) fn read() -> Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let first = ask("New password: ")?;
    if *ask("The same again: ")? != *first {
        bail!("the passwords differ: enter the same password twice");
    }
    Ok(first)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    err!("{prompt}");
    let _hidden = Hidden::new().context("cannot hide what is typed on the terminal")?;
    line()
}

/// A line of standard input without its end.
fn line() -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let mut input = io::stdin().lock().take(MAX_INPUT_BYTES);
    input.read_line(&mut text).context("cannot read the password from standard input")?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    Ok(text)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let shown = tcgetattr(io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Without a terminal there is nothing to restore.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

//! Secrets that the configuration names and does not hold: in a file, in an environment variable,
//! or printed by a command, such as the client of a vault.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::private_file;

/// Longer secrets are refused.
const MAX_BYTES: usize = 4_096;
/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// A file that other users may not read.
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
    /// The standard output of a command: the program, then its arguments. No shell is involved.
    Command(Vec<String>),
}

/// Why a secret could not be read. Contains nothing of it, and nothing that a command printed.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {reason}")]
pub(crate) struct SecretError {
    from: String,
    reason: String,
}

impl fmt::Display for SecretSource {
    /// Without the arguments of a command, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Command(words) => {
                write!(f, "command {}", words.first().map_or("", String::as_str))
            }
        }
    }
}

impl SecretSource {
    /// The source of two settings, at most one of which is set.
    pub(crate) fn chosen(file: &str, command: &[String]) -> Option<Self> {
        if !command.is_empty() {
            Some(Self::Command(command.to_vec()))
        } else if !file.is_empty() {
            Some(Self::File(PathBuf::from(file)))
        } else {
            None
        }
    }

    /// Reads it. A command has ten seconds.
    ///
    /// # Errors
    /// When it is missing, empty or longer than 4096 bytes, when other users may read its file, or
    /// when its command fails.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let read = match self {
            Self::File(path) => read_file(path),
            Self::Variable(name) => match std::env::var(name) {
                Ok(value) => Ok(Zeroizing::new(value.into_bytes())),
                Err(_) => Err("is not set, or is not text".to_owned()),
            },
            Self::Command(words) => run(words, COMMAND_TIMEOUT),
        };
        let read = read.and_then(|secret| match secret.len() {
            0 => Err("is empty".to_owned()),
            length if length > MAX_BYTES => Err(format!("has more than {MAX_BYTES} bytes")),
            _ => Ok(secret),
        });
        read.map_err(|reason| SecretError { from: self.to_string(), reason })
    }

    /// The same for a text of one line; the end of the line is left out.
    ///
    /// # Errors
    /// As [`Self::read`], and when it is not UTF-8.
    pub(crate) fn read_line(&self) -> Result<Zeroizing<String>, SecretError> {
        let bytes = self.read()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError {
            from: self.to_string(),
            reason: "is not UTF-8".to_owned(),
        })?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn read_file(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let file = private_file::open(path).map_err(unreadable)?;
    let found: fs::Metadata = file.metadata().map_err(unreadable)?;
    if private_file::exposed_mode(path, &found) != 0 {
        return Err("can be read by other users: run chmod 600 on it".to_owned());
    }
    read_bounded(file).map_err(unreadable)
}

fn read_bounded(from: impl io::Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Grown buffers would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn run(words: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("has no program".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own, so that its children end with it.
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let Some(output) = child.stdout.take() else { return Err("has no output".to_owned()) };
    let (done, finished) = mpsc::sync_channel(1);
    thread::spawn(move || done.send(read_bounded(output)));
    let printed = finished.recv_timeout(timeout);
    if printed
        .as_ref()
        .is_ok_and(|printed| printed.as_ref().is_ok_and(|printed| printed.len() <= MAX_BYTES))
    {
        // Its output has ended, so it ends too; one that does not is killed.
        let status = wait(&mut child, timeout)?;
        if !status.success() {
            return Err(format!("failed: {status}"));
        }
    } else {
        kill(&mut child);
    }
    match printed {
        Ok(printed) => printed.map_err(|error| format!("cannot be read: {error}")),
        Err(_) => Err(format!("took longer than {timeout:?}")),
    }
}

fn wait(child: &mut Child, timeout: Duration) -> Result<std::process::ExitStatus, String> {
    const INTERVAL: Duration = Duration::from_millis(10);
    let begun = std::time::Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if begun.elapsed() < timeout => thread::sleep(INTERVAL),
            Ok(None) => {
                kill(child);
                return Err(format!("took longer than {timeout:?}"));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    }
}

fn kill(child: &mut Child) {
    // An error means that it has ended.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::Instant};

    use super::*;

    fn command(words: &[&str]) -> SecretSource {
        SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_command_gives_what_it_prints_and_its_arguments_go_through_no_shell() {
        assert_eq!(command(&["printf", "a b\n"]).read_line().unwrap().as_str(), "a b");
        assert_eq!(command(&["echo", "$HOME"]).read_line().unwrap().as_str(), "$HOME");
        assert_eq!(command(&["printf", "\\001"]).read().unwrap().as_slice(), [1]);
    }

    #[test]
    fn a_command_that_fails_or_prints_nothing_or_too_much_is_an_error_without_its_output() {
        for (script, reason) in [
            ("echo s3cret; echo s3cret >&2; exit 3", "failed: exit status: 3"),
            ("exit 0", "is empty"),
            ("yes s3cret", "has more than 4096 bytes"),
        ] {
            let error = command(&["sh", "-c", script]).read().unwrap_err().to_string();
            assert_eq!(error, format!("command sh: {reason}"));
        }
        let missing = command(&["/no/such/program", "s3cret"]).read().unwrap_err().to_string();
        assert!(missing.starts_with("command /no/such/program: cannot be run"), "{missing}");
        assert!(!missing.contains("s3cret"), "{missing}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        for script in ["sleep 60", "sleep 60 & exit 0", "exec >&-; sleep 60"] {
            let words = ["sh", "-c", script].map(str::to_owned);
            let error = run(&words, Duration::from_millis(200)).unwrap_err();
            assert_eq!(error, "took longer than 200ms", "{script}");
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_file_is_read_if_no_other_user_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "s3cret\n").unwrap();
        let source = SecretSource::File(path.clone());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(source.read().unwrap_err().to_string().ends_with("run chmod 600 on it"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.read_line().unwrap().as_str(), "s3cret");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = SecretSource::Variable("NO_SUCH_SECRET".to_owned()).read().unwrap_err();
        let expected = "environment variable NO_SUCH_SECRET: is not set, or is not text";
        assert_eq!(error.to_string(), expected);
    }
}

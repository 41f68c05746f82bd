//! The built program, run as an operator runs it.

use std::{
    fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use visavis_face::session::newest_library;

use super::models::{pack, root};

/// A run that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program with an environment that has none of its variables, nor of ONNX Runtime's, on ports
/// that are free.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("VISAVIS_") || name.starts_with("ORT_") {
            command.env_remove(name);
        }
    }
    // Tests run at once, and `check` listens where a start would.
    command.env("VISAVIS_HTTP_LISTEN", "127.0.0.1:0").env("VISAVIS_ADMIN_LISTEN", "127.0.0.1:0");
    // The same scores on every machine.
    command.env("VISAVIS_RUNTIME_DEVICE", "cpu");
    command
}

/// Longer than any command of these tests takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs commands to their end.
pub trait Run {
    /// One that does not come to an end is a failure with a name, not a test run that stands still.
    fn ran(&mut self) -> Ran;
}

impl Run for Command {
    fn ran(&mut self) -> Ran {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(self.spawn().unwrap(), self)
    }
}

fn finish(mut child: Child, command: &Command) -> Ran {
    let out = read_aside(child.stdout.take().unwrap());
    let err = read_aside(child.stderr.take().unwrap());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            let threads = threads(child.id());
            let _ = child.kill();
            let _ = child.wait();
            let said = String::from_utf8(err.join().unwrap()).unwrap();
            panic!("{command:?} does not end: {said}\n{threads}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
    Output { status, stdout, stderr }.into()
}

fn read_aside(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).unwrap();
        all
    })
}

/// What each thread of a process waits for: its name, its state, and where in the kernel it is.
fn threads(pid: u32) -> String {
    let mut text = String::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let status = read("status");
        let of =
            |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let (wchan, call) = (read("wchan"), read("syscall"));
        text.extend([of("Name:"), " ", of("State:"), " ", &wchan, " ", call.trim(), "\n"]);
    }
    text
}

/// Runs the program with these arguments.
pub fn visavis(arguments: &[&str]) -> Ran {
    program().args(arguments).ran()
}

/// Creates the key and the empty database of a data folder.
pub fn create_data(folder: &Path) {
    let created = program().args(["migrate", "--data"]).arg(folder).ran();
    assert_eq!(created.code, 0, "{}", created.err);
}

/// Runs it with something on its standard input.
pub fn visavis_reading(arguments: &[&str], input: &str) -> Ran {
    let mut command = program();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish(child, &command)
}

/// A file of the repository, as text for an argument.
pub fn in_repository(name: &str) -> String {
    root().join(name).display().to_string()
}

/// The folder of the fetched pack.
pub fn pack_folder() -> PathBuf {
    pack().embedder.path.parent().unwrap().to_owned()
}

/// ONNX Runtime's shared library.
pub fn runtime_library() -> PathBuf {
    let library = newest_library(&root().join("runtime"));
    assert!(library.exists(), "{} is missing: run `make models runtime`", library.display());
    library
}

/// The program with the real models and the real runtime.
pub fn with_models() -> Command {
    let mut command = program();
    command.env("VISAVIS_MODEL_DIR", pack_folder().parent().unwrap());
    command.env("VISAVIS_MODEL_PACK", pack().name);
    command.env("ORT_DYLIB_PATH", runtime_library());
    command
}

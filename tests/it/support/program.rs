//! The built program, run as an operator runs it.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use visavis::app::newest_library;

use super::models::root;

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

/// The program with an environment that has none of its variables.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("VISAVIS_") || name == "ORT_DYLIB_PATH" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program with these arguments.
pub fn visavis(arguments: &[&str]) -> Ran {
    program().args(arguments).output().unwrap().into()
}

/// Runs it with something on its standard input.
pub fn visavis_reading(arguments: &[&str], input: &str) -> Ran {
    let mut child = program()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A file of the repository, as text for an argument.
pub fn in_repository(name: &str) -> String {
    root().join(name).display().to_string()
}

/// The folder of the default pack.
pub fn pack_folder() -> PathBuf {
    let folder = PathBuf::from(in_repository("models/omz"));
    assert!(
        folder.join("yunet_s_dynamic.onnx").exists(),
        "{} has no models: run `make models runtime`",
        folder.display()
    );
    folder
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
    command.env("ORT_DYLIB_PATH", runtime_library());
    command
}

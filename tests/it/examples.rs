//! The examples in `examples/`, each run as its reader would run it, against a real server with the
//! real models. An example whose language is not on the machine is left out, loudly.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    crash::server::{Data, Server},
    support::{Ran, Run as _, in_repository, left_out, visavis},
};

/// A server, and what its client's environment holds.
struct World {
    data: Data,
    server: Server,
    keys: Value,
}

impl World {
    fn start() -> Self {
        let data = Data::new();
        let server = Server::start(&data);
        let folder = data.folder().display().to_string();
        let added = visavis(&["client", "add", "examples", "--json", "--data", &folder]);
        Self { data, server, keys: added.json() }
    }

    /// Runs an example on two photos.
    fn run(&self, example: &Example, server_key: &str, arguments: &[&str]) -> Ran {
        let key = |member: &str| self.keys[member].as_str().unwrap();
        let mut command = Command::new(&example.program);
        command
            .args(&example.before)
            .args(arguments)
            .current_dir(self.data.folder())
            .env("VISAVIS_URL", self.server.url())
            .env("VISAVIS_CLIENT_ID", key("clientId"))
            .env("VISAVIS_MERCHANT_PRIVATE_KEY", key("merchantPrivateKey"))
            .env("VISAVIS_SERVER_PUBLIC_KEY", key(server_key));
        command.ran()
    }
}

/// What comes before the photos on the command line.
struct Example {
    program: PathBuf,
    before: Vec<String>,
}

fn works(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|ran| ran.status.success())
}

/// The interpreter of the checkout, which has what the example needs, or the machine's.
fn python() -> PathBuf {
    let own = PathBuf::from(in_repository(".venv/bin/python"));
    if own.exists() { own } else { PathBuf::from("python3") }
}

/// Runs one example in every way, if its language is installed.
fn check(language: &str, program: &Path, probe: (&Path, &[&str]), before: &[String]) {
    if !works(probe.0, probe.1) {
        let (probe, arguments) = (probe.0.display(), probe.1);
        left_out(&format!(
            "the example in {language}: {probe} {arguments:?} does not run here; install it"
        ));
        return;
    }
    let world = World::start();
    let example = Example { program: program.to_owned(), before: before.to_vec() };
    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    let (one, other, outsider) =
        (sample("obama-2012.jpg"), sample("obama-2009.jpg"), sample("collins.jpg"));
    let no_photo = in_repository("Cargo.toml");
    for encrypt in [&[][..], &["--encrypt"]] {
        let run = |key, pictures: &[&str]| world.run(&example, key, &[pictures, encrypt].concat());
        let same = run("serverPublicKey", &[&one, &other]);
        assert_eq!(same.code, 0, "{language} {encrypt:?}: {}{}", same.out, same.err);
        assert_eq!(same.json()["samePerson"], true, "{language}: {}", same.out);
        let different = run("serverPublicKey", &[&one, &outsider]);
        assert_eq!(different.json()["samePerson"], false, "{language}: {}", different.out);
        let refused = run("serverPublicKey", &[&one, &no_photo]);
        assert_eq!(refused.code, 1, "{language}: {}{}", refused.out, refused.err);
        assert_eq!(refused.json()["result"]["resultCode"], "UNABLE_GET_IMAGE", "{language}");
        let unverified = run("merchantPublicKey", &[&one, &other]);
        assert_eq!(
            (unverified.code, unverified.out.as_str()),
            (2, ""),
            "{language}: {}",
            unverified.err
        );
        assert!(!unverified.err.is_empty(), "{language} says why");
    }
}

#[test]
fn the_rust_example_calls() {
    let built = Path::new(env!("CARGO_BIN_EXE_visavis")).with_file_name("examples").join("call");
    assert!(built.exists(), "{} is built with the tests", built.display());
    check("Rust", &built, (Path::new("true"), &[]), &[]);
}

#[test]
fn the_python_example_calls() {
    let python = python();
    let script = in_repository("examples/python/call.py");
    check("Python", &python, (&python, &["-c", "import cryptography"]), &[script]);
}

#[test]
fn the_node_example_calls() {
    let (node, script) = (Path::new("node"), in_repository("examples/node/call.mjs"));
    check("Node", node, (node, &["--version"]), &[script]);
}

#[test]
fn the_java_example_calls() {
    let (java, source) = (Path::new("java"), in_repository("examples/java/Call.java"));
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().display().to_string();
    // `java Call.java`, as it is documented, compiles at every start. That is run once, for its
    // usage.
    if works(Path::new("javac"), &["-version"]) {
        assert!(works(Path::new("javac"), &["-d", &classes, &source]), "it builds");
        let usage = Command::new(java).arg(&source).ran();
        assert_eq!(usage.code, 2, "{}", usage.err);
        assert!(usage.err.contains("usage: java Call.java"), "{}", usage.err);
    }
    let call = ["-cp".to_owned(), classes, "Call".to_owned()];
    check("Java", java, (Path::new("javac"), &["-version"]), &call);
}

#[test]
fn the_go_example_calls() {
    let (go, source) = (Path::new("go"), in_repository("examples/go/call.go"));
    let folder = tempfile::tempdir().unwrap();
    // `go run` has an exit code of its own.
    let built = folder.path().join("call");
    if works(go, &["version"]) {
        assert!(works(go, &["build", "-o", &built.display().to_string(), &source]), "it builds");
    }
    check("Go", &built, (go, &["version"]), &[]);
}

#[test]
fn the_shell_example_calls() {
    let (bash, script) = (Path::new("bash"), in_repository("examples/bash/call.sh"));
    check("bash", bash, (bash, &["-c", "openssl version && curl --version"]), &[script]);
}

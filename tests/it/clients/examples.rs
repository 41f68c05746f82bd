//! The examples in `examples/` and the command lines of the packages in `clients/`, each run as its
//! reader would run it, against a real server with the real models. What its language is missing
//! for is left out, loudly.

use std::{path::Path, process::Command};

use super::{World, package::Package, photo, works};
use crate::support::{Ran, Run as _, in_repository, left_out};

/// Whether the language of an example is here; says so if not.
fn is_here(language: &str, program: &str, arguments: &[&str]) -> bool {
    let mut probe = Command::new(program);
    probe.args(arguments);
    let is_here = works(probe);
    if !is_here {
        left_out(&format!(
            "the example in {language}: {program} {arguments:?} does not run here; install it"
        ));
    }
    is_here
}

/// Runs one example in every way. What comes before the photos on its command line is `command`.
fn check(language: &str, command: impl Fn() -> Command) {
    let world = World::start();
    let run = |server_key: &str, arguments: &[&str]| -> Ran {
        let mut command = command();
        command
            .args(arguments)
            .current_dir(world.data.folder())
            .env("VISAVIS_URL", world.server.url())
            .env("VISAVIS_CLIENT_ID", world.key("clientId"))
            .env("VISAVIS_MERCHANT_PRIVATE_KEY", world.key("merchantPrivateKey"))
            .env("VISAVIS_SERVER_PUBLIC_KEY", world.key(server_key));
        command.ran()
    };
    let (one, other, outsider) = (photo("obama-2012"), photo("obama-2009"), photo("collins"));
    let no_photo = in_repository("Cargo.toml");
    for encrypt in [&[][..], &["--encrypt"]] {
        let run = |key, photos: &[&str]| run(key, &[photos, encrypt].concat());
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

/// What the command lines of the packages have beyond that.
fn check_package(package: &Package) {
    check(package.language, || package.command());
    let world = World::start();
    let (one, other) = (photo("obama-2012"), photo("obama-2009"));
    let (url, client) = (world.server.url(), world.client.display().to_string());
    for mode in [&[][..], &["--encrypt"], &["--aksk"], &["--async"], &["--aksk", "--async"]] {
        let mut command = package.command();
        command.args([&one, &other, "--client", &client, "--url", &url]).args(mode);
        let same = command.ran();
        assert_eq!((same.code, same.err.as_str()), (0, ""), "{} {mode:?}", package.language);
        assert_eq!(same.json()["samePerson"], true, "{} {mode:?}", package.language);
    }
    for wrong in [
        &[&*one, &other, "--client", "/nowhere.json"][..],
        &[&one, &other],
        &[&one],
        &[&one, &other, "--encrypt", "--aksk"],
        &[&one, "/nowhere.jpg", "--client", &client, "--url", &url],
        &[&one, &other, "--client", &client, "--url", "localhost"],
    ] {
        let refused = package.command().args(wrong).ran();
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{wrong:?}: {}", refused.err);
        let is_raw = ["Traceback", "    at "].iter().any(|text| refused.err.contains(text));
        assert!(!refused.err.is_empty() && !is_raw, "{wrong:?}: {}", refused.err);
    }
    let (world, cert) = world.with_tls();
    let by_name = world.server.url().replace("127.0.0.1", "localhost");
    let cert = cert.display().to_string();
    for (url, more, code) in [
        (&*by_name, &["--ca", &cert][..], 0),
        (&by_name, &["--limit", "1"], 2),
        (&world.server.url(), &["--ca", &cert, "--limit", "1"], 2),
    ] {
        let mut command = package.command();
        command.args([&*one, &other, "--client", &client, "--url", url]).args(more);
        let ran = command.ran();
        assert_eq!(ran.code, code, "{} {more:?}: {}", package.language, ran.err);
        assert!(code == 0 || ran.err.to_lowercase().contains("certificate"), "{}", ran.err);
    }
}

#[test]
fn the_command_line_of_the_python_package_calls() {
    if let Some(package) = Package::python() {
        check_package(&package);
    }
}

#[test]
fn the_command_line_of_the_node_package_calls() {
    if let Some(package) = Package::node() {
        check_package(&package);
    }
}

#[test]
fn the_rust_example_calls() {
    let built = Path::new(env!("CARGO_BIN_EXE_visavis")).with_file_name("examples").join("call");
    assert!(built.exists(), "{} is built with the tests", built.display());
    check("Rust", || Command::new(&built));
}

#[test]
fn the_java_example_calls() {
    if !is_here("Java", "javac", &["-version"]) {
        return;
    }
    let source = in_repository("examples/java/Call.java");
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().display().to_string();
    // `java Call.java`, as it is documented, compiles at every start. That is run once, for its
    // usage.
    let built = Command::new("javac").args(["-d", &classes, &source]).ran();
    assert_eq!(built.code, 0, "{}", built.err);
    let usage = Command::new("java").arg(&source).ran();
    assert_eq!(usage.code, 2, "{}", usage.err);
    assert!(usage.err.contains("usage: java Call.java"), "{}", usage.err);
    check("Java", || {
        let mut command = Command::new("java");
        command.args(["-cp", &classes, "Call"]);
        command
    });
}

#[test]
fn the_go_example_calls() {
    if !is_here("Go", "go", &["version"]) {
        return;
    }
    let source = in_repository("examples/go/call.go");
    let folder = tempfile::tempdir().unwrap();
    // `go run` has an exit code of its own.
    let built = folder.path().join("call").display().to_string();
    let build = Command::new("go").args(["build", "-o", &built, &source]).ran();
    assert_eq!(build.code, 0, "{}", build.err);
    check("Go", || Command::new(&built));
}

#[test]
fn the_shell_example_calls() {
    if is_here("bash", "bash", &["-c", "openssl version && curl --version"]) {
        check("bash", || {
            let mut command = Command::new("bash");
            command.arg(in_repository("examples/bash/call.sh"));
            command
        });
    }
}

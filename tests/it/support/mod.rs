//! What the tests share: an engine that needs no nets, a whole service in memory, its socket, and
//! looks into its database.

use std::io::Write as _;

mod app;
mod clock;
mod crypto;
mod database;
mod disk;
mod engine;
#[path = "../../../crates/face/src/flat.rs"]
#[expect(dead_code, reason = "some kinds are for the tests of the crate alone")]
pub mod flat;
mod javascript;
pub mod models;
mod postgres;
mod program;
mod wire;

pub use app::{
    Answer, CLIENT, SECRET, TestApp, add_client, audit_of, merchant, pair, policy, server_key,
    signature_over, signed_as,
};
pub use clock::Hands;
pub use crypto::{AesKey, header_of, mac, weak_key};
pub use database::{break_jobs, payload_rows, stored};
pub use disk::Disk;
pub use engine::{FakeEngine, Picture};
pub use javascript::assert_javascript_form;
pub use postgres::{Cluster, as_server_user, cluster, second_cluster};
pub use program::{
    Ran, Run, create_data, in_repository, pack_folder, program, runtime_library, visavis,
    visavis_reading, with_models,
};
pub use wire::{Connection, IDLE_DEADLINE, Listening, Reply};

/// Reports that something was not tested because a program is missing. Where CI=true that is a
/// failure: `scripts/setup` installs every program that a test needs.
pub fn left_out(what: &str) {
    left_out_where(in_ci(), what);
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

fn left_out_where(in_ci: bool, what: &str) {
    assert!(!in_ci, "nothing is left out where CI=true: {what}; have scripts/setup install it");
    say_left_out(what);
    count_left_out("something else, see LEFT OUT above");
}

/// The same for a part of `VISAVIS_SHARED`: photos of people and weights that may not be published.
fn left_out_without(part: &str) {
    let folder = part.split('/').next().unwrap_or(part);
    // A CI without them sets `none`.
    let is_known = std::env::var("VISAVIS_SHARED").is_ok_and(|folder| folder == "none");
    assert!(
        !in_ci() || is_known,
        "nothing is left out where CI=true: ../shared/{folder} is missing; set VISAVIS_SHARED to \
         the folder that has it, or to `none`"
    );
    count_left_out(&format!("../shared/{folder}"));
}

/// The same for what cannot be installed, so that it is left out in CI too: missing instructions of
/// the processor, mounts and control groups that a container forbids.
pub fn left_out_everywhere(what: &str) {
    say_left_out(what);
}

/// Records what this test lacks for `scripts/left-out`, which ends `make test`.
fn count_left_out(what: &str) {
    let Some(file) = std::env::var_os("LEFT_OUT_FILE") else { return };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    // One write, so that lines of tests that run at once do not mix.
    file.write_all(format!("{what}\t{test}\n").as_bytes()).unwrap();
}

/// To standard error: the test harness hides what a passing test prints with the usual macros.
fn say_left_out(what: &str) {
    // An error means that standard error is closed.
    let _ = writeln!(std::io::stderr(), "\n*** LEFT OUT: {what} ***\n");
}

#[test]
fn a_program_that_is_not_here_is_a_failure_in_ci_and_only_what_nobody_can_install_is_not() {
    let panicked = std::panic::catch_unwind(|| left_out_where(true, "zsh"));
    let said = *panicked.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("zsh"), "{said}");
    let sources = crate::deploy::files("tests/it").into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        (path, text)
    });
    let call = ["left_out_everywhere", "("].concat();
    let callers: Vec<_> =
        sources.filter(|(_, text)| text.contains(&call)).map(|(p, _)| p).collect();
    let expected = [
        "tests/it/build_context.rs",
        "tests/it/deploy.rs",
        "tests/it/disk.rs",
        "tests/it/gpu.rs",
        "tests/it/pixels.rs",
        "tests/it/support/mod.rs",
    ];
    let expected = expected.map(in_repository);
    assert_eq!(
        callers
            .iter()
            .map(|path| path.display().to_string())
            .collect::<std::collections::BTreeSet<_>>(),
        expected.into_iter().collect()
    );
}

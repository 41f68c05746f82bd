//! What commands print, and readers that do not read it to the end.

use std::{io, process::Stdio};

use crate::{
    crash::server::Data,
    serve::add,
    support::{Run as _, in_repository, with_models},
};

/// Commands with much and with little to print, and whether they need the data folder.
fn commands() -> Vec<(Vec<String>, bool)> {
    let (one, other) =
        (in_repository("samples/obama-2012.jpg"), in_repository("samples/hopper.jpg"));
    let commands: [(&[&str], bool); 10] = [
        (&["--help"], false),
        (&["openapi"], false),
        (&["completions", "bash"], false),
        (&["models", "list"], false),
        (&["audit"], true),
        (&["client", "list"], true),
        (&["client", "list", "--json"], true),
        (&["check"], true),
        (&["compare", &one, &one], false),
        (&["compare", &one, &other, "--json"], false),
    ];
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    commands.map(|(words, data)| (owned(words), data)).into()
}

fn run(
    data: &Data,
    (words, needs_data): &(Vec<String>, bool),
    output: impl Into<Stdio>,
) -> (i32, String) {
    let mut command = with_models();
    command.args(words).env("VISAVIS_ADMIN_LISTEN", "").env("VISAVIS_HTTP_LISTEN", "127.0.0.1:0");
    if *needs_data {
        command.arg("--data").arg(data.folder());
    }
    let ran = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output().unwrap();
    (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn a_reader_that_leaves_early_changes_no_exit_code_and_nothing_is_said() {
    let data = Data::new();
    add(&data, "app", &["client", "add", "app"]);
    for command in commands() {
        let (usual, _) = run(&data, &command, Stdio::null());
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let (code, complaint) = run(&data, &command, writer);
        assert_eq!(code, usual, "{command:?}: {complaint}");
        assert!(!complaint.contains("panicked") && !complaint.contains("ipe"), "{complaint}");
    }
}

#[test]
fn what_cannot_be_printed_on_a_full_disk_is_an_error() {
    let data = Data::new();
    add(&data, "app", &["client", "add", "app"]);
    for command in commands().into_iter().filter(|(words, _)| words[0] != "--help") {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, complaint) = run(&data, &command, full);
        assert_eq!(code, 2, "{command:?}: {complaint}");
        let expected = "visavis: cannot write to standard output: No space left on device";
        assert!(complaint.contains(expected), "{command:?}: {complaint}");
    }
}

#[test]
fn a_client_is_added_although_nobody_reads_its_keys() {
    let data = Data::new();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let command = (["client", "add", "app", "--print"].map(str::to_owned).into(), true);
    let (code, complaint) = run(&data, &command, writer);
    assert_eq!(code, 0, "{complaint}");
    let folder = data.folder().display().to_string();
    let listed = with_models().args(["client", "list", "--data", &folder]).ran();
    assert!(listed.out.contains("app"), "{}", listed.out);
}

//! `visavis console user`, and what a rotation of the master key does to users.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Ran, visavis, visavis_reading};

const PASSWORD: &str = "correct horse battery\n";

fn run(data: &Path, arguments: &[&str], input: &str) -> Ran {
    let data = data.display().to_string();
    visavis_reading(&[arguments, &["--data", &data]].concat(), input)
}

fn users(data: &Path) -> Vec<Value> {
    let listed = run(data, &["console", "user", "list", "--json"], "");
    assert_eq!(listed.code, 0, "{}", listed.err);
    listed.json().as_array().unwrap().clone()
}

#[test]
fn users_are_added_listed_changed_and_deleted_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let add =
        |name, role, input| run(data, &["console", "user", "add", name, "--role", role], input);
    let short = add("ann", "administrator", "short\n");
    assert_eq!(short.code, 2);
    assert!(short.err.contains("at least 12 characters"), "{}", short.err);
    let ann = add("ann", "administrator", PASSWORD);
    assert_eq!((ann.code, ann.err.as_str()), (0, ""), "{}", ann.err);
    assert_eq!(ann.out, "user ann added with the role administrator\n");
    assert!(add("Ann", "viewer", PASSWORD).err.contains("already exists"));
    assert!(add("bob", "owner", PASSWORD).err.contains("expected viewer, operator"));
    assert_eq!(add("bob", "viewer", PASSWORD).code, 0);

    let set = |arguments: &[&str]| {
        run(data, &[&["console", "user", "set"], arguments].concat(), PASSWORD)
    };
    assert!(set(&["ann", "--disable"]).err.contains("last enabled administrator"));
    assert!(set(&["eve", "--enable"]).err.contains("no user `eve`"));
    assert_ne!(set(&["bob"]).code, 0, "nothing is to be changed");
    let changed = set(&["bob", "--role", "operator", "--password", "--disable"]);
    assert_eq!(changed.code, 0, "{}", changed.err);
    let bob = users(data).into_iter().find(|user| user["name"] == "bob").unwrap();
    assert_eq!((&bob["role"], bob["disabledAt"].is_i64()), (&json!("operator"), true), "{bob}");
    let listed = run(data, &["console", "user", "list"], "").out;
    assert!(listed.contains("bob") && listed.contains("disabled"), "{listed}");
    assert_eq!(run(data, &["console", "user", "delete", "bob"], "").code, 0);
    assert_eq!(users(data).len(), 1);

    let audit = run(data, &["audit", "--json"], "").json();
    let acts: Vec<_> =
        audit.as_array().unwrap().iter().map(|entry| entry["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["user delete", "user set", "user add", "user add"]);
    assert!(!audit.to_string().contains("correct horse"), "{audit}");
    assert_eq!(run(data, &["audit", "verify"], "").code, 0);
}

#[test]
fn the_first_administrator_uses_up_the_token_and_a_later_one_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    assert_eq!(run(data, &["console", "user", "add", "bob", "--role", "viewer"], PASSWORD).code, 0);
    let token = data.join("console.token");
    let text = || std::fs::read_to_string(&token).unwrap();
    assert_eq!(run(data, &["console", "token"], "").code, 0);
    assert!(!text().contains("recovery"));
    assert_eq!(
        run(data, &["console", "user", "set", "bob", "--role", "administrator"], "").code,
        0
    );
    let made = run(data, &["console", "token"], "");
    assert!(text().trim_end().ends_with(" recovery") && made.out.trim().len() == 43);
    assert_eq!(
        run(data, &["console", "user", "add", "ann", "--role", "administrator"], PASSWORD).code,
        0
    );
    assert!(!token.exists());
}

#[test]
fn users_outlast_a_rotation_of_the_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    assert_eq!(run(data, &["console", "user", "add", "ann", "--role", "viewer"], PASSWORD).code, 0);
    for step in ["prepare", "rotate", "retire"] {
        let done = run(data, &["key", step], "");
        assert_eq!(done.code, 0, "{step}: {}", done.err);
    }
    assert_eq!(users(data)[0]["tampered"], false);
    let help = visavis(&["console", "user", "add", "--help"]).out;
    assert!(!help.contains("--password"), "a password is never an argument: {help}");
}

//! The master key and the password of the database from a variable, a file or a command.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{Ran, Run as _, create_data, program};

fn run(data: &Path, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = program();
    command.args(words).arg("--data").arg(data).envs(variables.iter().copied());
    command.ran()
}

#[test]
fn the_master_key_comes_from_a_variable_or_a_command_and_is_named_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    create_data(data);
    let added = run(data, &["client", "add", "app", "--out", "-"], &[]);
    assert_eq!(added.code, 0, "{}", added.err);
    let key = fs::read(data.join("master.key")).unwrap();
    fs::remove_file(data.join("master.key")).unwrap();
    let (base64, hex) = (STANDARD.encode(&key), hex::encode(&key));
    let script = data.join("print-key");
    fs::write(&script, format!("#!/bin/sh\necho not for the log >&2\necho {base64}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let command = [("VISAVIS_DATA_KEY_COMMAND", script.to_str().unwrap())];
    let variable = |key| [("VISAVIS_DATA_KEY_VARIABLE", "MASTER_KEY"), ("MASTER_KEY", key)];
    for variables in [&variable(base64.as_str())[..], &variable(hex.as_str()), &command] {
        let exported = run(data, &["client", "export", "app"], variables);
        assert_eq!((exported.code, exported.err.as_str()), (0, ""), "{variables:?}");
    }
    assert!(!data.join("master.key").exists(), "none is created");

    let checked = run(data, &["check"], &command).out;
    assert!(checked.contains("ok   secrets: master key from command /"), "{checked}");
    assert!(!checked.contains(&base64), "{checked}");
    let prepared = run(data, &["key", "prepare"], &command);
    assert_eq!(prepared.code, 2);
    assert!(prepared.err.contains("which Visavis cannot change"), "{}", prepared.err);

    let other = STANDARD.encode([7; 32]);
    let refused = run(data, &["client", "export", "app"], &variable(other.as_str()));
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("another master key"), "{}", refused.err);
    let short = run(data, &["client", "export", "app"], &variable("c2hvcnQ="));
    assert!(short.err.contains("variable MASTER_KEY: is not a key"), "{}", short.err);
    assert!(!short.err.contains("c2hvcnQ"), "{}", short.err);
    let unset = run(data, &["client", "list"], &[("VISAVIS_DATA_KEY_VARIABLE", "NO_SUCH_KEY")]);
    assert!(unset.err.contains("NO_SUCH_KEY: is not set"), "{}", unset.err);
}

/// A server that asks for the password in clear and then refuses; returns its address and, at the
/// end, the first password that it got.
fn asking() -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let message = |stream: &mut std::net::TcpStream| {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            stream.read_exact(&mut rest).unwrap();
            rest
        };
        message(&mut stream);
        // AuthenticationCleartextPassword.
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
        let mut kind = [0];
        stream.read_exact(&mut kind).unwrap();
        assert_eq!(kind, *b"p");
        let password = message(&mut stream);
        String::from_utf8(password).unwrap().trim_end_matches('\0').to_owned()
    });
    (address, asked)
}

#[test]
fn the_password_of_postgres_comes_from_a_file_a_command_or_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    create_data(folder.path());
    let file = folder.path().join("password");
    fs::write(&file, "from file: ä\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let of_libpq = folder.path().join("pgpass");
    fs::write(&of_libpq, "*:*:*:visavis:from libpq\n").unwrap();
    fs::set_permissions(&of_libpq, fs::Permissions::from_mode(0o600)).unwrap();
    for (variable, value, expected) in [
        ("PGPASSWORD", "from variable", "from variable"),
        ("PGPASSFILE", of_libpq.to_str().unwrap(), "from libpq"),
        ("VISAVIS_DATABASE_PASSWORD_FILE", file.to_str().unwrap(), "from file: ä"),
        ("VISAVIS_DATABASE_PASSWORD_COMMAND", "printf s3cret", "s3cret"),
    ] {
        let (address, asked) = asking();
        let url = format!("postgres://visavis@{address}/visavis?sslmode=disable");
        let variables = [("VISAVIS_DATABASE_URL", url.as_str()), (variable, value)];
        let refused = run(folder.path(), &["client", "list"], &variables);
        assert_eq!(asked.join().unwrap(), expected);
        assert_eq!(refused.code, 2);
        assert!(!refused.err.contains(expected), "{}", refused.err);
    }
    let failing = [
        ("VISAVIS_DATABASE_URL", "postgres://visavis@127.0.0.1:1/visavis"),
        ("VISAVIS_DATABASE_PASSWORD_COMMAND", "false"),
    ];
    let failed = run(folder.path(), &["client", "list"], &failing);
    let expected = "database password: command false: failed: exit status: 1";
    assert!(failed.err.contains(expected), "{}", failed.err);
}

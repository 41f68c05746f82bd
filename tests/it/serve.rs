//! The whole program as an operator runs it: a server with the real models, a client registered
//! beside it, requests from the command line, and an orderly end.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use serde_json::Value;

use crate::{
    crash::server::{Data, Server},
    support::{Ran, Run as _, in_repository, program, visavis},
};

#[test]
fn a_server_is_started_called_and_stopped_from_the_command_line() {
    let folder = Data::new();
    let data = folder.folder().display().to_string();
    let keys = folder.folder().join("app.json").display().to_string();
    let server = Server::start(&folder);
    let url = server.url();
    let (code, complaint) = folder.serve_and_fail();
    assert_eq!(code, Some(2));
    assert!(complaint.contains("another process serves"), "{complaint}");

    let added = visavis(&["client", "add", "app", "--data", &data, "--out", &keys]);
    assert_eq!(added.code, 0, "{}", added.err);
    let call = |arguments: &[&str]| -> Ran {
        visavis(&[arguments, &["--client", &keys, "--url", &url]].concat())
    };
    let tested = call(&["call", "test"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    assert!(tested.out.contains("the response's signature is valid"), "{}", tested.out);

    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    let (one, other) = (sample("obama-2012.jpg"), sample("obama-2009.jpg"));
    let compared = call(&["call", "compare", &one, &other, "--json"]).json();
    assert_eq!(compared["samePerson"], true, "{compared}");
    let id = compared["transactionId"].as_str().unwrap();
    let checked = call(&["call", "asynccheckresult", id, "--json"]).json();
    assert_eq!(checked["score"], compared["score"]);
    let collins = sample("collins.jpg");
    let waited = call(&["call", "asynccompare", &one, &collins, "--wait", "--json"]).json();
    assert_eq!(waited["result"]["resultCode"], "SUCCESS", "{waited}");
    assert_eq!(waited["samePerson"], false, "{waited}");

    assert_eq!(visavis(&["client", "disable", "app", "--data", &data]).code, 0);
    let refused = call(&["call", "test", "--json"]);
    assert_eq!(
        (refused.code, &refused.json()["result"]["resultCode"]),
        (1, &"ACCESS_DENIED".into())
    );

    assert_eq!(server.terminate(), Some(0));
}

/// A client's keys in a file of its own.
pub fn add(data: &Data, name: &str, command: &[&str]) -> String {
    let keys = data.folder().join(format!("{name}.json")).display().to_string();
    let folder = data.folder().display().to_string();
    let added = visavis(&[command, &["--data", &folder, "--out", &keys]].concat());
    assert_eq!(added.code, 0, "{}", added.err);
    keys
}

pub fn call(url: &str, keys: &str, arguments: &[&str]) -> Ran {
    visavis(&[&["call"], arguments, &["--client", keys, "--url", url]].concat())
}

#[test]
fn every_mode_is_called_from_the_command_line_and_keys_are_rotated_under_it() {
    let data = Data::new();
    let folder = data.folder().display().to_string();
    let server = Server::start(&data);
    let url = server.url();
    let old = add(&data, "old", &["client", "add", "app"]);
    let photo = in_repository("samples/hopper.jpg");
    let modes: [&[&str]; 5] = [
        &["--mode", "plain"],
        &["--mode", "encrypted"],
        &["--mode", "encrypted", "--aes-bits", "128"],
        &["--mode", "encrypted", "--aes-bits", "192"],
        &["--mode", "aksk"],
    ];
    for mode in modes {
        let compare = [&["compare", &photo, &photo, "--json"], mode].concat();
        let compared = call(&url, &old, &compare);
        assert_eq!(compared.code, 0, "{mode:?}: {}", compared.err);
        assert_eq!(compared.json()["samePerson"], true, "{mode:?}");
    }
    let shown = call(&url, &old, &["test", "--mode", "encrypted"]).out;
    assert!(shown.contains("Encrypt: algorithm=RSA_AES, symmetricKey="), "{shown}");
    assert!(shown.contains("and it was encrypted"), "{shown}");

    let too_long = visavis(&["client", "rotate", "app", "--overlap", "366d", "--data", &folder]);
    assert_eq!(too_long.code, 2, "{}", too_long.out);
    assert!(too_long.err.contains("must be at most 365d"), "{}", too_long.err);
    let new = add(&data, "new", &["client", "rotate", "app", "--overlap", "1h"]);
    for mode in modes {
        for keys in [&old, &new] {
            let tested = call(&url, keys, &[&["test", "--json"], mode].concat());
            assert_eq!(tested.code, 0, "{keys} {mode:?}: {}", tested.err);
        }
    }
    let newest = add(&data, "newest", &["client", "rotate", "app", "--overlap", "0"]);
    let late = call(&url, &new, &["test"]);
    assert_ne!(late.code, 0, "answered under keys that the old file does not have");
    assert_eq!(call(&url, &newest, &["test"]).code, 0);
    let listed = visavis(&["client", "list", "--data", &folder]).out;
    assert!(listed.contains("v3") && listed.contains("all"), "{listed}");

    let compare =
        |keys: &str| -> Value { call(&url, keys, &["compare", &photo, &photo, "--json"]).json() };
    let set =
        |extras: &str| visavis(&["client", "set", "app", "--extras", extras, "--data", &folder]);
    assert!(compare(&newest)["threshold"].is_number());
    assert_eq!(set("off").code, 0);
    let members: Vec<_> = compare(&newest).as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["result", "transactionId", "score", "samePerson"]);
    assert_eq!(set("on").code, 0);
    assert!(compare(&newest)["threshold"].is_number());
    assert_eq!(set("perhaps").code, 2);
    assert_eq!(server.terminate(), Some(0));
}

/// A certificate for localhost and its key, as files.
pub fn certificate(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert.display().to_string(), key.display().to_string())
}

/// An address that nothing listens on; someone else may take it before it is used, but hardly
/// does.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn get(address: SocketAddr, path: &str) -> String {
    get_from(address, "localhost", path)
}

/// The same with this host.
fn get_from(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn files_that_other_users_could_open_are_named_by_a_check_and_closed_by_a_start() {
    let data = Data::new();
    let folder = data.folder().display().to_string();
    let mode =
        |name: &str| fs::metadata(data.folder().join(name)).unwrap().permissions().mode() & 0o777;
    let open = |name: &str, mode: u32| {
        fs::set_permissions(data.folder().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("", 0o755);
    add(&data, "app", &["client", "add", "app"]);
    assert_eq!(mode("visavis.db"), 0o600);
    let check = || {
        let checked = visavis(&["check", "--data", &folder]).out;
        let line = checked.lines().find(|line| line.contains(" permissions: ")).unwrap();
        line.to_owned()
    };
    assert!(check().starts_with("ok "), "{}", check());
    open("visavis.db", 0o644);
    fs::write(data.folder().join("serve.lock"), "").unwrap();
    open("serve.lock", 0o666);
    let warned = check();
    assert!(warned.starts_with("WARN permissions: other users can open "), "{warned}");
    for name in ["serve.lock", "visavis.db"] {
        assert!(warned.contains(&format!("{folder}/{name}")), "{warned}");
    }
    let server = Server::start(&data);
    let files = ["serve.lock", "visavis.db", "visavis.db-wal", "visavis.db-shm"];
    assert_eq!(files.map(mode), [0o600; 4]);
    assert_eq!(server.terminate(), Some(0));
    assert!(check().starts_with("ok "), "{}", check());
}

#[test]
fn a_request_to_the_admin_address_by_another_name_is_refused() {
    let data = Data::new();
    let admin = free_address();
    let listen = admin.to_string();
    let variables =
        [("VISAVIS_ADMIN_LISTEN", &*listen), ("VISAVIS_ADMIN_HOSTS", "front-1 faces.example")];
    let server = Server::start_with(&data, &[], &variables);
    for path in ["/metrics", "/health", "/health/live", "/console/", "/console/api/login", "/x"] {
        let refused = get_from(admin, "evil.example:9464", path);
        assert!(refused.starts_with("HTTP/1.1 421 "), "{path}: {refused}");
        assert!(refused.contains("add the name to admin.hosts"), "{refused}");
    }
    for host in [&*listen, "localhost:9464", "front-1:9464", "faces.example"] {
        let taken = get_from(admin, host, "/metrics");
        assert!(taken.starts_with("HTTP/1.1 200 "), "{host}: {taken}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_health_check_asks_the_process_of_its_configuration() {
    let data = Data::new();
    let admin = free_address();
    // As in containers, and with a proxy that does not exist.
    let listen = format!("0.0.0.0:{}", admin.port());
    let health = || {
        let mut command = program();
        command.arg("health").env("VISAVIS_ADMIN_LISTEN", &listen);
        command.env("HTTP_PROXY", "http://127.0.0.1:1").ran()
    };
    let absent = health();
    assert_eq!((absent.code, absent.out.as_str()), (1, ""));
    assert!(absent.err.contains(" does not respond: "), "{}", absent.err);
    let server = Server::start_with(&data, &[], &[("VISAVIS_ADMIN_LISTEN", &listen)]);
    let ready = health();
    assert_eq!((ready.code, ready.out.as_str(), ready.err.as_str()), (0, "ready\n", ""));
    assert_eq!(server.terminate(), Some(0));
    let disabled = program().arg("health").env("VISAVIS_ADMIN_LISTEN", "").ran();
    assert_eq!(disabled.code, 2, "{}", disabled.out);
    assert!(disabled.err.contains("admin.listen is empty: "), "{}", disabled.err);
}

#[test]
fn a_private_key_of_tls_that_every_user_can_read_is_named_by_a_check() {
    let data = Data::new();
    let (cert, key) = certificate(data.folder());
    for (mode, found) in [(0o644, "WARN tls: "), (0o640, "ok   tls: "), (0o600, "ok   tls: ")] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut check = program();
        check.arg("check").arg("--data").arg(data.folder());
        check.env("VISAVIS_TLS_CERT_FILE", &cert).env("VISAVIS_TLS_KEY_FILE", &key);
        let said = check.ran().out;
        let line = said.lines().find(|line| line.contains(" tls: ")).unwrap();
        assert!(line.starts_with(found), "{mode:o}: {line}");
        let cure = format!("every user can read the key (mode 644): run chmod 600 {key}");
        assert_eq!(line.contains(&cure), mode == 0o644, "{line}");
    }
}

#[test]
fn a_server_with_a_certificate_is_called_over_tls_and_watched_on_another_address() {
    let data = Data::new();
    let (cert, key) = certificate(data.folder());
    let admin = free_address();
    let arguments = ["--tls-cert", &cert, "--tls-key", &key];
    let variables = [("VISAVIS_ADMIN_LISTEN", admin.to_string())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let server = Server::start_with(&data, &arguments, &variables);
    let keys = add(&data, "app", &["client", "add", "app"]);
    let url = server.url().replace("127.0.0.1", "localhost");
    assert!(url.starts_with("https://"), "{url}");
    let trusted = call(&url, &keys, &["test", "--ca", &cert]);
    assert_eq!(trusted.code, 0, "{}", trusted.err);
    let strange = call(&url, &keys, &["test"]);
    assert_eq!(strange.code, 2, "{}", strange.out);
    let arguments = ["call", "test", "--client", &keys, "--url", &url];
    let machine = program().args(arguments).env("SSL_CERT_FILE", &cert).ran();
    assert_eq!(machine.code, 0, "{}", machine.err);
    // A mirror, too, is trusted as the machine says. This one returns something else.
    let pull = || {
        let mut command = program();
        let models = data.folder().join("models");
        command.args(["models", "pull"]).env("VISAVIS_MODEL_DIR", models);
        command.env("VISAVIS_MODEL_MIRROR", &url);
        command
    };
    let strange = pull().ran();
    assert!(strange.code != 0 && strange.err.contains("UnknownIssuer"), "{}", strange.err);
    let known = pull().env("SSL_CERT_FILE", &cert).ran();
    assert!(
        known.code != 0 && known.err.contains("does not match the pinned digest"),
        "{}",
        known.err
    );

    // A body under another key, as often as it takes to be refused: both are counted.
    let mut swapped: Value =
        serde_json::from_str(&std::fs::read_to_string(&keys).unwrap()).unwrap();
    swapped["serverPublicKey"] = swapped["merchantPublicKey"].clone();
    let wrong = data.folder().join("wrong.json").display().to_string();
    std::fs::write(&wrong, swapped.to_string()).unwrap();
    for _ in 0..11 {
        let arguments = ["test", "--ca", cert.as_str(), "--mode", "encrypted"];
        assert_eq!(call(&url, &wrong, &arguments).code, 2);
    }
    let metrics = get(admin, "/metrics");
    let id = swapped["clientId"].as_str().unwrap();
    for line in [
        format!("visavis_decrypt_failures_total{{client=\"{id}\"}} 10"),
        format!("visavis_decrypt_refused_total{{client=\"{id}\"}} 1"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("version=0.0.4"), "{metrics}");
    assert!(get(admin, "/health/ready").ends_with("ready\n"));
    assert!(get(admin, "/api/v1/zoloz/authentication/test").starts_with("HTTP/1.1 404"));
    assert_eq!(server.terminate(), Some(0));
}

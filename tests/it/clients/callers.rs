//! Callers that work as public SDKs do where that differs from the examples: how they write and find
//! headers, what they verify, which AES key they use, and how their HTTP library sends. Each is
//! retyped and as small as possible; the readers of `readers.rs` have the ways of the others.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{
    World,
    middle::{Act, Middle},
    photo, works,
};
use crate::support::{Ran, Run as _, in_repository, left_out};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";
const DELETE: &str = "/api/v1/zoloz/privacyinfo/delete";
/// No endpoint.
const NOTHING: &str = "/api/v1/zoloz/nothing";

fn face(path: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    json!({ "content": STANDARD.encode(fs::read(path).unwrap()) })
}

fn pair(one: &str, other: &str) -> Value {
    let biz_id = uuid::Uuid::new_v4().to_string();
    json!({ "bizId": biz_id, "face1": face(one), "face2": face(other) })
}

impl World {
    fn body(&self, body: &Value) -> PathBuf {
        let file = self.data.folder().join(format!("{}.json", uuid::Uuid::new_v4()));
        fs::write(&file, body.to_string()).unwrap();
        file
    }
}

/// Calls every endpoint; `call` sends a body to a path and returns what the caller printed.
fn call_all(name: &str, call: impl Fn(&str, &Value) -> Ran) {
    let answer = |path: &str, body: &Value, code: &str| {
        let ran = call(path, body);
        assert_eq!(ran.code, 0, "{name} {path}: {}{}", ran.out, ran.err);
        let answer = ran.json();
        assert_eq!(answer["result"]["resultCode"], code, "{name} {path}: {answer}");
        answer
    };
    let (one, other, outsider) = (photo("obama-2012"), photo("obama-2009"), photo("collins"));
    let text = json!({ "title": "hello", "n": 1, "text": "é ß 1.50 \\ / %", "a": [1.5, null] });
    let echo = answer(TEST, &text, "SUCCESS");
    assert_eq!((&echo["title"], &echo["text"]), (&text["title"], &text["text"]), "{name}");
    let same = answer(COMPARE, &pair(&one, &other), "SUCCESS");
    assert_eq!(same["samePerson"], true, "{name}: {same}");
    let different = answer(COMPARE, &pair(&one, &outsider), "SUCCESS");
    assert_eq!(different["samePerson"], false, "{name}: {different}");
    let accepted = answer(ASYNC, &pair(&one, &other), "PROCESSING");
    let id = json!({ "transactionId": accepted["transactionId"] });
    loop {
        let found = call(CHECK, &id).json();
        match found["result"]["resultCode"].as_str().unwrap() {
            "PROCESSING" => std::thread::sleep(std::time::Duration::from_millis(50)),
            code => {
                assert_eq!((code, &found["samePerson"]), ("SUCCESS", &json!(true)), "{name}");
                break;
            }
        }
    }
    answer(DELETE, &id, "SUCCESS");
    answer(CHECK, &id, "INVALID_ARGUMENT");
    answer(COMPARE, &pair(&one, &in_repository("Cargo.toml")), "UNABLE_GET_IMAGE");
    answer(COMPARE, &json!({}), "INVALID_ARGUMENT");
}

/// Whether the program of a caller runs here; says so if not.
fn is_here(program: &str, arguments: &[&str]) -> bool {
    let mut probe = Command::new(program);
    probe.args(arguments);
    let is_here = works(probe);
    if !is_here {
        left_out(&format!("a caller: {program} {arguments:?} does not run here; install it"));
    }
    is_here
}

fn php(world: &World, url: &str, mode: &str, path: &str, body: &Value, more: &[&str]) -> Ran {
    let mut command = Command::new("php");
    command.arg(in_repository("tests/it/clients/callers/caller.php")).arg(url);
    command.arg(&world.client).args([mode, path]).arg(world.body(body)).args(more);
    command.ran()
}

/// A body of more than a megabyte: zeros after the end of a JPEG are no fault.
fn large(world: &World) -> Value {
    let mut bytes = fs::read(photo("obama-2012")).unwrap();
    bytes.resize(1_500_000, 0);
    let file = world.data.folder().join("large.jpg");
    fs::write(&file, bytes).unwrap();
    pair(&file.display().to_string(), &photo("obama-2009"))
}

#[test]
fn the_way_of_the_php_sample_works_and_above_a_megabyte_needs_http_2_or_no_expect() {
    if !is_here("php", &["-r", "exit(function_exists('curl_init') ? 0 : 1);"]) {
        return;
    }
    let world = World::start_with(&["--format", "pem"], &[]);
    let url = world.server.url();
    let large = large(&world);
    for mode in ["plain", "encrypted"] {
        call_all(mode, |path, body| php(&world, &url, mode, path, body, &[]));
        // The head of the interim response has no signature.
        let interim = php(&world, &url, mode, COMPARE, &large, &[]);
        assert_eq!((interim.code, interim.err.as_str()), (3, "verify result is not 1\n"), "{mode}");
        let without = php(&world, &url, mode, COMPARE, &large, &["Expect:"]);
        assert_eq!(without.json()["samePerson"], true, "{mode}: {}", without.err);
    }
    // A plain error is decrypted too.
    let error = php(&world, &url, "plain", NOTHING, &json!({}), &[]);
    assert_eq!(error.json()["result"]["resultCode"], "NO_INTERFACE_DEF");
    let error = php(&world, &url, "encrypted", NOTHING, &json!({}), &[]);
    assert_eq!((error.code, error.out.as_str()), (0, ""), "{}", error.err);

    let world = world.restarted(&[], &[("VISAVIS_HTTP_SEND_CONTINUE", "false")]);
    let uninterrupted = php(&world, &world.server.url(), "plain", COMPARE, &large, &[]);
    assert_eq!(uninterrupted.json()["samePerson"], true, "{}", uninterrupted.err);
    let (world, _) = world.with_tls();
    let over_http2 = php(&world, &world.server.url(), "plain", COMPARE, &large, &[]);
    assert_eq!(over_http2.json()["samePerson"], true, "{}", over_http2.err);
}

fn node(world: &World, url: &str, kind: &str, path: &str, body: &Value) -> Ran {
    let mut command = Command::new("node");
    command.arg(in_repository("tests/it/clients/callers/caller.mjs")).arg(url);
    command.arg(&world.client).args([kind, path]).arg(world.body(body)).ran()
}

#[test]
fn the_ways_of_the_clients_of_node_and_dart_work_and_one_of_them_needs_node_22() {
    if !is_here("node", &["--version"]) {
        return;
    }
    let world = World::start();
    let url = world.server.url();
    for kind in ["community-plain", "handout", "dart"] {
        call_all(kind, |path, body| node(&world, &url, kind, path, body));
    }
    let version = Command::new("node").args(["-p", "process.versions.node.split('.')[0]"]).ran();
    if version.out.trim().parse::<u32>().unwrap() >= 22 {
        let kind = "community-encrypted";
        call_all(kind, |path, body| node(&world, &url, kind, path, body));
    } else {
        let refused = node(&world, &url, "community-encrypted", TEST, &json!({}));
        assert_eq!(refused.code, 2, "{}", refused.out);
        assert!(
            refused.err.contains("no longer supported for private decryption"),
            "{}",
            refused.err
        );
    }
    // A plain error in encrypted mode.
    assert_eq!(node(&world, &url, "handout", NOTHING, &json!({})).code, 2);
    let error = node(&world, &url, "community-plain", NOTHING, &json!({})).json();
    assert_eq!(error["result"]["resultCode"], "NO_INTERFACE_DEF");
    // The one that waits for two seconds gives up a comparison that takes longer.
    let middle = Middle::to(world.server.address());
    let late = || Act::Late(std::time::Duration::from_millis(2_500));
    let photos = pair(&photo("obama-2012"), &photo("obama-2009"));
    for (kind, code) in [("handout", 2), ("community-plain", 0)] {
        middle.next([late()]);
        let ran = node(&world, middle.url(), kind, COMPARE, &photos);
        assert_eq!(ran.code, code, "{kind}: {}", ran.err);
    }
    for kind in ["community-plain", "handout"] {
        middle.next([Act::Change(|m| m.set("Response-Time", Some("2026-01-01T00:00:00+0000")))]);
        assert_eq!(node(&world, middle.url(), kind, TEST, &json!({})).code, 3, "{kind}");
    }
}

#[test]
fn the_way_of_the_java_sdk_works_in_every_mode() {
    if !is_here("javac", &["-version"]) {
        return;
    }
    let world = World::start();
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().display().to_string();
    let source = in_repository("tests/it/clients/callers/Caller.java");
    let built = Command::new("javac").args(["-d", &classes, &source]).ran();
    assert_eq!(built.code, 0, "{}", built.err);
    let call = |url: &str, mode: &str, path: &str, body: &Value| {
        let mut command = Command::new("java");
        // Otherwise it reads and prints what the locale of this machine has.
        command.env("LC_ALL", "C.UTF-8");
        command.args(["-cp", &classes, "Caller", url]);
        command.args(
            ["clientId", "merchantPrivateKey", "serverPublicKey", "accessKey", "secretKey"]
                .map(|m| world.key(m)),
        );
        command.args([mode, path]).arg(world.body(body)).ran()
    };
    let middle = Middle::to(world.server.address());
    for mode in ["plain", "128", "192", "256", "aksk"] {
        let url = world.server.url();
        call_all(mode, |path, body| call(&url, mode, path, body));
        let error = call(&url, mode, NOTHING, &json!({}));
        if mode == "aksk" {
            assert_eq!((error.code, error.out.as_str()), (3, ""), "it cannot be verified");
        } else {
            assert_eq!(error.json()["result"]["resultCode"], "NO_INTERFACE_DEF", "{mode}");
        }
        middle.next([Act::Change(|m| m.set("Response-Time", Some("2026-01-01T00:00:00+0000")))]);
        assert_eq!(call(middle.url(), mode, TEST, &json!({})).code, 3, "{mode}");
        // A proxy that writes names in lower case.
        middle.next([Act::Change(|m| m.head = m.head.to_lowercase())]);
        assert_eq!(call(middle.url(), mode, TEST, &json!({})).code, 2, "{mode}");
    }
}

//! The commands with which a newcomer finds out what is wrong with a signature: `sign`, and
//! `call --explain` and `--curl`.

use std::{fs, process::Command};

use rsa::sha2::{Digest as _, Sha256};

use crate::{
    crash::server::{Data, Server},
    support::{Ran, Run as _, in_repository, visavis, visavis_reading},
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const TIME: &str = "2026-01-31T12:00:00+0000";
const BODY: &str = "{\"title\": \"it's\"}\n";

/// A folder with the keys of a client in it.
fn client(data: &Data) -> String {
    let keys = data.folder().join("app.json").display().to_string();
    let folder = data.folder().display().to_string();
    assert_eq!(visavis(&["client", "add", "app", "--out", &keys, "--data", &folder]).code, 0);
    keys
}

fn sign(keys: &str, further: &[&str]) -> Ran {
    let usual = ["sign", "--client", keys, "--path", TEST, "--time", TIME];
    visavis_reading(&[&usual, further].concat(), BODY)
}

fn member(keys: &str, name: &str) -> String {
    let keys: serde_json::Value = serde_json::from_str(&fs::read_to_string(keys).unwrap()).unwrap();
    keys[name].as_str().unwrap().to_owned()
}

#[test]
fn the_text_to_be_signed_is_printed_byte_for_byte_and_with_its_digest() {
    let data = Data::new();
    let keys = client(&data);
    let id = member(&keys, "clientId");
    let expected = format!("POST {TEST}\n{id}.{TIME}.{BODY}");
    let text = sign(&keys, &["--text"]);
    assert_eq!((text.code, text.out.as_str()), (0, expected.as_str()), "{}", text.err);
    let whole = sign(&keys, &[]);
    let digest = hex::encode(Sha256::digest(expected.as_bytes()));
    assert!(
        whole.out.starts_with(&format!("text to sign: {} bytes, SHA-256 {digest}", expected.len())),
        "{}",
        whole.out
    );
    for header in [format!("Client-Id: {id}"), format!("Request-Time: {TIME}")] {
        assert!(whole.out.lines().any(|line| line == header), "{header}: {}", whole.out);
    }
    assert_eq!(whole.out, sign(&keys, &[]).out, "the same each time");
    let file = data.folder().join("body.json");
    fs::write(&file, BODY).unwrap();
    assert_eq!(sign(&keys, &["--text", file.to_str().unwrap()]).out, expected, "from a file");
}

#[test]
fn the_headers_are_those_with_which_the_server_accepts_the_body() {
    let data = Data::new();
    let keys = client(&data);
    let server = Server::start(&data);
    for mode in ["plain", "aksk"] {
        let url = format!("{}{TEST}", server.url());
        let signed =
            visavis_reading(&["sign", "--client", &keys, "--path", TEST, "--mode", mode], BODY);
        let mut curl = Command::new("curl");
        curl.args(["--silent", &url, "--data-binary", BODY]);
        let headers = signed.out.lines().skip_while(|line| !line.starts_with("Client-Id: "));
        for header in headers {
            curl.args(["--header", header]);
        }
        let answer = curl.ran();
        assert_eq!(answer.json()["result"]["resultCode"], "SUCCESS", "{mode}: {}", answer.out);
    }
}

#[test]
fn what_sign_cannot_use_is_said() {
    let data = Data::new();
    let keys = client(&data);
    for (arguments, named) in [
        (["--path", "https://example.com/api"], "--path https://example.com/api is not a path"),
        (["--time", "yesterday"], "--time yesterday is not a time"),
    ] {
        let usual = ["sign", "--client", &keys];
        let path = if arguments[0] == "--path" { &[][..] } else { &["--path", TEST] };
        let ran = visavis_reading(&[&usual[..], path, &arguments].concat(), BODY);
        assert_eq!(ran.code, 2, "{}", ran.out);
        assert!(ran.err.contains(named), "{}", ran.err);
    }
}

#[test]
fn a_call_that_is_explained_shows_both_texts_that_are_signed() {
    let data = Data::new();
    let keys = client(&data);
    let server = Server::start(&data);
    let id = member(&keys, "clientId");
    let (url, sample) = (server.url(), in_repository("samples/obama-2012.jpg"));
    for mode in ["plain", "encrypted", "aksk"] {
        let usual = ["--client", &keys, "--url", &url, "--mode", mode, "--explain"];
        let called = visavis(&[&["call", "test"][..], &usual].concat());
        assert_eq!(called.code, 0, "{mode}: {}{}", called.out, called.err);
        let texts: Vec<_> = called.out.matches(&format!("POST {TEST}\n{id}.")).collect();
        assert_eq!(texts.len(), 2, "{mode}: {}", called.out);
        assert_eq!(called.out.matches("bytes, SHA-256 ").count(), 2, "{mode}: {}", called.out);
        let photos = visavis(&[&["call", "compare", &sample, &sample][..], &usual].concat());
        assert!(photos.out.len() < 8_000, "{mode}: photos are shortened: {}", photos.out.len());
    }
}

#[test]
fn the_command_for_curl_sends_the_same_request() {
    let data = Data::new();
    let keys = client(&data);
    let server = Server::start(&data);
    let (url, sample) = (server.url(), in_repository("samples/obama-2012.jpg"));
    let quoted = r#"{"title":"it's $HOME, `id` and \\n"}"#;
    for arguments in [
        &["test", quoted][..],
        &["test", quoted, "--mode", "encrypted"],
        &["test", quoted, "--mode", "aksk"],
        &["compare", &sample, &sample],
    ] {
        let usual = ["--client", &keys, "--url", &url, "--curl"];
        let printed = visavis(&[&["call"], arguments, &usual].concat());
        assert_eq!(printed.code, 0, "{arguments:?}: {}", printed.err);
        let script = data.folder().join("request.sh");
        fs::write(&script, &printed.out).unwrap();
        let answer = Command::new("sh").arg(&script).ran();
        let is_encrypted = arguments.contains(&"encrypted");
        let accepted = if is_encrypted { "\r\nEncrypt: " } else { "\"resultStatus\":\"S\"" };
        assert!(answer.out.contains(accepted), "{arguments:?}: {}{}", answer.out, answer.err);
        if arguments == ["test", quoted] {
            assert!(answer.out.contains("`id`"), "nothing of it is expanded: {}", answer.out);
        }
    }
}

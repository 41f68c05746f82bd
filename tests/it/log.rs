//! What the log may not hold: a request can be followed by its transaction id, and nothing in the
//! log says who is on the photos or lets anyone sign.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _};
use visavis::telemetry::{Format, layer};

use crate::crash::server::{Data, Server};
use crate::support::{CLIENT, Picture, TestApp, break_jobs, merchant, server_key, signature_over};

/// A log that is kept in memory.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn face(picture: Picture) -> (String, String) {
    let mut bytes = picture.bytes();
    // Long enough not to be in the log by chance.
    bytes.extend_from_slice(b"pixels of somebody whom nobody needs to know");
    (STANDARD.encode(&bytes), String::from_utf8_lossy(&bytes[6..]).into_owned())
}

/// Keeps the log of this thread, all of it, until what comes with it is dropped.
pub fn hear() -> (Kept, (DefaultGuard, Dispatch)) {
    let kept = Kept::default();
    let writer = kept.clone();
    let layer = layer(Format::Logfmt, false, move || writer.clone());
    let log = tracing_subscriber::registry().with(layer.with_filter(EnvFilter::new("trace")));
    let log = tracing::subscriber::set_default(log);
    // While there is one subscriber, a line that another test reaches first is judged by that
    // test's thread, which has none, and is then off for everyone; with two, all subscribers are
    // asked.
    let second = Dispatch::new(tracing_subscriber::registry());
    (kept, (log, second))
}

// On one thread, so that the thread's own log receives everything but the compute threads, which have
// nothing to say.
#[tokio::test]
async fn nothing_that_is_personal_or_secret_is_in_the_log() {
    let (kept, _hearing) = hear();
    let app = TestApp::new().await;
    let mut secrets = vec!["biz-of-jane-doe".to_owned(), "user-jane-doe".to_owned()];
    let pictures = [
        Picture::Person(1),
        Picture::Person(2),
        Picture::Nothing,
        Picture::Broken,
        Picture::Blurred(1),
    ];
    for picture in pictures {
        let (content, pixels) = face(picture);
        let (other, _) = face(Picture::Person(1));
        let body = json!({ "bizId": "biz-of-jane-doe", "userId": "user-jane-doe",
            "face1": { "content": content }, "face2": { "content": other } });
        app.clock.advance(1_000);
        app.post("facecompare/compare", &body).await;
        let accepted = app.post("facecompare/asynccompare", &body).await;
        for _ in 0..3 {
            app.runner.run_until_idle().await;
            app.clock.advance(60_000);
        }
        app.check(&accepted.transaction_id()).await;
        assert!(
            kept.text().contains(&accepted.transaction_id()),
            "a job can be followed by its id"
        );
        secrets.extend([content, pixels]);
    }
    // The ways out through an error.
    let bad = json!({ "bizId": "biz-of-jane-doe", "userId": "user-jane-doe", "face1": 1 });
    let path = "/api/v1/zoloz/facecompare/compare";
    app.post("facecompare/compare", &bad).await;
    app.send(app.signed(path, r#"{"bizId":"biz-of-jane-doe""#)).await;
    let mut forged = app.signed(path, &bad.to_string());
    forged.headers_mut().insert("signature", "algorithm=RSA256, signature=AAAA".parse().unwrap());
    app.send(forged).await;
    app.post("authentication/test", &json!({ "title": "user-jane-doe" })).await;
    app.send(app.signed("/api/v1/zoloz/unknown", &bad.to_string())).await;

    let text = kept.text();
    assert!(text.contains(&format!(" path={path} ")), "the log is heard: {text}");
    assert!(text.contains(CLIENT) && text.contains("SIGNATURE_INVALID"), "{text}");

    let key = |der: &[u8]| STANDARD.encode(der);
    // The beginning of a key is the same in all of them; its middle is its own.
    for der in [merchant().pkcs8_der(), server_key().pkcs8_der()] {
        let base64 = key(der);
        secrets.push(base64[400..440].to_owned());
        secrets.push(base64[800..840].to_owned());
        secrets.push(format!("{:?}", &der[400..420]));
    }
    secrets.push(key(&[7; 32]));
    secrets.push("[7, 7, 7, 7".to_owned());
    secrets.push(signature_over(CLIENT, path, &bad.to_string(), &app.now())[40..100].to_owned());
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the log:\n{text}");
    }
}

/// Sends a server so many requests that no one signed; each is a line of its log.
fn answers(server: &Server, requests: usize) {
    for _ in 0..requests {
        let answer = server.get("/nothing");
        assert!(answer.contains("NO_INTERFACE_DEF"), "{answer}");
    }
}

const NO_LIMIT: [(&str, &str); 1] = [("VISAVIS_HTTP_SIGNATURE_FAILURES_PER_MINUTE", "0")];

#[test]
fn a_log_whose_reader_is_gone_costs_lines_and_no_request() {
    let data = Data::new();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let server = Server::start_logging(&data, writer, &NO_LIMIT);
    answers(&server, 20);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_log_on_a_full_disk_costs_lines_and_no_request() {
    let data = Data::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let server = Server::start_logging(&data, full, &NO_LIMIT);
    answers(&server, 20);
    assert_eq!(server.terminate(), Some(0));
}

/// A pipe holds 64 kB, a few hundred lines.
#[test]
fn a_log_that_nobody_reads_costs_lines_and_no_request() {
    let data = Data::new();
    let (reader, writer) = io::pipe().unwrap();
    let server = Server::start_logging(&data, writer, &NO_LIMIT);
    answers(&server, 1_000);
    assert_eq!(server.terminate(), Some(0), "nor does it hold up the end");
    drop(reader);
}

/// The fields of a line of logfmt.
pub fn fields(line: &str) -> BTreeMap<String, String> {
    let (mut fields, mut rest) = (BTreeMap::new(), line);
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').unwrap_or_else(|| panic!("no logfmt: {line}"));
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.match_indices('"').find(|(at, _)| !quoted[..*at].ends_with('\\'));
                let (end, _) = end.unwrap_or_else(|| panic!("not closed: {line}"));
                (&quoted[..end], &quoted[end + 1..])
            }
            None => value.split_at(value.find(' ').unwrap_or(value.len())),
        };
        assert!(!key.contains(' '), "no logfmt: {line}");
        fields.insert(key.to_owned(), value.to_owned());
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    fields
}

/// The lines of a log with this message, as fields.
pub fn lines(log: &str, message: &str) -> Vec<BTreeMap<String, String>> {
    let all = log.lines().map(fields);
    all.filter(|fields| fields.get("message").is_some_and(|text| text == message)).collect()
}

#[tokio::test]
async fn a_refused_request_is_logged_with_its_reason_and_its_sender() {
    let (kept, _hearing) = hear();
    let app = TestApp::new().await;
    let path = "/api/v1/zoloz/facecompare/compare";
    let pair = |one: Picture, other: Picture| {
        let content = |picture: Picture| json!({ "content": STANDARD.encode(picture.bytes()) });
        json!({ "bizId": "b", "face1": content(one), "face2": content(other) })
    };
    app.post("facecompare/compare", &pair(Picture::Person(1), Picture::Nothing)).await;
    app.post("facecompare/compare", &json!({ "bizId": "b", "face1": 1 })).await;
    app.send(app.signed(path, "[1]")).await;
    let mut forged = app.signed(path, "{}");
    forged.headers_mut().insert("signature", "algorithm=RSA256, signature=AAAA".parse().unwrap());
    app.send(forged).await;
    let mut headless = app.signed(path, "{}");
    headless.headers_mut().remove("request-time");
    app.send(headless).await;
    let mut unknown = app.signed(path, "{}");
    unknown.headers_mut().insert("client-id", "9999000000000009".parse().unwrap());
    app.send_raw(unknown).await;

    let requests = lines(&kept.text(), "request");
    let reasons: Vec<_> = requests.iter().map(|line| line["reason"].as_str()).collect();
    let expected = [
        "NO_FACE face2.content",
        "invalid face1",
        "not_json",
        "bad_signature length",
        "missing Request-Time",
        "unknown_client",
    ];
    assert_eq!(reasons, expected);
    let (known, unknown) = requests.split_at(5);
    for line in known {
        let sender = (line["client"].as_str(), line["client_name"].as_str());
        assert_eq!(sender, (CLIENT, "app"), "{line:?}");
        assert!(line["trace"].starts_with("00-") && line.contains_key("code"), "{line:?}");
    }
    assert_eq!(unknown[0]["client"], "unknown");
    assert_eq!(unknown[0]["asked_client"], "9999000000000009");
}

/// The fields of a request are in every line, whatever level was chosen.
#[tokio::test]
async fn an_error_has_the_fields_of_its_request_at_every_level_and_in_both_forms() {
    for format in [Format::Logfmt, Format::Json] {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = layer(format, false, move || writer.clone()).with_filter(EnvFilter::new("error"));
        let log = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
        let _second = Dispatch::new(tracing_subscriber::registry());
        let app = TestApp::new().await;
        break_jobs(&app).await;
        let content = json!({ "content": STANDARD.encode(Picture::Person(1).bytes()) });
        let body = json!({ "bizId": "b", "face1": content, "face2": content });
        assert_eq!(app.post("facecompare/asynccompare", &body).await.code(), "SYSTEM_ERROR");
        drop(log);
        let text = kept.text();
        let line: BTreeMap<String, String> = match format {
            Format::Logfmt => fields(text.lines().next().unwrap()),
            Format::Json => {
                let line: BTreeMap<String, serde_json::Value> =
                    serde_json::from_str(text.lines().next().unwrap()).unwrap();
                let text = |value: serde_json::Value| {
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                };
                line.into_iter().map(|(key, value)| (key, text(value))).collect()
            }
        };
        assert_eq!(line["level"].to_lowercase(), "error", "{line:?}");
        assert_eq!((line["client"].as_str(), line["client_name"].as_str()), (CLIENT, "app"));
        assert!(line["trace"].starts_with("00-"), "{line:?}");
    }
}

//! The packages of `clients/`: every endpoint in every mode, and everything that can go wrong
//! between a client and the server.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use visavis::db::SqliteDb;
use visavis_signing::{ServerKey, bare_base64};

use super::{
    World,
    middle::{Act, Change, Message, Middle},
    package::Package,
    photo, python, works,
};
use crate::support::{Run as _, in_repository, left_out};

const MODES: [&str; 3] = ["plain", "encrypted", "aksk"];

/// The value of a call that succeeded.
fn value(outcome: &Value) -> &Value {
    outcome.get("value").unwrap_or_else(|| panic!("{outcome}"))
}

fn same() -> Value {
    json!(["compare", photo("obama-2012"), photo("obama-2009")])
}

/// The time between two requests.
fn pause(requests: &[(Instant, Message)], n: usize) -> Duration {
    requests[n + 1].0 - requests[n].0
}

#[test]
fn every_endpoint_works_in_every_mode_with_both_packages() {
    let world = World::start();
    for package in Package::all() {
        for options in [
            json!({ "mode": "plain" }),
            json!({ "mode": "aksk" }),
            json!({ "mode": "encrypted" }),
            json!({ "mode": "encrypted", "aes_bits": 128 }),
            json!({ "mode": "encrypted", "aes_bits": 192 }),
        ] {
            let (one, other) = (photo("obama-2012"), photo("collins"));
            let more = json!({ "bizId": "a-1", "userId": "u", "sourceOfFace2": "ID_CARD",
                "rect1": "1,2,3,4" });
            let outcomes = package.calls(
                &world.server.url(),
                &world.client,
                options.clone(),
                json!([
                    ["test", { "text": "é \"quoted\"", "n": 1 }],
                    same(),
                    ["compare", one, other, more],
                    ["submit", one, other],
                    ["wait", "$"],
                    ["check", "$"],
                    ["delete", "$"],
                    ["delete", "$"],
                    ["check", "$"],
                    ["delete", "x".repeat(65)],
                ]),
            );
            let at = format!("{} {options}", package.language);
            assert_eq!(outcomes.len(), 10, "{at}: {outcomes:?}");
            assert_eq!(value(&outcomes[0]), &json!({ "text": "é \"quoted\"", "n": 1 }), "{at}");
            let verdict = value(&outcomes[1]);
            assert_eq!(verdict["samePerson"], true, "{at}: {verdict}");
            assert!(verdict["score"].as_f64().unwrap() > 80.0, "{at}: {verdict}");
            assert_eq!(verdict["threshold"], 80, "{at}");
            assert_eq!(verdict["face1"]["passed"], true, "{at}: {verdict}");
            assert_eq!(verdict["face1"]["faces"], 1, "{at}: {verdict}");
            assert_eq!(verdict["face1"]["box"], verdict["members"]["face1Box"], "{at}");
            assert!(verdict["face2"]["reasons"].is_array() && verdict["model"].is_string(), "{at}");
            let members = verdict["members"].as_object().unwrap();
            assert_eq!(members["result"]["resultCode"], "SUCCESS", "{at}");
            assert_eq!(members["transactionId"], verdict["transactionId"], "{at}");
            assert_eq!(value(&outcomes[2])["samePerson"], false, "{at}");
            let id = value(&outcomes[3]);
            assert_eq!(id.as_str().unwrap().len(), 39, "{at}");
            for outcome in &outcomes[4..6] {
                assert_eq!(value(outcome)["transactionId"], *id, "{at}");
                assert_eq!(value(outcome)["samePerson"], false, "{at}");
            }
            assert!(value(&outcomes[6]).is_null() && value(&outcomes[7]).is_null(), "{at}");
            assert_eq!(outcomes[8]["code"], "INVALID_ARGUMENT", "{at}: it is gone");
            assert_eq!(outcomes[9]["code"], "PARAM_ILLEGAL", "{at}");
        }
    }
}

#[test]
fn a_refusal_is_an_error_with_its_code_and_is_not_sent_again() {
    let world = World::start();
    let middle = Middle::to(world.server.address());
    let no_photo = in_repository("Cargo.toml");
    for package in Package::all() {
        for mode in MODES {
            let steps = json!([
                ["compare", photo("obama-2012"), no_photo],
                ["check", "G000000000FID20260101000000000000000000"],
                ["compare", photo("obama-2012"), photo("collins"), { "bizId": "x".repeat(65) }],
            ]);
            let outcomes =
                package.calls(middle.url(), &world.client, json!({ "mode": mode }), steps);
            let codes: Vec<_> = outcomes.iter().map(|o| o["code"].as_str().unwrap()).collect();
            let at = format!("{} {mode}", package.language);
            assert_eq!(codes, ["UNABLE_GET_IMAGE", "INVALID_ARGUMENT", "INVALID_ARGUMENT"], "{at}");
            for outcome in &outcomes {
                assert_eq!(
                    (&outcome["error"], &outcome["status"]),
                    (&json!("RefusedError"), &json!("F"))
                );
                let (message, reason) = (&outcome["message"], outcome["reason"].as_str().unwrap());
                assert!(message.as_str().unwrap().ends_with(&format!(": {reason}")), "{outcome}");
            }
            assert!(outcomes[2]["reason"].as_str().unwrap().contains("bizId"), "{at}");
            assert_eq!(middle.requests().len(), 3, "{at}");
        }
    }
}

#[test]
fn a_response_that_was_changed_on_the_way_is_not_used() {
    let world = World::start();
    let middle = Middle::to(world.server.address());
    let changes: [(&str, Change); 6] = [
        ("body", |m| *m.body.last_mut().unwrap() = b' '),
        ("signature", |m| {
            let value = m.header("signature").unwrap().to_owned();
            let (last, rest) = (value.chars().nth(40).unwrap(), value);
            let other = if last == 'A' { "B" } else { "A" };
            m.set("Signature", Some(&format!("{}{other}{}", &rest[..40], &rest[41..])));
        }),
        ("no signature", |m| m.set("Signature", None)),
        ("empty signature", |m| m.set("Signature", Some(""))),
        ("time", |m| m.set("Response-Time", Some("2026-01-01T00:00:00+0000"))),
        ("no time", |m| m.set("Response-Time", None)),
    ];
    for package in Package::all() {
        for mode in MODES {
            for endpoint in [json!(["test", { "a": 1 }]), same()] {
                // One run for all: the client of one run makes all calls.
                middle.next(changes.map(|(_, change)| Act::Change(change)));
                let steps = vec![endpoint.clone(); changes.len()];
                let options = json!({ "mode": mode });
                let outcomes = package.calls(middle.url(), &world.client, options, json!(steps));
                for ((name, _), outcome) in changes.iter().zip(&outcomes) {
                    let at = format!("{} {mode} {endpoint} {name}", package.language);
                    assert_eq!(outcome["error"], "UnverifiedError", "{at}: {outcome}");
                    let message = outcome["message"].as_str().unwrap();
                    assert!(message.contains("look for a proxy"), "{at}: {message}");
                }
                assert_eq!(middle.requests().len(), changes.len(), "sent once each");
            }
        }
    }
}

#[test]
fn a_response_of_another_server_client_or_time_is_not_used() {
    let world = World::start();
    let middle = Middle::to(world.server.address());
    let mut other = world.keys.clone();
    other["serverPublicKey"] = other["merchantPublicKey"].clone();
    let impostor = world.data.folder().join("impostor.json");
    fs::write(&impostor, other.to_string()).unwrap();
    other = world.keys.clone();
    other["clientId"] = json!("2188999999999999");
    let unknown = world.data.folder().join("unknown.json");
    fs::write(&unknown, other.to_string()).unwrap();
    for package in Package::all() {
        let call = |file: &PathBuf, options: Value, step: Value| {
            package.calls(middle.url(), file, options, json!([step])).remove(0)
        };
        let unverified = |outcome: Value, words: &str| {
            assert_eq!(outcome["error"], "UnverifiedError", "{}: {outcome}", package.language);
            assert!(outcome["message"].as_str().unwrap().contains(words), "{outcome}");
        };
        let invalid = "the signature of the response is not valid";
        unverified(call(&impostor, json!({}), same()), invalid);
        unverified(call(&unknown, json!({}), same()), invalid);

        // A response is signed for its endpoint.
        call(&world.client, json!({}), same());
        let verdict = middle.last_response();
        middle.next([Act::Instead(verdict.clone())]);
        unverified(call(&world.client, json!({}), json!(["check", "G1"])), invalid);
        // A verdict in clear may be that of another request.
        middle.next([Act::Instead(verdict.clone())]);
        let encrypted = json!({ "mode": "encrypted" });
        unverified(call(&world.client, encrypted, same()), "to an encrypted request is plain");
        // Of other transactions no outcome is taken.
        let steps = json!([["submit", photo("obama-2012"), photo("obama-2009")], ["wait", "$"]]);
        package.calls(middle.url(), &world.client, json!({}), steps);
        middle.next([Act::Instead(middle.last_response())]);
        let asked = call(&world.client, json!({}), json!(["check", "G1"]));
        assert_eq!(asked["error"], "ResponseError", "{}: {asked}", package.language);
        // Responses that come too late are old.
        middle.next([Act::Late(Duration::from_millis(2_500))]);
        unverified(call(&world.client, json!({ "freshness": 1 }), same()), "set the clocks");
        middle.next([Act::Late(Duration::from_millis(2_500))]);
        let unchecked = call(&world.client, json!({ "freshness": 0 }), same());
        assert_eq!(value(&unchecked)["samePerson"], true);
        // With a shared key, a request is signed as a response is.
        middle.next([Act::Reflect]);
        let own = json!({ "result": { "resultCode": "SUCCESS", "resultStatus": "S",
            "resultMessage": "" } });
        unverified(call(&world.client, json!({ "mode": "aksk" }), json!(["test", own])), invalid);
        middle.requests();
    }
}

#[tokio::test]
async fn what_gets_no_response_is_sent_again_as_it_was_and_is_one_transaction() {
    let world = World::start();
    let middle = Middle::to(world.server.address());
    let page = Message { head: "HTTP/1.1 502 Bad Gateway".to_owned(), body: b"<html>".to_vec() };
    let elsewhere = Message {
        head: format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}", world.server.url()),
        body: Vec::new(),
    };
    let mut submitted = 0;
    for package in Package::all() {
        for (mode, acts) in [
            ("plain", vec![Act::LoseRequest, Act::LoseResponse, Act::Cut]),
            ("encrypted", vec![Act::LoseResponse, Act::Instead(page.clone())]),
            ("aksk", vec![Act::LoseResponse, Act::Instead(elsewhere.clone())]),
        ] {
            let count = acts.len() + 1;
            middle.next(acts);
            let steps = json!([["submit", photo("obama-2012"), photo("obama-2009")]]);
            let outcomes =
                package.calls(middle.url(), &world.client, json!({ "mode": mode }), steps);
            let at = format!("{} {mode}", package.language);
            assert!(value(&outcomes[0]).is_string(), "{at}");
            let requests = middle.requests();
            assert_eq!(requests.len(), count, "{at}");
            assert!(requests.iter().all(|(_, request)| *request == requests[0].1), "{at}");
            for n in 0..count - 1 {
                let least = Duration::from_millis(490 << n);
                assert!(pause(&requests, n) >= least, "{at}: {n}");
            }
            submitted += 1;
        }
        let silent = json!({ "timeout": 3 });
        middle.next([Act::Silence]);
        let outcomes = package.calls(middle.url(), &world.client, silent, json!([["test"]]));
        assert!(value(&outcomes[0]).is_object(), "{}", package.language);
        assert_eq!(middle.requests().len(), 2);
        // A server that never responds is given up.
        for (options, count) in [(json!({ "retries": 2 }), 3..=3), (json!({ "limit": 2.5 }), 2..=3)]
        {
            middle.next(vec![Act::LoseRequest; 9]);
            let outcomes = package.calls(middle.url(), &world.client, options, json!([["test"]]));
            assert_eq!(outcomes[0]["error"], "TransportError", "{}", outcomes[0]);
            let sent = middle.requests().len();
            assert!(count.contains(&sent), "{} sent {sent}", package.language);
        }
    }
    let copy = world.data.copy();
    let db = SqliteDb::open(&copy.database()).await.unwrap();
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM job");
    assert_eq!(count.fetch_one(&db.readers).await.unwrap(), submitted, "one each");
    db.close().await;
}

#[test]
fn a_signature_that_would_be_too_old_is_made_again() {
    let world = World::start();
    let middle = Middle::to(world.server.address());
    for package in Package::all() {
        middle.next(vec![Act::LoseRequest; 3]);
        let options = json!({ "freshness": 3.75, "mode": "encrypted" });
        let outcomes = package.calls(middle.url(), &world.client, options, json!([same()]));
        assert_eq!(value(&outcomes[0])["samePerson"], true, "{}", package.language);
        let requests = middle.requests();
        let times: Vec<_> = requests.iter().map(|(_, r)| r.header("request-time")).collect();
        assert!(times[0] == times[1] && times[1] == times[2] && times[2] < times[3], "{times:?}");
        assert_eq!(requests[0].1, requests[2].1, "{}", package.language);
        assert_ne!(requests[0].1.header("encrypt"), requests[3].1.header("encrypt"));
    }
}

#[test]
fn a_client_over_its_limit_waits_as_long_as_the_server_says() {
    let world = World::start_with(&["--rate", "1", "--burst", "1"], &[]);
    let middle = Middle::to(world.server.address());
    for package in Package::all() {
        for mode in MODES {
            let steps = json!([["test", { "n": 1 }], ["test", { "n": 2 }], ["test", { "n": 3 }]]);
            let outcomes =
                package.calls(middle.url(), &world.client, json!({ "mode": mode }), steps);
            assert!(outcomes.iter().all(|o| value(o).is_object()), "{outcomes:?}");
            let requests = middle.requests();
            assert!(requests.len() > 3, "{} {mode}: refused at least once", package.language);
            for (n, pair) in requests.windows(2).enumerate() {
                let again = pair[0].1 == pair[1].1;
                assert!(!again || pause(&requests, n) >= Duration::from_millis(990), "Retry-After");
            }
        }
        // Without time for that it is the caller's.
        let options = json!({ "limit": 0.9 });
        let steps = json!([["test"], ["test"], ["test"], ["test"], ["test"]]);
        let outcomes = package.calls(middle.url(), &world.client, options, steps);
        let refused = outcomes.iter().find(|outcome| outcome["error"] == "RefusedError");
        let refused = refused.unwrap_or_else(|| panic!("{outcomes:?}"));
        assert_eq!(refused["code"], "REQUEST_TRAFFIC_EXCEED_LIMIT");
        assert_eq!(refused["retryAfter"].as_f64(), Some(1.0));
        assert_eq!(refused["transactionId"], Value::Null);
        middle.requests();
    }
}

/// A server of the test's own: its key, and the file of its client.
struct Stub {
    key: Arc<ServerKey>,
    client: PathBuf,
    middle: Middle,
    _folder: TempDir,
}

impl Stub {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (own, key) = (ServerKey::generate().unwrap(), ServerKey::generate().unwrap());
        let client = folder.path().join("stub.json");
        let keys = json!({
            "clientId": "2188000000000001",
            "merchantPrivateKey": bare_base64(own.pkcs8_der()),
            "serverPublicKey": bare_base64(&key.spki_der().unwrap()),
        });
        fs::write(&client, keys.to_string()).unwrap();
        Self { key: Arc::new(key), client, middle: Middle::to("127.0.0.1:1"), _folder: folder }
    }

    fn respond(&self, bodies: impl IntoIterator<Item = Value>) {
        self.middle.next(bodies.into_iter().map(|body| Act::Respond(self.key.clone(), body)));
    }

    fn calls(&self, package: &Package, options: Value, steps: Value) -> Vec<Value> {
        package.calls(self.middle.url(), &self.client, options, steps)
    }
}

fn result(code: &str, status: &str) -> Value {
    json!({ "resultCode": code, "resultStatus": status, "resultMessage": "message" })
}

fn processing() -> Value {
    json!({ "result": result("PROCESSING", "S"), "transactionId": "G1" })
}

#[test]
fn polls_come_every_second_and_later_every_five_until_the_time_limit() {
    let stub = Stub::new();
    let done = json!({ "result": result("SUCCESS", "S"), "transactionId": "G1", "score": 1,
        "samePerson": false, "face1ImageQualityResult": "FAIL", "later": { "a": [1] } });
    for package in Package::all() {
        stub.respond(vec![processing(); 9]);
        let begun = Instant::now();
        let outcomes = stub.calls(&package, json!({}), json!([["wait", "G1", 3.5]]));
        assert_eq!(outcomes[0]["error"], "NotFinishedError", "{}", outcomes[0]);
        assert!(outcomes[0]["message"].as_str().unwrap().contains("G1"), "{}", outcomes[0]);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        // A busy machine polls less.
        assert!((1..=3).contains(&stub.middle.requests().len()));

        // `compare` of a front end without workers goes on so.
        stub.respond([vec![processing(); 11], vec![done.clone()]].concat());
        let outcomes = stub.calls(&package, json!({}), json!([same()]));
        let verdict = value(&outcomes[0]);
        assert_eq!(verdict["samePerson"], false);
        assert_eq!(verdict["score"].as_f64(), Some(1.0));
        let quality =
            json!({ "passed": false, "reasons": [], "score": null, "faces": null, "box": null });
        assert_eq!((&verdict["face1"], &verdict["face2"]), (&quality, &Value::Null));
        assert_eq!(verdict["members"], done, "unknown members are kept");
        let requests = stub.middle.requests();
        assert_eq!(requests.len(), 12);
        for n in 0..11 {
            let (least, pause) = (if n < 10 { 980 } else { 4_980 }, pause(&requests, n));
            let range = Duration::from_millis(least)..Duration::from_millis(least + 3_900);
            assert!(range.contains(&pause), "{}: poll {n} after {pause:?}", package.language);
        }
    }
}

#[test]
fn errors_of_the_server_are_tried_again_unless_the_transaction_has_failed() {
    let stub = Stub::new();
    let done = json!({ "result": result("SUCCESS", "S") });
    let unknown = json!({ "result": result("SYSTEM_ERROR", "U") });
    let timeout = json!({ "result": result("PROCESS_TIMEOUT", "F") });
    let failed = json!({ "result": result("SYSTEM_ERROR", "F"), "transactionId": "G1" });
    for package in Package::all() {
        stub.respond([unknown.clone(), timeout.clone(), done.clone()]);
        let outcomes = stub.calls(&package, json!({}), json!([["delete", "G1"]]));
        assert_eq!(value(&outcomes[0]), &Value::Null);
        let requests = stub.middle.requests();
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|(_, request)| *request == requests[0].1));
        let head = &requests[0].1.head;
        assert!(head.starts_with("POST /api/v1/zoloz/privacyinfo/delete HTTP/1.1\r\n"), "{head}");
        let body: Value = serde_json::from_slice(&requests[0].1.body).unwrap();
        assert_eq!(body, json!({ "transactionId": "G1" }));

        stub.respond([failed.clone()]);
        let outcomes = stub.calls(&package, json!({}), json!([["wait", "G1"]]));
        let found = &outcomes[0];
        assert_eq!(
            (&found["code"], &found["transactionId"]),
            (&json!("SYSTEM_ERROR"), &json!("G1"))
        );
        assert_eq!(stub.middle.requests().len(), 1);

        // What is signed and no result.
        for body in
            [json!([1]), json!({ "result": {} }), json!({ "result": result("SUCCESS", "S") })]
        {
            stub.respond([body]);
            let outcomes = stub.calls(&package, json!({}), json!([same()]));
            assert_eq!(outcomes[0]["error"], "ResponseError", "{}", outcomes[0]);
        }
        stub.middle.requests();
    }
}

#[test]
fn keys_are_read_in_every_form_and_what_is_no_key_is_named() {
    let world = World::start();
    let write = |keys: &Value| {
        let file = world.data.folder().join("form.json");
        fs::write(&file, keys.to_string()).unwrap();
        file
    };
    let pem = |label: &str, base64: &str| {
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    };
    let bare = |der: &[u8]| bare_base64(der);
    let private = ServerKey::from_text(world.key("merchantPrivateKey")).unwrap();
    let server = visavis_signing::key_der(world.key("serverPublicKey")).unwrap();
    // The octet string in PKCS#8 and the bit string in SubjectPublicKeyInfo are PKCS#1.
    let (private1, server1) = (bare(&private.pkcs8_der()[26..]), bare(&server[24..]));
    let (private8, spki) = (bare(private.pkcs8_der()), bare(&server));
    let in_lines = private8.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let in_lines = in_lines.collect::<Vec<_>>().join("\r\n");
    let forms = [
        (pem("PRIVATE KEY", &in_lines), pem("PUBLIC KEY", &spki)),
        (
            pem("PRIVATE KEY", &private8).replace('\n', ""),
            pem("PUBLIC KEY", &spki).replace('\n', ""),
        ),
        (bare(pem("PRIVATE KEY", &private8).as_bytes()), bare(pem("PUBLIC KEY", &spki).as_bytes())),
        (private1.clone(), server1.clone()),
        (pem("RSA PRIVATE KEY", &private1), pem("RSA PUBLIC KEY", &server1)),
    ];
    let of_curve = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3H9BjXT5kL2n5q/7/yyhJqqOzaQt\
                    j7/C2tlRDB/vNiv38bwDzUuLo13j6Dcleqc93gd8q65OoTwBq7x2IPn8Rg==";
    for package in Package::all() {
        let mut keys = world.keys.clone();
        for (private, server) in &forms {
            keys["merchantPrivateKey"] = json!(private);
            keys["serverPublicKey"] = json!(server);
            let options = json!({ "mode": "encrypted" });
            let url = world.server.url();
            let outcomes = package.calls(&url, &write(&keys), options, json!([["test"]]));
            assert!(value(&outcomes[0]).is_object(), "{}: {private}", package.language);
        }
        for (member, wrong, mode) in [
            ("serverPublicKey", json!("hello"), "plain"),
            ("serverPublicKey", json!(of_curve), "plain"),
            ("merchantPrivateKey", json!(world.key("serverPublicKey")), "encrypted"),
            ("merchantPrivateKey", Value::Null, "plain"),
            ("clientId", json!(""), "plain"),
            ("secretKey", json!("!"), "aksk"),
            ("accessKey", Value::Null, "aksk"),
        ] {
            let mut keys = world.keys.clone();
            keys[member] = wrong;
            let options = json!({ "mode": mode });
            let url = world.server.url();
            let outcomes = package.calls(&url, &write(&keys), options, json!([["test"]]));
            let at = format!("{} {member}: {}", package.language, outcomes[0]);
            assert_eq!(outcomes[0]["error"], "CredentialsError", "{at}");
            let message = outcomes[0]["message"].as_str().unwrap().replace('_', "").to_lowercase();
            assert!(message.contains(&member.to_lowercase()), "{at}");
        }
    }
}

#[test]
fn one_client_calls_from_several_threads() {
    let world = World::start();
    for package in Package::all() {
        for mode in MODES {
            let plan = json!({
                "url": world.server.url(), "client": world.client, "options": { "mode": mode },
                "threads": 6,
                "steps": [
                    ["test", { "n": 1 }],
                    same(),
                    ["submit", photo("obama-2012"), photo("collins")],
                    ["wait", "$"],
                ],
            });
            let outcomes = package.run(&plan);
            assert_eq!(outcomes.len(), 24);
            let ids: std::collections::BTreeSet<_> =
                outcomes.iter().filter_map(|o| value(o).as_str()).collect();
            assert_eq!(ids.len(), 6, "{} {mode}", package.language);
            for four in outcomes.chunks(4) {
                assert_eq!(value(&four[1])["samePerson"], true, "{four:?}");
                assert_eq!(value(&four[3])["transactionId"], *value(&four[2]), "{four:?}");
            }
        }
    }
}

#[test]
fn a_client_without_extras_has_a_verdict_without_quality_results() {
    let world = World::start_with(&["--no-extras"], &[]);
    for package in Package::all() {
        let steps =
            json!([same(), ["submit", photo("obama-2012"), photo("collins")], ["wait", "$"]]);
        let outcomes = package.calls(&world.server.url(), &world.client, json!({}), steps);
        let (verdict, outcome) = (value(&outcomes[0]), value(&outcomes[2]));
        assert_eq!(verdict["samePerson"], true);
        for member in ["face1", "face2", "threshold", "model", "calibration"] {
            assert_eq!(verdict[member], Value::Null, "{member}");
        }
        let quality =
            json!({ "passed": true, "reasons": [], "score": null, "faces": null, "box": null });
        assert_eq!(outcome["face1"], quality, "{}", package.language);
    }
}

/// The first block of a language in a document.
fn block(path: &str, language: &str) -> String {
    let text = fs::read_to_string(in_repository(path)).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("\n```").unwrap().0.to_owned() + "\n"
}

#[test]
fn the_code_of_both_readmes_runs() {
    let world = World::start();
    for package in Package::all() {
        let (folder, language, name) = match package.language {
            "Python" => ("python", "python", "readme.py"),
            _ => ("node", "js", "readme.mjs"),
        };
        let code = block(&format!("clients/{folder}/README.md"), language);
        let code = code.replace("http://127.0.0.1:8080", &world.server.url());
        let at = |name: &str| package.folder().join(name);
        fs::write(at(name), code).unwrap();
        fs::copy(&world.client, at("shop.json")).unwrap();
        fs::copy(photo("obama-2012"), at("selfie.jpg")).unwrap();
        fs::copy(photo("obama-2009"), at("portrait.jpg")).unwrap();
        let ran = package.interpreter().arg(at(name)).ran();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", package.language);
        let lines: Vec<_> = ran.out.lines().collect();
        assert!(
            lines[0].to_lowercase().starts_with("true 9") && lines[0].ends_with(" 80"),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("UNABLE_GET_IMAGE "), "{lines:?}");
    }
}

#[test]
fn the_python_package_and_what_uses_it_pass_a_strict_type_check() {
    let mut probe = Command::new(python());
    probe.args(["-m", "mypy", "--version"]);
    if !works(probe) {
        left_out("the types of clients/python: mypy is missing; run `make venv`");
        return;
    }
    let Some(package) = Package::python() else { return };
    let mut check = package.interpreter();
    check.args(["-m", "mypy", "--strict", "--cache-dir=/dev/null", "--python-version", "3.10"]);
    check.arg(package.folder().join("site/visavis_client"));
    check.arg(in_repository("tests/it/clients/driver.py"));
    let checked = check.ran();
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let wrong = package.folder().join("wrong.py");
    fs::write(&wrong, "from visavis_client import Client\nClient.compare(1)\n").unwrap();
    let refused = package.interpreter().args(["-m", "mypy", "--strict"]).arg(wrong).ran();
    assert_eq!(refused.code, 1, "the package has types: {}{}", refused.out, refused.err);
}

#[test]
fn the_types_of_the_node_package_are_those_of_its_code() {
    let compiler = in_repository("tests/clients/node_modules/typescript/bin/tsc");
    if !PathBuf::from(&compiler).exists() {
        left_out("the types of clients/node: typescript is missing; run `make client-types`");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let project = in_repository("tests/clients");
    let mut compile = Command::new("node");
    compile.args([&compiler, "--project", &project, "--outDir"]).arg(folder.path());
    let compiled = compile.ran();
    assert_eq!(compiled.code, 0, "{}{}", compiled.out, compiled.err);
    let read = |path: PathBuf| -> std::collections::BTreeMap<String, String> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let text = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        };
        entries.map(text).collect()
    };
    let kept = read(in_repository("clients/node/types").into());
    assert_eq!(kept, read(folder.path().to_owned()), "run `make client-types`");

    let Some(package) = Package::node() else { return };
    let types = in_repository("tests/clients/node_modules/@types");
    let use_of = |code: &str| {
        let file = package.folder().join("use.mts");
        fs::write(
            &file,
            format!("import {{ Client, type Comparison }} from 'visavis-client';\n{code}"),
        )
        .unwrap();
        let mut compile = Command::new("node");
        compile.args([&*compiler, "--strict", "--noEmit", "--module", "nodenext"]);
        compile.args(["--typeRoots", &types, "--types", "node"]).arg(file).ran()
    };
    let client =
        "const client = new Client({ url: 'http://x', credentials: { clientId: '1' } });\n";
    let right = "const found: Comparison = await client.compare('a', 'b', { bizId: '1' });\n\
                 console.log(found.face1?.reasons.length);\n";
    let used = use_of(&format!("{client}{right}"));
    assert_eq!(used.code, 0, "{}", used.out);
    let used = use_of(&format!("{client}const found: string = await client.compare('a', 1);\n"));
    assert_eq!(used.out.matches("error TS").count(), 2, "{}", used.out);
}

#[test]
fn the_packages_have_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("clients/python/pyproject.toml", format!("version = \"{version}\"")),
        ("clients/node/package.json", format!("  \"version\": \"{version}\",")),
    ] {
        let text = fs::read_to_string(in_repository(file)).unwrap();
        assert!(text.lines().any(|found| found == line), "{file}: {line}");
    }
}

//! `RSA_AES` mode: what real clients send is read, the response is under the client's own key from
//! the proof on, and no one learns from a response whether a wrapped key was well-formed.

use std::num::NonZeroU32;

use axum::body::to_bytes;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use visavis::clients::{ClientChange, Encryption, PolicyChange};
use visavis_signing::ServerKey;

use crate::support::{
    AesKey, Answer, CLIENT, Picture, TestApp, header_of, merchant, pair, server_key, stored,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";

fn key(bytes: u8) -> AesKey {
    AesKey((0..bytes).map(|b| b.wrapping_mul(31) ^ 0x5A).collect())
}

/// Sends an encrypted request; the response must be encrypted under the same key, and say so.
async fn post(app: &TestApp, path: &str, body: &Value, key: &AesKey) -> Answer {
    let answer = app.send(app.encrypted(path, &body.to_string(), key)).await;
    assert_eq!(&AesKey::of_header(answer.header("encrypt").unwrap(), merchant()), key);
    answer.opened(key)
}

/// Sends a request whose response must be plain.
async fn refused(app: &TestApp, request: axum::http::Request<axum::body::Body>) -> Answer {
    let answer = app.send(request).await;
    assert_eq!(answer.header("encrypt"), None, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"));
    answer
}

#[tokio::test]
async fn a_comparison_is_asked_and_answered_under_keys_of_all_three_lengths() {
    let app = TestApp::new().await;
    for bytes in [16, 24, 32] {
        let key = key(bytes);
        let body = pair(Picture::Person(1), Picture::Person(1));
        let answer = post(&app, COMPARE, &body, &key).await;
        assert_eq!(answer.code(), "SUCCESS");
        assert_eq!(answer.json["samePerson"], true, "{}", answer.text);

        let accepted = post(&app, ASYNC, &body, &key).await;
        assert_eq!(accepted.code(), "PROCESSING");
        app.runner.run_until_idle().await;
        let id = json!({ "transactionId": accepted.transaction_id() });
        let reported = post(&app, CHECK, &id, &key).await;
        assert_eq!((reported.code(), &reported.json["samePerson"]), ("SUCCESS", &json!(true)));
    }
}

#[tokio::test]
async fn a_key_may_be_printable_text() {
    let app = TestApp::new().await;
    let key = AesKey(b"PEQKJPhmmdsxdZZF".to_vec());
    let answer = post(&app, TEST, &json!({ "title": "hello" }), &key).await;
    assert_eq!(answer.json["title"], "hello");
}

#[tokio::test]
async fn the_encrypt_header_decides_and_the_content_type_does_not() {
    let app = TestApp::new().await;
    let body = json!({ "title": "hello" }).to_string();
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
    {
        let key = key(32);
        let mut request = app.encrypted(TEST, &body, &key);
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        assert_eq!(app.send(request).await.opened(&key).json["title"], "hello", "{content_type}");

        let mut request = app.signed(TEST, &body);
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        assert_eq!(refused(&app, request).await.json["title"], "hello", "{content_type}");
    }
    let mut request = app.signed(TEST, &body);
    request.headers_mut().insert("encrypt", "".parse().unwrap());
    assert_eq!(refused(&app, request).await.json["title"], "hello", "an empty header is none");
}

#[tokio::test]
async fn line_breaks_in_the_body_count_for_the_signature_and_not_for_the_decryption() {
    let app = TestApp::new().await;
    let key = key(16);
    let whole = key.encrypt(json!({ "title": "x".repeat(200) }).to_string().as_bytes());
    for breaks in ["\n", "\r\n"] {
        let lines: Vec<_> =
            whole.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
        let body = lines.join(breaks) + breaks;
        let answer = app.send(app.encrypted_as(TEST, &body, &key.header(server_key()))).await;
        assert_eq!(answer.opened(&key).code(), "SUCCESS");
    }
}

#[tokio::test]
async fn every_spelling_of_the_encrypt_header_is_read() {
    let app = TestApp::new().await;
    let key = key(32);
    let body = key.encrypt(b"{\"title\":\"hello\"}");
    let written = key.header(server_key());
    let value = written.strip_prefix("algorithm=RSA_AES, symmetricKey=").unwrap();
    let raw = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    for header in [
        written.clone(),
        written.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"),
        format!("algorithm=RSA_AES,symmetricKey={raw}"),
        format!("algorithm=RSA_AES, keyVersion=v1, symmetricKey={value}"),
        format!("algorithm=RSA_AES, symmetricKey={value}, keyVersion="),
        format!("symmetrickey={}", raw.trim_end_matches('=')),
        format!("algorithm=RSA_AES, symmetricKey={}", raw.replace('+', "-").replace('/', "_")),
    ] {
        let answer = app.send(app.encrypted_as(TEST, &body, &header)).await;
        assert_eq!(answer.opened(&key).json["title"], "hello", "{header}");
    }
}

#[tokio::test]
async fn what_is_wrong_inside_a_decrypted_request_is_told_encrypted() {
    let app = TestApp::new().await;
    let key = key(32);
    for (path, body, code) in [
        (COMPARE, json!({}), "INVALID_ARGUMENT"),
        (COMPARE, pair(Picture::Nothing, Picture::Person(1)), "UNABLE_GET_IMAGE"),
        (ASYNC, json!({ "bizId": "b", "face1": 1 }), "INVALID_ARGUMENT"),
        (CHECK, json!({ "transactionId": "" }), "INVALID_ARGUMENT"),
        (
            CHECK,
            json!({ "transactionId": "G000000000FID20200304000000000001570702" }),
            "INVALID_ARGUMENT",
        ),
    ] {
        assert_eq!(post(&app, path, &body, &key).await.code(), code, "{body}");
    }
}

/// Bodies and wrapped keys that do not go together, in every way.
fn mismatched() -> Vec<(&'static str, String, String)> {
    let (key, other) = (key(32), AesKey(vec![9; 32]));
    let good = key.encrypt(b"{\"title\":\"hello\"}");
    let header = key.header(server_key());
    let mut damaged = key.wrapped(server_key());
    damaged[100] ^= 1;
    let outsider = ServerKey::generate().unwrap();
    vec![
        ("a damaged wrapped key", good.clone(), header_of(&damaged)),
        ("a key wrapped for somebody else", good.clone(), key.header(&outsider)),
        ("another well-wrapped key", good.clone(), other.header(server_key())),
        ("a well-wrapped key of 15 bytes", good.clone(), AesKey(vec![9; 15]).header(server_key())),
        ("a well-wrapped key of 33 bytes", good.clone(), AesKey(vec![9; 33]).header(server_key())),
        ("a well-wrapped key of no bytes", good.clone(), AesKey(vec![]).header(server_key())),
        ("a wrapped key of 1 byte", good.clone(), header_of(&[1])),
        ("a wrapped key of 1024 bytes", good.clone(), header_of(&[0xA5; 1024])),
        ("a body cut inside a block", good[..good.len() - 8].to_owned(), header.clone()),
        ("a body that is not base64", "{\"title\":\"hello\"}".to_owned(), header.clone()),
        ("an empty body", String::new(), header.clone()),
        ("text that is not UTF-8", key.encrypt(b"{\"title\":\"\xFF\"}"), header.clone()),
        ("text that is not JSON", key.encrypt(b"hello"), header.clone()),
        ("JSON that is not an object", key.encrypt(b"[1]"), header.clone()),
        ("no text", key.encrypt(b""), header),
    ]
}

/// Sends a request whose response must be encrypted, under whatever key.
async fn refused_in_secret(
    app: &TestApp,
    request: axum::http::Request<axum::body::Body>,
) -> Answer {
    let (answer, status) = app.send_raw(request).await;
    assert_eq!(status, 200);
    assert!(answer.header("encrypt").is_some(), "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    answer
}

#[tokio::test]
async fn whatever_does_not_decrypt_into_json_has_one_response_under_the_key_that_was_sent() {
    let app = TestApp::with(|config| config.gate.decrypt_failures = 1_000).await;
    let before = stored(&app).await;
    let (mut lengths, mut texts) = (Vec::new(), Vec::new());
    for path in [TEST, COMPARE, ASYNC, CHECK] {
        for (what, body, encrypt) in mismatched() {
            app.clock.advance(1_000);
            let answer = refused_in_secret(&app, app.encrypted_as(path, &body, &encrypt)).await;
            lengths.push(answer.text.len());
            // The client's own mistakes can be read by it.
            if !what.contains("key") {
                let opened = answer.opened(&key(32));
                assert_eq!(opened.code(), "MSG_PARSE_ERROR", "{what}: {}", opened.text);
                texts.push(opened.text);
            }
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    lengths.dedup();
    assert_eq!(lengths.len(), 1, "no kind of wrapped key shows by the length: {lengths:?}");
    assert_eq!(stored(&app).await, before);
}

/// Within one second the same request has the same response, whatever its wrapped key is: one that
/// differed would show that the key was not well-formed.
#[tokio::test]
async fn a_wrapped_key_that_does_not_open_gives_the_same_response_every_time() {
    let app = TestApp::with(|config| config.gate.decrypt_failures = 1_000).await;
    for (what, body, encrypt) in mismatched() {
        app.clock.advance(1_000);
        let one = refused_in_secret(&app, app.encrypted_as(TEST, &body, &encrypt)).await;
        let again = refused_in_secret(&app, app.encrypted_as(TEST, &body, &encrypt)).await;
        assert_eq!(one.text, again.text, "{what}");
        assert_eq!(one.header("signature"), again.header("signature"), "{what}");
    }
}

#[tokio::test]
async fn every_refusal_of_a_proven_encrypted_request_is_encrypted() {
    let key = key(32);
    let test = |app: &TestApp| app.encrypted(TEST, "{}", &key);

    let app = TestApp::new().await;
    app.clients.set_disabled(CLIENT, true).await.unwrap();
    let disabled = refused_in_secret(&app, test(&app)).await;
    assert_eq!(disabled.opened(&key).code(), "ACCESS_DENIED");
    let mut forged = test(&app);
    forged.headers_mut().insert("signature", "algorithm=RSA256, signature=AAAA".parse().unwrap());
    assert_eq!(refused(&app, forged).await.code(), "SIGNATURE_INVALID", "nothing is proven");

    let app = TestApp::new().await;
    let late = test(&app);
    app.clock.advance(901_000);
    let late = refused_in_secret(&app, late).await.opened(&key);
    assert_eq!(late.code(), "PARAM_ILLEGAL");
    assert!(late.message().contains("clock"), "{}", late.text);

    let app = TestApp::new().await;
    let policy = PolicyChange { encryption: Some(Encryption::Off), ..PolicyChange::default() };
    app.change(ClientChange { policy, ..ClientChange::default() }).await;
    let unwanted = refused_in_secret(&app, test(&app)).await;
    assert_eq!(unwanted.opened(&key).code(), "ACCESS_DENIED");

    let app = TestApp::new().await;
    let policy =
        PolicyChange { daily_quota: Some(Some(NonZeroU32::MIN)), ..PolicyChange::default() };
    app.change(ClientChange { policy, ..ClientChange::default() }).await;
    let body = pair(Picture::Person(1), Picture::Person(1));
    assert_eq!(post(&app, COMPARE, &body, &key).await.code(), "SUCCESS");
    app.clock.advance(1_000);
    assert_eq!(post(&app, COMPARE, &body, &key).await.code(), "REQUEST_TRAFFIC_EXCEED_LIMIT");
}

/// Anyone who records a request in clear has no way to close its client's encrypted mode.
#[tokio::test]
async fn one_captured_signature_closes_no_encrypted_mode_however_often_it_is_replayed() {
    let app = TestApp::with(|config| config.gate.decrypt_failures = 3).await;
    for attempt in 0..20_u8 {
        let wrapped = [attempt; 256];
        let mut replay = app.signed(TEST, "{}");
        replay.headers_mut().insert("encrypt", header_of(&wrapped).parse().unwrap());
        refused_in_secret(&app, replay).await;
    }
    app.clock.advance(1_000);
    assert_eq!(post(&app, TEST, &json!({}), &key(16)).await.code(), "SUCCESS");
}

#[tokio::test]
async fn the_signature_is_checked_before_anything_is_unwrapped() {
    let app = TestApp::with(|config| config.gate.decrypt_failures = 1).await;
    for (_, body, encrypt) in mismatched() {
        let mut request = app.encrypted_as(TEST, &body, &encrypt);
        request
            .headers_mut()
            .insert("signature", "algorithm=RSA256, signature=AAAA".parse().unwrap());
        assert_eq!(refused(&app, request).await.code(), "SIGNATURE_INVALID");
    }
    let answer = post(&app, TEST, &json!({}), &key(16)).await;
    assert_eq!(answer.code(), "SUCCESS", "nothing was counted against the client");
}

#[tokio::test]
async fn too_many_failures_of_one_client_close_its_encrypted_mode_for_a_minute() {
    let app = TestApp::with(|config| config.gate.decrypt_failures = 3).await;
    let (_, body, encrypt) = mismatched().swap_remove(0);
    for _ in 0..3 {
        refused_in_secret(&app, app.encrypted_as(TEST, &body, &encrypt)).await;
        app.clock.advance(1_000);
    }
    let good = json!({ "title": "hello" });
    let closed = post(&app, TEST, &good, &key(32)).await;
    assert_eq!(closed.code(), "PARAM_ILLEGAL", "{}", closed.text);
    assert!(closed.message().contains("did not decrypt"), "{}", closed.text);
    assert_eq!(
        app.post("authentication/test", &good).await.code(),
        "SUCCESS",
        "in clear it goes on"
    );
    app.clock.advance(60_000);
    assert_eq!(post(&app, TEST, &good, &key(32)).await.code(), "SUCCESS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn failures_at_once_are_no_more_than_failures_one_after_the_other() {
    let app = TestApp::with(|config| {
        config.gate.decrypt_failures = 2;
        config.gate.body_budget = 64 << 20;
    })
    .await;
    // Large enough for several threads to be at it.
    let body = key(32).encrypt(json!({ "bizId": "x".repeat(600_000) }).to_string().as_bytes());
    // What happens at once differs from time to time.
    for _ in 0..5 {
        let keys: Vec<_> = (0..24).map(|n| AesKey(vec![n; 32])).collect();
        let requests: Vec<_> = keys
            .iter()
            .map(|key| app.encrypted_as(COMPARE, &body, &key.header(server_key())))
            .collect();
        let answers: Vec<_> = requests
            .into_iter()
            .map(|request| tokio::spawn(app.router.clone().oneshot(request)))
            .collect();
        let mut failed = 0;
        for (answer, key) in answers.into_iter().zip(&keys) {
            let body = answer.await.unwrap().unwrap().into_body();
            let text = to_bytes(body, usize::MAX).await.unwrap();
            let text = key.decrypt(std::str::from_utf8(&text).unwrap());
            let json: Value = serde_json::from_str(&text).unwrap();
            match json["result"]["resultCode"].as_str() {
                Some("MSG_PARSE_ERROR") => failed += 1,
                code => assert_eq!(code, Some("PARAM_ILLEGAL"), "{json}"),
            }
        }
        assert_eq!(failed, 2);
        app.clock.advance(60_000);
    }
}

#[tokio::test]
async fn mistakes_in_the_encrypt_header_are_told_by_its_name() {
    let app = TestApp::new().await;
    for header in [
        "algorithm=RSA_OAEP, symmetricKey=AAAA",
        "algorithm=RSA_AES",
        "algorithm=RSA_AES, symmetricKey=",
        "algorithm=RSA_AES, symmetricKey=%zz",
        "algorithm=RSA_AES, symmetricKey=AAAA, symmetricKey=AAAA",
        "yes",
    ] {
        let answer = refused(&app, app.encrypted_as(TEST, "AAAA", header)).await;
        assert_eq!(answer.code(), "PARAM_ILLEGAL", "{header}");
        assert!(answer.message().contains("Encrypt"), "{header}: {}", answer.text);
    }
    let mut twice = app.encrypted(TEST, "{}", &key(16));
    let value = twice.headers()["encrypt"].clone();
    twice.headers_mut().append("encrypt", value);
    assert!(refused(&app, twice).await.message().contains("Encrypt is present twice"));
}

/// A repetition finds the transaction that the first one made; its verdict is for the client alone.
#[tokio::test]
async fn a_repeated_request_is_answered_encrypted_and_not_at_all_without_its_key() {
    let app = TestApp::new().await;
    let key = key(32);
    let body = key.encrypt(pair(Picture::Person(1), Picture::Person(1)).to_string().as_bytes());
    for path in [COMPARE, ASYNC] {
        let header = key.header(server_key());
        let first = app.send(app.encrypted_as(path, &body, &header)).await.opened(&key);
        let again = app.send(app.encrypted_as(path, &body, &header)).await.opened(&key);
        assert_eq!(again.transaction_id(), first.transaction_id());
        assert_eq!(again.json["score"], first.json["score"]);
        let other = AesKey(vec![1; 32]);
        let stolen = app.encrypted_as(path, &body, &other.header(server_key()));
        let stolen = refused_in_secret(&app, stolen).await.opened(&other);
        assert_eq!(stolen.code(), "MSG_PARSE_ERROR");
        let stripped = refused(&app, app.signed(path, &body)).await;
        assert_eq!(stripped.code(), "MSG_PARSE_ERROR");
    }
}

#[tokio::test]
async fn a_full_queue_is_told_so_that_an_encrypted_client_can_read_it() {
    let app = TestApp::with(|config| config.gate.queue.jobs = 1).await;
    let body = pair(Picture::Person(1), Picture::Person(2));
    let key = key(32);
    assert_eq!(post(&app, ASYNC, &body, &key).await.code(), "PROCESSING");
    app.clock.advance(1_000);
    assert_eq!(post(&app, ASYNC, &body, &key).await.code(), "REQUEST_TRAFFIC_EXCEED_LIMIT");
}

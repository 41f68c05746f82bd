//! AK/SK mode: HMAC both ways, the bare value, responses in kind.

use std::num::NonZeroU32;

use axum::{
    body::Body,
    http::{Request, header::HeaderName},
};
use serde_json::json;
use visavis::gate::ClientRate;

use crate::support::{Answer, CLIENT, Picture, SECRET, TestApp, mac, pair, server_key, stored};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";

fn request(app: &TestApp, path: &str, body: &str) -> Request<Body> {
    request_at(app.now(), path, body)
}

fn request_at(time: String, path: &str, body: &str) -> Request<Body> {
    let signature = mac(&SECRET, &format!("POST {path}\n{CLIENT}.{time}.{body}"));
    Request::post(path)
        .header("Client-Id", CLIENT)
        .header("Request-Time", time)
        .header("Content-Type", "application/json; charset=UTF-8")
        .header("Auth-Type", "AKSK")
        .header("Access-Key", format!("AK{CLIENT}"))
        .header("Signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    request
}

/// Sends; the response must carry the bare MAC that a client compares as text.
async fn send(app: &TestApp, request: Request<Body>) -> Answer {
    let path = request.uri().path().to_owned();
    let answer = send_unchecked(app, request).await;
    assert_eq!(
        answer.header("signature"),
        Some(mac_of(&answer, &path).as_str()),
        "{}",
        answer.text
    );
    answer
}

/// Sends what proves nothing; the response must carry the form of a MAC, which is not one by the
/// client's secret.
async fn send_unproven(app: &TestApp, request: Request<Body>) -> Answer {
    let path = request.uri().path().to_owned();
    let answer = send_unchecked(app, request).await;
    let (signature, by_secret) = (answer.header("signature").unwrap(), mac_of(&answer, &path));
    assert_eq!(signature.len(), by_secret.len(), "{}", answer.text);
    assert_ne!(signature, by_secret, "the response would be a valid request: {}", answer.text);
    answer
}

async fn send_unchecked(app: &TestApp, request: Request<Body>) -> Answer {
    let (answer, status) = app.send_raw(request).await;
    assert_eq!(status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"));
    answer
}

fn mac_of(answer: &Answer, path: &str) -> String {
    let time = answer.header("response-time").unwrap();
    mac(&SECRET, &format!("POST {path}\n{CLIENT}.{time}.{}", answer.text))
}

/// A response as its receiver could send it back as a request.
fn sent_back(answer: &Answer, path: &str) -> Request<Body> {
    Request::post(path)
        .header("Client-Id", CLIENT)
        .header("Request-Time", answer.header("response-time").unwrap())
        .header("Auth-Type", "AKSK")
        .header("Access-Key", format!("AK{CLIENT}"))
        .header("Signature", answer.header("signature").unwrap())
        .body(Body::from(answer.text.clone()))
        .unwrap()
}

#[tokio::test]
async fn no_response_of_the_service_is_a_request_when_it_is_sent_back() {
    let rate = ClientRate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(40).unwrap() };
    let app = TestApp::with(|config| config.gate.client_rate = Some(rate)).await;
    let good = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let accepted = send(&app, request(&app, ASYNC, &good)).await;
    app.runner.run_until_idle().await;
    let id = json!({ "transactionId": accepted.transaction_id() }).to_string();
    let nested = r#"{"result":{"resultCode":"mine"},"title":"hello"}"#;
    let mut responses = vec![(ASYNC, accepted)];
    for (path, body) in [
        (TEST, "{}"),
        (TEST, r#"{"title":"hello","result":1}"#),
        (TEST, "[]"),
        (COMPARE, &*good),
        (COMPARE, "{}"),
        (ASYNC, "{}"),
        (CHECK, &*id),
        (CHECK, r#"{"transactionId":"nothing"}"#),
    ] {
        responses.push((path, send(&app, request(&app, path, body)).await));
        let unsigned = with(request(&app, path, body), "signature", &"A".repeat(43));
        responses.push((path, send_unproven(&app, unsigned).await));
    }
    for (path, response) in &responses {
        for _ in 0..3 {
            let again = send_unproven(&app, sent_back(response, path)).await;
            assert_eq!(again.code(), "SIGNATURE_INVALID", "{path}: {}", response.text);
        }
    }
    let mine = send_unproven(&app, request(&app, TEST, nested)).await;
    assert_eq!(mine.code(), "SIGNATURE_INVALID", "what looks like a response is none of a client");
    let after = send(&app, request(&app, TEST, "{}")).await;
    assert_eq!(after.code(), "SUCCESS", "none of it was counted against the client");
}

#[tokio::test]
async fn a_request_with_access_key_and_secret_key_is_answered_in_kind() {
    let app = TestApp::new().await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let answer = send(&app, request(&app, COMPARE, &body)).await;
    assert_eq!((answer.code(), &answer.json["samePerson"]), ("SUCCESS", &json!(true)));
    let refused = send(&app, request(&app, COMPARE, "{}")).await;
    assert_eq!(refused.code(), "INVALID_ARGUMENT");
}

#[tokio::test]
async fn the_signature_is_read_as_documents_and_clients_write_it() {
    let app = TestApp::new().await;
    let bare = request(&app, TEST, "{}").headers()["signature"].to_str().unwrap().to_owned();
    let standard = bare.replace('-', "+").replace('_', "/");
    for signature in [
        bare.clone(),
        format!("{bare}="),
        format!("signature={bare}"),
        format!("{standard}="),
        format!("algorithm=HMAC, signature={bare}"),
    ] {
        let answer = send(&app, with(request(&app, TEST, "{}"), "signature", &signature)).await;
        assert_eq!(answer.code(), "SUCCESS", "{signature}");
    }
    let lower = with(request(&app, TEST, "{}"), "auth-type", "aksk");
    assert_eq!(send(&app, lower).await.code(), "SUCCESS");
}

#[tokio::test]
async fn every_mistake_has_its_code_in_an_answer_of_the_same_kind() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    let good = || request(&app, COMPARE, &pair(Picture::Person(1), Picture::Person(1)).to_string());
    let other = mac(&[8; 32], "something else");
    let mut without = good();
    without.headers_mut().remove("access-key");
    for (what, request, code, names) in [
        ("another secret", with(good(), "signature", &other), "SIGNATURE_INVALID", "signature"),
        ("a short MAC", with(good(), "signature", "AAAA"), "SIGNATURE_INVALID", "signature"),
        ("no base64", with(good(), "signature", "a!b"), "PARAM_ILLEGAL", "Signature"),
        ("another access key", with(good(), "access-key", "AK1"), "KEY_NOT_FOUND", "Access-Key"),
        ("no access key", without, "PARAM_MISSING", "Access-Key"),
        (
            "encryption",
            with(good(), "encrypt", "algorithm=RSA_AES, symmetricKey=AAAA"),
            "PARAM_ILLEGAL",
            "Encrypt",
        ),
    ] {
        let answer = send_unproven(&app, request).await;
        assert_eq!(answer.code(), code, "{what}: {}", answer.text);
        assert!(answer.message().contains(names), "{what}: {}", answer.text);
    }
    // Reported after the signature, so that the client can check that it is reported by the service.
    let stale = request_at("2020-01-01T00:00:00Z".to_owned(), COMPARE, "{}");
    let answer = send(&app, stale).await;
    assert_eq!(answer.code(), "PARAM_ILLEGAL");
    assert!(answer.message().contains("Request-Time"), "{}", answer.text);
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn an_auth_type_that_does_not_exist_is_refused_with_the_key_pair() {
    let app = TestApp::new().await;
    let (answer, _) = app.send_raw(with(request(&app, TEST, "{}"), "auth-type", "OAUTH")).await;
    answer.verify(TEST, CLIENT, server_key());
    assert_eq!(answer.code(), "PARAM_ILLEGAL");
    assert!(answer.message().contains("Auth-Type"), "{}", answer.text);
    let empty = with(app.signed(TEST, "{}"), "auth-type", "");
    assert_eq!(app.send(empty).await.code(), "SUCCESS", "an empty one is none");
}

#[tokio::test]
async fn a_mac_is_no_signature_and_a_signature_no_mac() {
    let app = TestApp::new().await;
    let mut key_pair = request(&app, TEST, "{}");
    key_pair.headers_mut().remove("auth-type");
    let (answer, _) = app.send_raw(key_pair).await;
    assert_eq!(answer.code(), "PARAM_ILLEGAL", "{}", answer.text);
    let signature = app.signed(TEST, "{}").headers()["signature"].to_str().unwrap().to_owned();
    let answer =
        send_unproven(&app, with(request(&app, TEST, "{}"), "signature", &signature)).await;
    assert_eq!(answer.code(), "SIGNATURE_INVALID", "{}", answer.text);
}

#[tokio::test]
async fn one_signed_request_is_one_transaction() {
    let app = TestApp::new().await;
    let body = pair(Picture::Person(1), Picture::Person(2)).to_string();
    let first = send(&app, request(&app, ASYNC, &body)).await;
    let second = send(&app, request(&app, ASYNC, &body)).await;
    assert_eq!(first.transaction_id(), second.transaction_id());
}

#[tokio::test]
async fn what_says_how_a_request_is_signed_may_be_there_once() {
    let app = TestApp::new().await;
    for name in ["auth-type", "access-key"] {
        for signed_by_secret in [true, false] {
            let mut request = if signed_by_secret {
                request(&app, TEST, "{}")
            } else {
                with(app.signed(TEST, "{}"), name, "")
            };
            let value = request.headers()[name].clone();
            request.headers_mut().append(name, value);
            let (answer, _) = app.send_raw(request).await;
            assert_eq!(answer.code(), "PARAM_ILLEGAL", "{name}: {}", answer.text);
            assert!(answer.message().ends_with("is present twice"), "{name}: {}", answer.text);
        }
    }
}

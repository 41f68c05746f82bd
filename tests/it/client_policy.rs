//! What one client may do: its modes, its encryption, its rate and its quota; and anyone who proves
//! nothing.

use std::num::NonZeroU32;

use axum::{body::Body, extract::ConnectInfo, http::Request};
use serde_json::json;
use std::net::SocketAddr;
use visavis::clients::{ClientChange, ClientError, Encryption, Modes, PolicyChange};

use crate::support::{
    AesKey, CLIENT, Picture, SECRET, TestApp, add_client, mac, pair, signed_as, stored,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";

async fn give(app: &TestApp, policy: PolicyChange) {
    app.change(ClientChange { policy, ..Default::default() }).await;
}

fn with_access_key(app: &TestApp) -> Request<Body> {
    let time = app.now();
    Request::post(TEST)
        .header("Client-Id", CLIENT)
        .header("Request-Time", &time)
        .header("Content-Type", "application/json; charset=UTF-8")
        .header("Auth-Type", "AKSK")
        .header("Access-Key", format!("AK{CLIENT}"))
        .header("Signature", mac(&SECRET, &format!("POST {TEST}\n{CLIENT}.{time}.{{}}")))
        .body(Body::from("{}"))
        .unwrap()
}

#[tokio::test]
async fn a_client_signs_only_in_the_modes_that_it_may() {
    let app = TestApp::new().await;
    for (modes, by_key_pair, by_access_key) in [
        (Modes::All, "SUCCESS", "SUCCESS"),
        (Modes::KeyPair, "SUCCESS", "ACCESS_DENIED"),
        (Modes::AccessKey, "ACCESS_DENIED", "SUCCESS"),
    ] {
        give(&app, PolicyChange { modes: Some(modes), ..Default::default() }).await;
        assert_eq!(app.send(app.signed(TEST, "{}")).await.code(), by_key_pair, "{modes:?}");
        let (answer, _) = app.send_raw(with_access_key(&app)).await;
        assert_eq!(answer.code(), by_access_key, "{modes:?}");
    }
}

#[tokio::test]
async fn a_client_encrypts_where_it_must_and_where_it_may() {
    let app = TestApp::new().await;
    let key = AesKey(vec![1; 16]);
    for (encryption, clear, encrypted) in [
        (Encryption::Optional, "SUCCESS", "SUCCESS"),
        (Encryption::Required, "ACCESS_DENIED", "SUCCESS"),
        (Encryption::Off, "SUCCESS", "ACCESS_DENIED"),
    ] {
        give(&app, PolicyChange { encryption: Some(encryption), ..Default::default() }).await;
        assert_eq!(app.send(app.signed(TEST, "{}")).await.code(), clear, "{encryption:?}");
        let (answer, _) = app.send_raw(app.encrypted(TEST, "{}", &key)).await;
        assert_eq!(answer.opened(&key).code(), encrypted, "{encryption:?}");
    }
}

#[tokio::test]
async fn terms_that_no_request_could_fulfil_are_refused() {
    let app = TestApp::new().await;
    give(&app, PolicyChange { encryption: Some(Encryption::Required), ..Default::default() }).await;
    let policy = PolicyChange { modes: Some(Modes::AccessKey), ..Default::default() };
    let change = ClientChange { policy, ..Default::default() };
    let refused = app.clients.change(CLIENT, &change).await;
    assert!(matches!(refused, Err(ClientError::Contradiction)), "{refused:?}");
    let kept = app.clients.get(CLIENT).await.unwrap().unwrap().policy;
    assert_eq!((kept.modes, kept.encryption), (Modes::All, Encryption::Required));
}

#[tokio::test]
async fn a_rate_of_a_clients_own_counts_from_its_next_request_on() {
    let app = TestApp::new().await;
    let own = PolicyChange {
        rate_per_s: Some(Some(NonZeroU32::MIN)),
        burst: Some(NonZeroU32::new(2)),
        ..Default::default()
    };
    give(&app, own).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(app.send(app.signed(TEST, "{}")).await.code().to_owned());
    }
    assert_eq!(codes, ["SUCCESS", "SUCCESS", "REQUEST_TRAFFIC_EXCEED_LIMIT"]);
    give(&app, PolicyChange { rate_per_s: Some(None), burst: Some(None), ..Default::default() })
        .await;
    assert_eq!(app.send(app.signed(TEST, "{}")).await.code(), "SUCCESS");
}

#[tokio::test]
async fn a_quota_counts_comparisons_of_a_day_and_no_repetitions_and_no_other_client() {
    let app = TestApp::new().await;
    add_client(&app.clients, "2188000000000002", "other").await;
    give(&app, PolicyChange { daily_quota: Some(NonZeroU32::new(2)), ..Default::default() }).await;
    let body = pair(Picture::Person(1), Picture::Person(2));
    let first = app.post("facecompare/compare", &body).await;
    assert_eq!(first.code(), "SUCCESS");
    let again = app.post("facecompare/compare", &body).await;
    assert_eq!(again.transaction_id(), first.transaction_id(), "the same signed request");
    app.clock.advance(1_000);
    assert_eq!(app.post("facecompare/asynccompare", &body).await.code(), "PROCESSING");
    app.clock.advance(1_000);
    let before = stored(&app).await;
    for endpoint in ["facecompare/compare", "facecompare/asynccompare"] {
        let refused = app.post(endpoint, &body).await;
        assert_eq!(refused.code(), "REQUEST_TRAFFIC_EXCEED_LIMIT");
        assert!(refused.text.contains("midnight UTC"), "{}", refused.text);
    }
    assert_eq!(stored(&app).await, before);
    let id = first.transaction_id();
    assert_eq!(app.check(&id).await.code(), "SUCCESS", "what is there can be asked for");
    let other = signed_as("2188000000000002", COMPARE, &body.to_string(), &app.now());
    assert_eq!(app.send_raw(other).await.0.code(), "SUCCESS");
    app.clock.advance(24 * 3_600_000);
    assert_eq!(app.post("facecompare/compare", &body).await.code(), "SUCCESS", "another day");
}

#[tokio::test]
async fn a_request_that_is_refused_for_its_pictures_counts_only_if_it_was_compared() {
    let app = TestApp::new().await;
    give(&app, PolicyChange { daily_quota: Some(NonZeroU32::new(1)), ..Default::default() }).await;
    let unreadable =
        json!({ "bizId": "b", "face1": { "content": "AAAA" }, "face2": { "content": "AAAA" } });
    assert_eq!(app.post("facecompare/compare", &unreadable).await.code(), "UNABLE_GET_IMAGE");
    let body = pair(Picture::Person(1), Picture::Person(2));
    assert_eq!(app.post("facecompare/compare", &body).await.code(), "SUCCESS");
}

fn from(mut request: Request<Body>, address: &str) -> Request<Body> {
    let peer: SocketAddr = format!("{address}:4711").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[tokio::test]
async fn an_address_that_proves_nothing_is_held_back_for_a_minute_and_no_other_is() {
    let app = TestApp::with(|config| config.gate.signature_failures = 3).await;
    let forged = |signature: &str| {
        let mut request = app.signed(TEST, "{}");
        request.headers_mut().insert("signature", signature.parse().unwrap());
        from(request, "192.0.2.1")
    };
    for _ in 0..2 {
        let code = app.send(forged("algorithm=RSA256, signature=AAAA")).await.code().to_owned();
        assert_eq!(code, "SIGNATURE_INVALID");
    }
    let unknown = |address| from(signed_as("nobody", TEST, "{}", &app.now()), address);
    assert_eq!(app.send_raw(unknown("192.0.2.1")).await.0.code(), "MERCHANT_NOT_FOUND");
    for request in [unknown("192.0.2.1"), forged("algorithm=RSA256, signature=AAAA")] {
        let (refused, _) = app.send_raw(request).await;
        assert_eq!(refused.code(), "REQUEST_TRAFFIC_EXCEED_LIMIT");
        assert!(
            refused.text.contains("more than 3 requests from this address failed to authenticate"),
            "{}",
            refused.text
        );
        assert_eq!(refused.header("connection"), Some("close"));
        assert_eq!(refused.header("retry-after"), Some("60"));
    }
    assert_eq!(app.send_raw(unknown("192.0.2.2")).await.0.code(), "MERCHANT_NOT_FOUND");
    let proven = app.send(from(app.signed(TEST, "{}"), "192.0.2.1")).await;
    assert_eq!(
        (proven.code(), proven.header("connection")),
        ("SUCCESS", None),
        "proof beats address"
    );
    app.clock.advance(60_000);
    assert_eq!(app.send_raw(unknown("192.0.2.1")).await.0.code(), "MERCHANT_NOT_FOUND");
}

/// A held-back address is looked up in memory alone, which may be older than the database.
#[tokio::test]
async fn a_client_that_was_disabled_is_not_served_from_memory() {
    let app = TestApp::with(|config| config.gate.signature_failures = 1).await;
    let address = "192.0.2.1";
    assert_eq!(app.send(from(app.signed(TEST, "{}"), address)).await.code(), "SUCCESS");
    let unknown = from(signed_as("nobody", TEST, "{}", &app.now()), address);
    assert_eq!(app.send_raw(unknown).await.0.code(), "MERCHANT_NOT_FOUND");
    assert_eq!(app.send(from(app.signed(TEST, "{}"), address)).await.code(), "SUCCESS");
    app.clients.set_disabled(CLIENT, true).await.unwrap();
    let late = app.send_raw(from(app.signed(TEST, "{}"), address)).await.0;
    assert_eq!(late.code(), "ACCESS_DENIED", "{}", late.text);
}

//! Who is let in: every form of a correct request that real clients send.

use axum::{body::Body, http::Request};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use visavis_signing::{Content, Freshness};

use crate::support::{
    CLIENT, Picture, TestApp, merchant, pair, server_key, signature_over, signed_as, stored,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";
const BODY: &str = r#"{"title":"hello"}"#;

/// Sends a request whose response must be signed over `uri`, and returns the response's code.
async fn code_over(app: &TestApp, request: Request<Body>, uri: &str) -> String {
    let (answer, status) = app.send_raw(request).await;
    assert_eq!(status, 200, "{}", answer.text);
    answer.verify(uri, CLIENT, server_key());
    answer.code().to_owned()
}

#[tokio::test]
async fn a_doubled_slash_before_the_path_is_forgiven_and_the_clean_path_is_signed() {
    let app = TestApp::new().await;
    let mut request = app.signed(TEST, BODY);
    *request.uri_mut() = "//api/v1/zoloz/authentication/test".parse().unwrap();
    assert_eq!(code_over(&app, request, TEST).await, "SUCCESS");
    let raw = "//api/v1/zoloz/authentication/test";
    let signed_raw = app.signed(raw, BODY);
    assert_eq!(code_over(&app, signed_raw, raw).await, "SUCCESS");
}

#[tokio::test]
async fn a_query_may_be_signed_or_not_and_the_answer_is_signed_over_the_same() {
    let app = TestApp::new().await;
    let queried = format!("{TEST}?trace=1&b=a%2Fb");
    let with = app.signed(&queried, BODY);
    assert_eq!(code_over(&app, with, &queried).await, "SUCCESS");
    let mut without = app.signed(TEST, BODY);
    *without.uri_mut() = queried.parse().unwrap();
    assert_eq!(code_over(&app, without, TEST).await, "SUCCESS");
    let mut other = app.signed(&queried, BODY);
    *other.uri_mut() = format!("{TEST}?trace=2").parse().unwrap();
    assert_eq!(code_over(&app, other, TEST).await, "SIGNATURE_INVALID");
}

#[tokio::test]
async fn every_spelling_of_the_signature_header_is_the_same_signature() {
    let app = TestApp::new().await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let time = app.now();
    let content = Content { uri: ASYNC, client_id: CLIENT, time: &time, body: body.as_bytes() };
    let signature = merchant().sign(&content).unwrap();
    let raw = STANDARD.encode(&signature);
    let upper = raw.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let lower = raw.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
    let url_safe = URL_SAFE_NO_PAD.encode(&signature);
    let spellings = [
        format!("algorithm=RSA256, signature={upper}"),
        format!("algorithm=RSA256, signature={lower}"),
        format!("algorithm=RSA256, signature={raw}"),
        format!("algorithm=RSA256,signature={raw}"),
        format!("algorithm=RSA256,\t signature={upper}"),
        format!("algorithm=RSA256, signature={url_safe}"),
        format!("signature={upper}, algorithm=RSA256"),
        format!("algorithm=RSA256, keyVersion=v1, signature={upper}"),
        format!("algorithm=RSA256, signature={upper}, keyVersion="),
        format!("signature={upper}"),
        format!("Algorithm=rsa256, Signature={upper}"),
        format!("algorithm=RSA256, signature={}", raw.replace('+', " ")),
    ];
    let mut ids = Vec::new();
    for spelling in &spellings {
        let mut request = app.signed(ASYNC, &body);
        request.headers_mut().insert("signature", spelling.parse().unwrap());
        let answer = app.send(request).await;
        assert_eq!(answer.code(), "PROCESSING", "{spelling}");
        ids.push(answer.transaction_id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one signature, one transaction");
}

#[tokio::test]
async fn a_time_is_read_in_every_form_and_signed_as_it_stands() {
    let app = TestApp::new().await;
    for time in [
        "2026-01-01T00:00:00+0000",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.123Z",
        "2026-01-01T05:30:00+0530",
        "2026-01-01T05:30:00+05:30",
        "2025-12-31T16:00:00-0800",
        "2026-01-01T00:15:00+0000",
        "2025-12-31T23:45:00+0000",
    ] {
        let answer = app.send(app.signed_at(TEST, BODY, time)).await;
        assert_eq!(answer.code(), "SUCCESS", "{time}: {}", answer.text);
    }
    let mut rewritten = app.signed_at(TEST, BODY, "2026-01-01T00:00:00+0000");
    rewritten.headers_mut().insert("request-time", "2026-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(app.send(rewritten).await.code(), "SIGNATURE_INVALID", "the text is signed");
}

#[tokio::test]
async fn a_time_beyond_the_window_is_refused_on_both_sides_and_a_window_of_zero_takes_all() {
    let times = ["2026-01-01T00:15:01+0000", "2025-12-31T23:44:59Z", "2020-01-01T00:00:00+0000"];
    let strict = TestApp::new().await;
    let lenient = TestApp::with(|config| config.gate.freshness = Freshness::seconds(0)).await;
    for time in times {
        let refused = strict.send(strict.signed_at(TEST, BODY, time)).await;
        assert_eq!(refused.code(), "PARAM_ILLEGAL", "{time}");
        assert!(refused.message().contains("Request-Time"), "{}", refused.text);
        let taken = lenient.send(lenient.signed_at(TEST, BODY, time)).await;
        assert_eq!(taken.code(), "SUCCESS", "{time}");
    }
    strict.clock.advance(1_800_000);
    let late = strict.signed_at(TEST, BODY, "2026-01-01T00:00:00+0000");
    assert_eq!(strict.send(late).await.code(), "PARAM_ILLEGAL", "the clock moved on");
}

#[tokio::test]
async fn a_disabled_client_is_turned_away_at_once_and_comes_back_at_once() {
    let app = TestApp::new().await;
    assert_eq!(app.send(app.signed(TEST, BODY)).await.code(), "SUCCESS");
    app.clients.set_disabled(CLIENT, true).await.unwrap();
    let refused = app.send(app.signed(TEST, BODY)).await;
    insta::assert_snapshot!(refused.text, @r#"{"result":{"resultCode":"ACCESS_DENIED","resultStatus":"F","resultMessage":"this client has been disabled; ask the operator"}}"#);
    app.clients.set_disabled(CLIENT, false).await.unwrap();
    assert_eq!(app.send(app.signed(TEST, BODY)).await.code(), "SUCCESS");
}

#[tokio::test]
async fn a_repeated_signed_request_is_one_transaction_and_another_time_is_another() {
    let app = TestApp::new().await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let first = app.send(app.signed(ASYNC, &body)).await;
    let again = app.send(app.signed(ASYNC, &body)).await;
    assert_eq!(again.text, first.text);
    assert_eq!(app.runner.run_until_idle().await, 1);
    let after = app.send(app.signed(ASYNC, &body)).await;
    assert_eq!(after.text, first.text, "also when it is finished");

    let compared = app.send(app.signed(COMPARE, &body)).await;
    let repeated = app.send(app.signed(COMPARE, &body)).await;
    assert_eq!(repeated.text, compared.text);
    assert_ne!(
        compared.transaction_id(),
        first.transaction_id(),
        "another path is another request"
    );
    assert_eq!(stored(&app).await.transactions, 2);

    app.clock.advance(1_000);
    for (path, before) in [(ASYNC, &first), (COMPARE, &compared)] {
        let later = app.send(app.signed(path, &body)).await;
        assert_ne!(later.transaction_id(), before.transaction_id(), "bizId is for tracing only");
    }
    assert_eq!(stored(&app).await.transactions, 4);
}

#[tokio::test]
async fn without_dedupe_every_request_is_a_transaction() {
    let app = TestApp::with(|config| config.gate.dedupe = false).await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    for path in [ASYNC, ASYNC, COMPARE, COMPARE] {
        app.send(app.signed(path, &body)).await.transaction_id();
    }
    assert_eq!(stored(&app).await.transactions, 4);
}

#[tokio::test]
async fn the_content_type_decides_nothing() {
    let app = TestApp::new().await;
    for kind in
        ["text/plain; charset=UTF-8", "application/json", "application/x-www-form-urlencoded"]
    {
        let mut request = app.signed(TEST, BODY);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(app.send(request).await.code(), "SUCCESS", "{kind}");
    }
    let mut request = app.signed(TEST, BODY);
    request.headers_mut().remove("content-type");
    assert_eq!(app.send(request).await.code(), "SUCCESS");
    let mut request = app.signed(TEST, BODY);
    request.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(app.send(request).await.code(), "SUCCESS", "nor do two of them");
}

#[tokio::test]
async fn careless_but_readable_bodies_are_compared() {
    let app = TestApp::new().await;
    // Ends in bytes that give the characters in which the alphabets differ.
    let bytes = [Picture::Person(1).bytes(), vec![0xFB, 0xEF, 0xBE, 0xFF]].concat();
    let jpeg = STANDARD.encode(&bytes);
    assert!(jpeg.contains('+') && jpeg.contains('/') && jpeg.ends_with('='), "{jpeg}");
    let escaped = jpeg.replace('/', "\\/").replace('+', "\\u002B");
    let good = format!(r#"{{"content":"{jpeg}"}}"#);
    let faces = [
        format!(r#"{{"content":"{escaped}"}}"#),
        format!(r#"{{"content":"data:image/jpeg;base64,{jpeg}","rect":null}}"#),
        format!(r#"{{"content":" Data:image\/jpeg;base64,{jpeg}"}}"#),
        format!(r#"{{"content":"{}\r\n{}\n","rect":""}}"#, &jpeg[..4], &jpeg[4..]),
        format!(r#"{{"content":"{}"}}"#, jpeg.replace('+', " ")),
        format!(r#"{{"content":"{jpeg}","rect":"543,544,112,56"}}"#),
        format!(r#"{{"content":"{jpeg}","rect":"left,top","more":[1]}}"#),
        format!(r#"{{"content":"{}"}}"#, URL_SAFE_NO_PAD.encode(&bytes)),
    ];
    for face in &faces {
        let body = format!(
            r#" {{"face2":{face},"unknown":{{"a":1}},"userId":null,"sourceOfFace2":"","face1":{good},"bizId":"{}"}} "#,
            "b".repeat(64)
        );
        let answer = app.send(app.signed(COMPARE, &body)).await;
        assert_eq!(answer.json["samePerson"], true, "{body}: {}", answer.text);
    }
    let document = json!({ "bizId": "b", "userId": "u", "sourceOfFace2": "00000001007",
        "face1": { "content": jpeg }, "face2": { "content": jpeg } });
    assert_eq!(app.send(app.signed(COMPARE, &document.to_string())).await.code(), "SUCCESS");
}

#[tokio::test]
async fn a_signature_is_good_for_its_own_client_path_time_and_body_only() {
    const OTHER: &str = "2188000000000003";
    let app = TestApp::new().await;
    crate::support::add_client(&app.clients, OTHER, "another app with the same key").await;
    let time = app.now();
    let later = "2026-01-01T00:00:01+0000";
    let cases = [
        ("client", signature_over(OTHER, CHECK, BODY, &time)),
        ("path", signature_over(CLIENT, COMPARE, BODY, &time)),
        ("time", signature_over(CLIENT, CHECK, BODY, later)),
        ("body", signature_over(CLIENT, CHECK, r#"{"title":"hello" }"#, &time)),
    ];
    for (what, signature) in cases {
        let mut request = signed_as(CLIENT, CHECK, BODY, &time);
        request.headers_mut().insert("signature", signature.parse().unwrap());
        assert_eq!(app.send(request).await.code(), "SIGNATURE_INVALID", "another {what}");
    }
}

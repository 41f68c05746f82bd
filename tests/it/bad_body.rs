//! Everything that can be wrong with a body whose signature holds: each mistake has its documented
//! code and a message that names the member, and nothing is stored.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    bad_head::assert_refused,
    support::{Picture, TestApp, pair, stored},
};

const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";

/// Mistakes in a body that is signed as it stands.
fn bodies() -> Vec<(String, &'static str, &'static str)> {
    let jpeg = STANDARD.encode(Picture::Person(1).bytes());
    let whole = pair(Picture::Person(1), Picture::Person(1));
    let with = |pointer: &str, value: Value| {
        let mut changed = whole.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value;
        changed.to_string()
    };
    let without = |pointer: &str| {
        let mut changed = whole.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        changed.to_string()
    };
    let mut cases = vec![
        (String::new(), "PARAM_MISSING", "body"),
        (" \n".to_owned(), "PARAM_MISSING", "body"),
        ("{".to_owned(), "MSG_PARSE_ERROR", "incomplete JSON: it ends at line 1, column 1"),
        (
            "{\n \"bizId\": nothing}".to_owned(),
            "MSG_PARSE_ERROR",
            "is not valid JSON at line 2, column 12",
        ),
        (whole.to_string() + "}", "MSG_PARSE_ERROR", "is not valid JSON at line 1, column "),
        (format!("[{whole}]"), "MSG_PARSE_ERROR", "JSON object"),
        ("[]".to_owned(), "MSG_PARSE_ERROR", "JSON object"),
        ("null".to_owned(), "MSG_PARSE_ERROR", "JSON object"),
        ("\"hello\"".to_owned(), "MSG_PARSE_ERROR", "JSON object"),
        ("hello".to_owned(), "MSG_PARSE_ERROR", "JSON object"),
        ("{}".to_owned(), "INVALID_ARGUMENT", "bizId"),
        (with("/bizId", json!("")), "INVALID_ARGUMENT", "bizId"),
        (with("/bizId", json!("b".repeat(65))), "INVALID_ARGUMENT", "bizId"),
        (with("/userId", json!("u".repeat(65))), "INVALID_ARGUMENT", "userId"),
        (with("/userId", json!(7)), "INVALID_ARGUMENT", "userId"),
        (with("/sourceOfFace2", json!("s".repeat(33))), "INVALID_ARGUMENT", "sourceOfFace2"),
        (with("/sourceOfFace2", json!(["SELFIE"])), "INVALID_ARGUMENT", "sourceOfFace2"),
    ];
    for name in ["bizId", "face1", "face2"] {
        let pointer = format!("/{name}");
        cases.push((without(&pointer), "INVALID_ARGUMENT", name));
        cases.push((with(&pointer, Value::Null), "INVALID_ARGUMENT", name));
        cases.push((with(&pointer, json!(7)), "INVALID_ARGUMENT", name));
        cases.push((with(&pointer, json!([jpeg])), "INVALID_ARGUMENT", name));
    }
    for (pointer, name) in
        [("/face1/content", "face1.content"), ("/face2/content", "face2.content")]
    {
        cases.push((without(pointer), "INVALID_ARGUMENT", name));
        cases.push((with(pointer, Value::Null), "INVALID_ARGUMENT", name));
        cases.push((with(pointer, json!({ "x": 1 })), "INVALID_ARGUMENT", name));
        cases.push((with(pointer, json!("not base64!")), "INVALID_ARGUMENT", name));
        for picture in [b"".as_slice(), b"GIF89a\x01\x00\x01\x00", b"hello", b"%PDF-1.7"] {
            cases.push((with(pointer, json!(STANDARD.encode(picture))), "UNABLE_GET_IMAGE", name));
        }
        let large = [Picture::Person(1).bytes(), vec![0; 5_000]].concat();
        cases.push((with(pointer, json!(STANDARD.encode(large))), "UNABLE_GET_IMAGE", name));
    }
    cases
}

#[tokio::test]
async fn every_mistake_in_the_body_names_its_member_and_leaves_nothing_behind() {
    let app = TestApp::with(|config| config.pictures.max_bytes = 4_096).await;
    let before = stored(&app).await;
    for endpoint in [COMPARE, ASYNC] {
        for (body, code, names) in bodies() {
            let answer = app.send(app.signed(endpoint, &body)).await;
            let shown: String = body.chars().take(80).collect();
            assert_refused(&answer, 200, &shown, (code, names));
            if code == "UNABLE_GET_IMAGE" {
                assert!(answer.message().starts_with("IMAGE_CHECK_FAILED: "), "{}", answer.text);
            }
        }
    }
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn asynccheckresult_wants_a_transaction_id() {
    let app = TestApp::new().await;
    for (body, code) in [
        ("", "PARAM_MISSING"),
        ("[]", "MSG_PARSE_ERROR"),
        ("{}", "INVALID_ARGUMENT"),
        (r#"{"transactionId":null}"#, "INVALID_ARGUMENT"),
        (r#"{"transactionId":""}"#, "INVALID_ARGUMENT"),
        (r#"{"transactionId":7}"#, "INVALID_ARGUMENT"),
        (r#"{"transactionID":"G000000000FID20260101000000000000000000"}"#, "INVALID_ARGUMENT"),
    ] {
        let names = if code == "INVALID_ARGUMENT" { "transactionId" } else { "body" };
        let answer = app.send(app.signed(CHECK, body)).await;
        assert_refused(&answer, 200, body, (code, names));
    }
    let long = json!({ "transactionId": "G".repeat(65) }).to_string();
    let answer = app.send(app.signed(CHECK, &long)).await;
    assert_refused(
        &answer,
        200,
        "long",
        ("INVALID_ARGUMENT", "transactionId has more than 64 bytes"),
    );
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_told_the_limit_and_one_at_the_limit_is_read() {
    const LIMIT: usize = 2_048;
    let app = TestApp::with(|config| config.gate.body_limit = LIMIT).await;
    let before = stored(&app).await;
    for endpoint in [COMPARE, ASYNC] {
        let answer = app.send(app.signed(endpoint, &" ".repeat(LIMIT + 1))).await;
        assert_refused(&answer, 200, "too large", ("UNABLE_GET_IMAGE", "more than 2048 bytes"));
        let answer = app.send(app.signed(endpoint, &" ".repeat(LIMIT))).await;
        assert_refused(&answer, 200, "blank", ("PARAM_MISSING", "body"));
    }
    assert_eq!(stored(&app).await, before);
}

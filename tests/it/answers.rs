//! What every endpoint returns, member for member and in this order.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{Picture, TestApp, add_client, pair, policy, server_key, signed_as, stored};

const COMPARE: &str = "facecompare/compare";
const ASYNC: &str = "facecompare/asynccompare";
const CHECK: &str = "facecompare/asynccheckresult";

#[tokio::test]
async fn asynccompare_is_accepted_as_processing_with_status_s() {
    let app = TestApp::new().await;
    let answer = app.post(ASYNC, &pair(Picture::Person(1), Picture::Person(1))).await;
    assert_snapshot!(answer.masked(), @r#"{"result":{"resultCode":"PROCESSING","resultStatus":"S","resultMessage":"It is still under processing"},"transactionId":"TXN"}"#);
    assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
    assert_eq!(answer.headers["response-time"], "2026-01-01T00:00:00+0000");
    let unfinished = app.check(&answer.transaction_id()).await;
    assert_eq!(unfinished.text, answer.text, "the same words while it is not finished");
}

#[tokio::test]
async fn a_transaction_id_has_the_shape_of_the_vendors() {
    let app = TestApp::new().await;
    let answer = app.post(ASYNC, &pair(Picture::Person(1), Picture::Person(1))).await;
    let id = answer.transaction_id();
    assert!(id.starts_with("G000000000FID20260101") && id.len() == 39, "{id}");
    assert!(id[13..].bytes().all(|b| b.is_ascii_digit()), "{id}");
}

#[tokio::test]
async fn compare_answers_the_documented_members_first_and_extras_after_them() {
    let app = TestApp::new().await;
    let same = app.post(COMPARE, &pair(Picture::Person(1), Picture::Person(1))).await;
    assert_snapshot!(same.masked(), @r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"transactionId":"TXN","score":98.45,"samePerson":true,"face1ImageQualityResult":"PASS","face2ImageQualityResult":"PASS","face1ImageQualityReasons":[],"face2ImageQualityReasons":[],"face1ImageQualityScore":85,"face2ImageQualityScore":85,"threshold":80,"model":"fake","calibration":"test","face1Faces":1,"face2Faces":1,"face1Box":"100,100,150,180","face2Box":"100,100,150,180"}"#);
    let other = app.post(COMPARE, &pair(Picture::Person(1), Picture::Person(2))).await;
    assert_eq!((other.code(), &other.json["samePerson"]), ("SUCCESS", &json!(false)));
    assert!(other.json["score"].as_f64().unwrap() < policy().threshold(), "{}", other.text);
}

#[tokio::test]
async fn a_score_at_the_threshold_is_the_same_person_and_is_printed_without_a_fraction() {
    let app = TestApp::new().await;
    let answer = app.post(COMPARE, &pair(Picture::Borderline, Picture::Person(1))).await;
    assert!(answer.text.contains(r#""score":80,"samePerson":true,"#), "{}", answer.text);
    let checked = app.check(&answer.transaction_id()).await;
    assert!(checked.text.contains(r#""score":80,"samePerson":true,"#), "{}", checked.text);
}

#[tokio::test]
async fn asynccheckresult_has_quality_before_score_and_answers_as_often_as_asked() {
    let app = TestApp::new().await;
    let answer = app.compare_async(Picture::Person(1), Picture::Person(2)).await;
    assert_snapshot!(answer.masked(), @r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"transactionId":"TXN","face1ImageQualityResult":"PASS","face2ImageQualityResult":"PASS","score":36.65,"samePerson":false,"face1ImageQualityReasons":[],"face2ImageQualityReasons":[],"face1ImageQualityScore":85,"face2ImageQualityScore":85,"threshold":80,"model":"fake","calibration":"test","face1Faces":1,"face2Faces":1,"face1Box":"100,100,150,180","face2Box":"100,100,150,180"}"#);
    for _ in 0..3 {
        assert_eq!(app.check(&answer.transaction_id()).await.text, answer.text);
    }
}

#[tokio::test]
async fn a_client_without_extras_gets_the_documented_members_only() {
    let app = TestApp::new().await;
    let with = app.post(COMPARE, &pair(Picture::Person(1), Picture::Person(1))).await;
    app.set_extras(false).await;
    let without = app.post(COMPARE, &pair(Picture::Person(2), Picture::Person(2))).await;
    assert_snapshot!(without.masked(), @r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"transactionId":"TXN","score":98.45,"samePerson":true}"#);
    let checked = app.check(&with.transaction_id()).await;
    assert_snapshot!(checked.masked(), @r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"transactionId":"TXN","face1ImageQualityResult":"PASS","face2ImageQualityResult":"PASS","score":98.45,"samePerson":true}"#);
}

#[tokio::test]
async fn a_picture_of_poor_quality_forces_same_person_to_false_and_the_code_stays_success() {
    let app = TestApp::new().await;
    let probe = app.compare_async(Picture::Blurred(1), Picture::Person(1)).await;
    assert_snapshot!(probe.masked(), @r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"transactionId":"TXN","face1ImageQualityResult":"FAIL","face2ImageQualityResult":"PASS","score":98.45,"samePerson":false,"face1ImageQualityReasons":["BLURRED"],"face2ImageQualityReasons":[],"face1ImageQualityScore":85,"face2ImageQualityScore":85,"threshold":80,"model":"fake","calibration":"test","face1Faces":1,"face2Faces":1,"face1Box":"100,100,150,180","face2Box":"100,100,150,180"}"#);
    let reference = app.post(COMPARE, &pair(Picture::Person(1), Picture::Blurred(1))).await;
    assert_eq!(reference.code(), "SUCCESS");
    assert_eq!(reference.json["samePerson"], false);
    assert_eq!(reference.json["face2ImageQualityResult"], "FAIL");
    app.set_extras(false).await;
    let bare = app.check(&reference.transaction_id()).await;
    assert_eq!(bare.json["samePerson"], false, "the switch changes what is shown and nothing else");
}

#[tokio::test]
async fn a_picture_without_a_face_is_refused_by_its_member_name_and_the_transaction_is_kept() {
    let app = TestApp::new().await;
    let first = app.post(COMPARE, &pair(Picture::Nothing, Picture::Person(1))).await;
    assert_snapshot!(first.masked(), @r#"{"result":{"resultCode":"UNABLE_GET_IMAGE","resultStatus":"F","resultMessage":"NO_FACE: no face was found in face1.content"},"transactionId":"TXN"}"#);
    assert_eq!(app.check(&first.transaction_id()).await.text, first.text);
    let second = app.compare_async(Picture::Person(1), Picture::Nothing).await;
    assert_snapshot!(second.masked(), @r#"{"result":{"resultCode":"UNABLE_GET_IMAGE","resultStatus":"F","resultMessage":"NO_FACE: no face was found in face2.content"},"transactionId":"TXN"}"#);
    assert_eq!(crate::support::payload_rows(app.db.clone()).await, 0);
}

#[tokio::test]
async fn a_transaction_is_shown_to_the_client_that_made_it_and_to_nobody_else() {
    const OTHER: &str = "2188000000000002";
    const UNKNOWN: &str = r#"{"result":{"resultCode":"INVALID_ARGUMENT","resultStatus":"F","resultMessage":"transactionId names no transaction of this client, or one that has expired"}}"#;
    let app = TestApp::new().await;
    add_client(&app.clients, OTHER, "other app").await;
    let mine = app.compare_async(Picture::Person(1), Picture::Person(1)).await.transaction_id();
    let path = format!("/api/v1/zoloz/{CHECK}");
    let body = json!({ "transactionId": mine }).to_string();
    let (theirs, status) = app.send_raw(signed_as(OTHER, &path, &body, &app.now())).await;
    theirs.verify(&path, OTHER, server_key());
    assert_eq!((theirs.text.as_str(), status), (UNKNOWN, 200));
    for id in ["G000000000FID20260101000000000000000000", "nonsense", &mine[1..]] {
        assert_eq!(app.check(id).await.text, UNKNOWN, "{id}");
    }
    assert_eq!(app.check(&mine).await.code(), "SUCCESS");
}

#[tokio::test]
async fn a_transaction_that_failed_for_good_says_so_and_one_that_broke_in_hand_may_be_repeated() {
    const INTERNAL: &str = r#"{"result":{"resultCode":"SYSTEM_ERROR","resultStatus":"U","resultMessage":"internal error; try again"}}"#;
    let app = TestApp::new().await;
    let accepted = app.post(ASYNC, &pair(Picture::Broken, Picture::Person(1))).await;
    for attempt in 0..3 {
        assert_eq!(app.check(&accepted.transaction_id()).await.code(), "PROCESSING", "{attempt}");
        assert_eq!(app.runner.run_until_idle().await, 1);
        app.clock.advance(60_000);
    }
    let dead = app.check(&accepted.transaction_id()).await;
    assert_snapshot!(dead.masked(), @r#"{"result":{"resultCode":"SYSTEM_ERROR","resultStatus":"F","resultMessage":"the comparison failed and was given up"},"transactionId":"TXN"}"#);
    for broken in [Picture::Broken, Picture::Panics] {
        let answer = app.post(COMPARE, &pair(broken, Picture::Person(1))).await;
        assert_eq!(answer.text, INTERNAL);
    }
    let after = app.post(COMPARE, &pair(Picture::Person(1), Picture::Person(1))).await;
    assert_eq!(after.code(), "SUCCESS", "a panic costs one comparison and no thread");
    assert_eq!(stored(&app).await.payloads, 0);
}

#[tokio::test]
async fn the_connectivity_test_answers_both_generations_of_clients_at_once() {
    let app = TestApp::new().await;
    let body = json!({ "title": "hello", "description": "just for demonstration." });
    let answer = app.post("authentication/test", &body).await;
    assert_snapshot!(answer.text, @r#"{"result":{"resultStatus":"S","resultCode":"SUCCESS","resultMessage":"{\"title\":\"hello\",\"description\":\"just for demonstration.\"}"},"title":"hello","description":"just for demonstration."}"#);
    let inner: Value = serde_json::from_str(answer.message()).unwrap();
    assert_eq!(inner, body);
}

#[tokio::test]
async fn health_is_told_unsigned_and_follows_readiness() {
    let app = TestApp::new().await;
    let get = async |path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let (answer, status) = app.send_raw(request).await;
        assert!(!answer.headers.contains_key("signature"));
        (status, answer.text)
    };
    assert_eq!(get("/health/live").await, (200, "live\n".to_owned()));
    assert_eq!(get("/health/ready").await, (200, "ready\n".to_owned()));
    app.state.set_ready(false);
    assert_eq!(get("/health/ready").await.0, 503);
    assert_eq!(get("/health/live").await.0, 200);
}

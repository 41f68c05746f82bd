//! `privacyinfo/delete`: a client deletes its own transactions, with photos and outcome, whatever
//! state they are in.

use std::time::Duration;

use serde_json::{Value, json};
use visavis::compare::{Outcome, Refusal, Side};

use crate::{
    nodes::{Site, call, enqueue, expect_verdict},
    store::bench::is_lost,
    support::{
        Answer, CLIENT, Picture, TestApp, add_client, audit_of, pair, payload_rows, signed_as,
        stored,
    },
};

const DELETE: &str = "/api/v1/zoloz/privacyinfo/delete";
const DELETED: &str =
    r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}"#;

async fn delete(app: &TestApp, id: &str) -> Answer {
    app.post("privacyinfo/delete", &json!({ "transactionId": id })).await
}

async fn accept(app: &TestApp, biz_id: &str) -> String {
    let mut pair = pair(Picture::Person(1), Picture::Person(1));
    pair["bizId"] = json!(biz_id);
    app.post("facecompare/asynccompare", &pair).await.transaction_id()
}

async fn expect_gone(app: &TestApp, id: &str) {
    let unknown = app.check(id).await;
    assert_eq!(unknown.code(), "INVALID_ARGUMENT", "{}", unknown.text);
    assert!(unknown.message().contains("transactionId names no transaction"), "{}", unknown.text);
}

fn outcome() -> Outcome {
    Outcome::Refused { side: Side::Reference, refusal: Refusal::NoFace }
}

#[tokio::test]
async fn a_finished_a_waiting_and_a_running_transaction_are_deleted_with_their_photos() {
    let app = TestApp::new().await;
    let finished = accept(&app, "1").await;
    app.runner.run_until_idle().await;
    let running = accept(&app, "2").await;
    let claimed = app.store.claim(1, "worker", Duration::from_mins(1)).await.unwrap();
    let waiting = accept(&app, "3").await;
    assert_eq!(payload_rows(app.db.clone()).await, 2);
    for id in [&finished, &waiting, &running] {
        let answer = delete(&app, id).await;
        assert_eq!(answer.text, DELETED, "the result alone");
        expect_gone(&app, id).await;
        assert_eq!(delete(&app, id).await.text, DELETED, "it may be repeated");
    }
    assert_eq!(stored(&app).await.transactions, 0);
    assert_eq!(payload_rows(app.db.clone()).await, 0);
    let lease = &claimed[0];
    let late = app.store.complete(lease.job.id, lease.token, &outcome()).await;
    assert!(is_lost(late), "what was deleted has no outcome");
    assert_eq!(app.runner.run_until_idle().await, 0, "nothing is left to do");
    expect_gone(&app, &running).await;
}

#[tokio::test]
async fn a_transaction_of_compare_is_deleted_too() {
    let app = TestApp::new().await;
    let photos = pair(Picture::Person(1), Picture::Person(1));
    let id = app.post("facecompare/compare", &photos).await.transaction_id();
    assert_eq!(app.check(&id).await.code(), "SUCCESS");
    assert_eq!(delete(&app, &id).await.text, DELETED);
    expect_gone(&app, &id).await;
}

#[tokio::test]
async fn a_transaction_of_another_client_stays_and_its_deletion_says_no_more_than_any_other() {
    let app = TestApp::new().await;
    add_client(&app.clients, "2188000000000002", "other").await;
    let id = accept(&app, "1").await;
    let body = json!({ "transactionId": id }).to_string();
    let outsider = signed_as("2188000000000002", DELETE, &body, &app.now());
    let (answer, _) = app.send_raw(outsider).await;
    assert_eq!(answer.text, DELETED);
    assert_eq!(app.check(&id).await.code(), "PROCESSING", "it is still there");
    for unknown in ["G000000000FID20260101000000010000000001", "G999999999FID", "x"] {
        assert_eq!(delete(&app, unknown).await.text, DELETED, "{unknown}");
    }
    assert_eq!(audit_of(&app.clients).await.len(), 2, "the two clients: nothing was erased");
}

#[tokio::test]
async fn what_is_no_transaction_id_is_refused_with_the_documented_code() {
    let app = TestApp::new().await;
    for (body, why) in [
        (json!({}), "is missing"),
        (json!({ "transactionId": null }), "is missing"),
        (json!({ "transactionId": "" }), "is missing"),
        (json!({ "transactionId": 7 }), "must be a string"),
        (json!({ "transactionId": "x".repeat(65) }), "has more than 64 bytes"),
    ] {
        let answer = app.post("privacyinfo/delete", &body).await;
        assert_eq!(answer.code(), "PARAM_ILLEGAL", "{body}: {}", answer.text);
        assert_eq!(answer.message(), format!("transactionId {why}"), "{body}");
    }
    let longest = "x".repeat(64);
    assert_eq!(delete(&app, &longest).await.text, DELETED);
    assert_eq!(app.send(app.signed(DELETE, "[]")).await.code(), "MSG_PARSE_ERROR");
}

#[tokio::test]
async fn a_deletion_is_in_the_audit_with_its_client_and_before_the_photos_are_gone() {
    let app = TestApp::new().await;
    let id = accept(&app, "1").await;
    delete(&app, &id).await;
    delete(&app, &id).await;
    let audit = audit_of(&app.clients).await;
    let shown: Vec<_> =
        audit.iter().map(|e| (e.act.as_str(), e.outcome.as_deref(), e.actor.clone())).collect();
    let client = || format!("client {CLIENT}");
    assert_eq!(shown[0], ("erase", Some("done"), client()));
    assert_eq!(shown[1], ("erase", Some("begun"), client()));
    assert_eq!(shown.len(), 3, "once, after the client itself: {shown:?}");
    assert!(serde_json::to_string(&audit[0]).unwrap().contains(&id));
}

/// Of two databases, each with a client of its own; with front end and workers apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_finds_its_transaction_in_each_of_two_databases_of_postgres() {
    let cluster = crate::support::cluster();
    let urls = vec![
        cluster.url(&cluster.new_database().await),
        cluster.url(&cluster.new_database().await),
    ];
    let site = Site::on(urls);
    tokio::task::block_in_place(|| {
        let clients = [site.add_client("a", &[]), site.add_client("b", &[])];
        let front = site.front_end();
        let waiting = clients.each_ref().map(|keys| enqueue(keys, &front, 1));
        let code = |answer: &Value| answer["result"]["resultCode"].clone();
        for (keys, id) in clients.iter().zip(&waiting) {
            assert_eq!(call(keys, &front, &["delete", id])["result"]["resultStatus"], "S");
            assert_eq!(code(&call(keys, &front, &["asynccheckresult", id])), "INVALID_ARGUMENT");
        }
        let workers = site.workers();
        for keys in &clients {
            let id = enqueue(keys, &front, 2);
            expect_verdict(keys, &front, &id);
            assert_eq!(code(&call(keys, &front, &["delete", &id])), "SUCCESS");
            assert_eq!(code(&call(keys, &front, &["asynccheckresult", &id])), "INVALID_ARGUMENT");
        }
        for (keys, id) in clients.iter().zip(&waiting) {
            assert_eq!(code(&call(keys, &front, &["asynccheckresult", id])), "INVALID_ARGUMENT");
        }
        let audit = site.run(&["audit", "--json"]).json();
        let erased = audit.as_array().unwrap().iter().filter(|entry| {
            assert_ne!(entry["outcome"], "failed");
            entry["act"] == "erase" && entry["outcome"] == "done"
        });
        assert_eq!(erased.clone().count(), 4);
        assert!(erased.clone().all(|entry| entry["from"] == "127.0.0.1"));
        assert_eq!(site.run(&["audit", "verify"]).code, 0);
        assert_eq!((front.terminate(), workers.terminate()), (Some(0), Some(0)));
    });
}

//! A disk that is full, and has room again.

use std::fs;

use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;
use visavis::http::GatewayConfig;

use crate::support::{Disk, Picture, TestApp, left_out_everywhere};

const ASYNC: &str = "facecompare/asynccompare";

/// Pictures of 200 kB, so that they need new pages.
fn pair(number: u32) -> Value {
    let bytes = [Picture::Person(1).bytes(), vec![0; 200_000]].concat();
    let face = json!({ "content": STANDARD.encode(bytes) });
    json!({ "bizId": number.to_string(), "face1": face, "face2": face })
}

async fn is_ready(app: &TestApp) -> bool {
    let request = Request::get("/health/ready").body(Body::empty()).unwrap();
    app.router.clone().oneshot(request).await.unwrap().status().is_success()
}

async fn enqueue(app: &TestApp, number: u32) -> String {
    app.post(ASYNC, &pair(number)).await.text
}

fn large_pictures(config: &mut GatewayConfig) {
    config.gate.body_budget = 32 << 20;
    config.gate.queue.bytes = 64 << 20;
}

/// There is room again, and what was accepted before is not lost.
async fn expect_everything_to_work(app: &TestApp, accepted: &str) {
    for number in 6..=8 {
        let text = enqueue(app, number).await;
        assert!(text.contains("PROCESSING"), "there is room again: {text}");
    }
    assert!(is_ready(app).await);
    app.runner.run_until_idle().await;
    assert_eq!(app.check(accepted).await.code(), "SUCCESS", "what was accepted before");
    app.clients.set_disabled("2188000000000001", false).await.unwrap();
    let compared = app.post("facecompare/compare", &pair(9)).await;
    assert_eq!(compared.code(), "SUCCESS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_full_takes_jobs_again_without_a_restart_and_loses_none() {
    let Some(disk) = Disk::mount(12) else {
        // Not even as root in some containers.
        left_out_everywhere("a full disk: nobody here may mount one; run the tests as root");
        return;
    };
    let folder = TempDir::new_in(disk.path()).unwrap();
    let app = TestApp::in_folder(folder, large_pictures).await;
    let accepted = app.post(ASYNC, &pair(0)).await.transaction_id();
    let filler = disk.fill();
    let mut refused = 0;
    for number in 1..=5 {
        refused += u32::from(enqueue(&app, number).await.contains("SYSTEM_ERROR"));
    }
    assert!(refused > 0, "the disk is not full");
    fs::remove_file(filler).unwrap();
    expect_everything_to_work(&app, &accepted).await;
    drop(app);
    drop(disk);
}

/// The same without a disk of its own, for everyone who may not mount one: `SQLite` is out of room
/// and rolls back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_may_not_grow_takes_jobs_again_without_a_restart_and_loses_none() {
    let app = TestApp::with(large_pictures).await;
    let accepted = app.post(ASYNC, &pair(0)).await.transaction_id();
    let limit = async |pages: i64| {
        let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        let set: i64 = sqlx::query_scalar(limit).fetch_one(&app.db.writer).await.unwrap();
        assert!(set >= pages, "{set}");
    };
    for number in 1..=3 {
        // Of each connection: one that ran out of room is no longer used. No less than there
        // are.
        limit(1).await;
        let text = enqueue(&app, number).await;
        assert!(text.contains("SYSTEM_ERROR"), "there is room for {number}: {text}");
    }
    limit(1 << 30).await;
    expect_everything_to_work(&app, &accepted).await;
}

/// A connection that is left inside a transaction, as a failed rollback leaves it.
#[tokio::test]
async fn a_store_whose_transaction_did_not_end_begins_another_one() {
    let app = TestApp::new().await;
    let mut connection = app.db.writer.acquire().await.unwrap();
    let transaction = sqlx::Connection::begin(&mut *connection).await.unwrap();
    std::mem::forget(transaction);
    drop(connection);
    assert!(is_ready(&app).await);
    assert!(enqueue(&app, 1).await.contains("PROCESSING"));
}

/// There may be no folder for temporary files, and what lies in one is in clear.
#[tokio::test]
async fn the_database_keeps_temporary_data_in_memory() {
    let app = TestApp::new().await;
    for pool in [&app.db.writer, &app.db.readers] {
        let store: i64 = sqlx::query_scalar("PRAGMA temp_store").fetch_one(pool).await.unwrap();
        assert_eq!(store, 2, "2 is MEMORY");
    }
}

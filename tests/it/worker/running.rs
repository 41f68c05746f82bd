//! Jobs that end well.

use std::time::Duration;

use visavis::{
    compare::{Outcome, Refusal, Side},
    queue::{PayloadCache, QueueAdmission, TransactionState},
    shutdown::Shutdown,
    worker::{Maintenance, MaintenanceConfig},
};

use super::{
    gate::{Gate, PATIENCE},
    rig::Rig,
};
use crate::support::{Picture, TestApp};

#[tokio::test]
async fn a_job_is_claimed_run_and_completed() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue(Picture::Person(1), Picture::Person(2)).await;
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
    assert_eq!(rig.run_due().await, 0);
    assert_eq!(rig.gate.begun(), 1);
    assert!(rig.is_clean().await);
}

/// Makes all photos in the database unreadable.
const SPOIL: &str = "UPDATE job_payload SET probe = x'00', reference = x'00'";

#[tokio::test]
async fn what_this_process_accepted_is_compared_without_reading_its_pictures_back() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue(Picture::Person(1), Picture::Person(2)).await;
    rig.bench.database.tamper(SPOIL).await;
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn what_another_process_accepted_is_read() {
    let mut rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue(Picture::Person(1), Picture::Person(2)).await;
    rig.bench.store = rig.bench.neighbour().await;
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
}

#[tokio::test]
async fn a_second_attempt_reads_the_pictures_back() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue(Picture::Person(1), Picture::Person(2)).await;
    let lease = rig.bench.claim_one().await;
    assert!(rig.bench.store.payload(&lease).await.unwrap().is_some());
    rig.bench.retry(&lease, 0).await.unwrap();
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn housekeeping_drops_pictures_that_were_kept_for_too_long() {
    let mut rig = Rig::new(1, Gate::open()).await;
    let cache = PayloadCache::new(1 << 20, Duration::ZERO);
    rig.bench.store = rig.bench.neighbour().await.with_payload_cache(cache);
    let id = rig.enqueue(Picture::Person(1), Picture::Person(2)).await;
    let times =
        MaintenanceConfig { retention: Duration::from_hours(1), every: Duration::from_hours(1) };
    let (trigger, shutdown) = Shutdown::new();
    let house = Maintenance::new(rig.bench.store.clone(), QueueAdmission::default(), times, 0);
    let house = tokio::spawn(house.watch_queue(shutdown));
    // It begins with that.
    tokio::task::yield_now().await;
    trigger.stop();
    tokio::time::timeout(PATIENCE, house).await.unwrap().unwrap();
    rig.bench.database.tamper(SPOIL).await;
    assert_eq!(rig.run_due().await, 1);
    assert!(!rig.is_done(&id).await, "the pictures were still there");
}

#[tokio::test]
async fn every_job_of_a_long_queue_is_run_once() {
    let rig = Rig::new(3, Gate::open()).await;
    let accepted = rig.enqueue_good(20).await;
    assert_eq!(rig.run_due().await, 20);
    assert_eq!(rig.gate.begun(), 20);
    for id in &accepted {
        assert!(rig.is_done(id).await);
    }
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn two_runners_on_one_queue_run_every_job_once() {
    let rig = Rig::new(2, Gate::open()).await;
    let accepted = rig.enqueue_good(20).await;
    let (one, other) = (rig.runner(), rig.runner());
    let (ran, ran_too) = tokio::join!(one.run_until_idle(), other.run_until_idle());
    assert_eq!((ran + ran_too, rig.gate.begun()), (20, 20));
    for id in &accepted {
        assert!(rig.is_done(id).await);
    }
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn a_bad_picture_is_an_outcome_and_not_retried() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue(Picture::Person(1), Picture::Nothing).await;
    assert_eq!(rig.run_due().await, 1);
    let outcome = Outcome::Refused { side: Side::Reference, refusal: Refusal::NoFace };
    assert_eq!(rig.bench.state(&id).await, Some(TransactionState::Done(Box::new(outcome))));
    rig.wait_out_the_delay();
    assert_eq!(rig.run_due().await, 0);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn the_client_is_told_which_picture_was_bad() {
    let app = TestApp::new().await;
    let answer = app.compare_async(Picture::Nothing, Picture::Person(1)).await;
    assert_eq!(answer.code(), "UNABLE_GET_IMAGE");
    assert!(answer.message().contains("face1"), "{}", answer.text);
    app.clock.advance(60_000);
    assert_eq!(app.runner.run_until_idle().await, 0);
}

#[tokio::test]
async fn never_more_jobs_run_than_there_are_threads() {
    let rig = Rig::new(3, Gate::closed()).await;
    rig.enqueue_good(10).await;
    let running = rig.start();
    rig.gate.wait_for(3).await;
    rig.until("SELECT count(*) FROM job WHERE state = 1", 3).await;
    assert_eq!(rig.bench.database.number("SELECT count(*) FROM job WHERE attempt > 0").await, 3);
    rig.gate.unlock();
    rig.gate.wait_for(10).await;
    running.stopped().await;
    assert_eq!(rig.gate.seen().most_inside, 3);
    assert_eq!(rig.gate.begun(), 10);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn a_runner_that_is_woken_does_not_wait_for_the_poll() {
    let rig = Rig::new(1, Gate::open()).await;
    let running = rig.start();
    for round in 1..=3 {
        let id = rig.enqueue_good(1).await.remove(0);
        rig.wake.notify_one();
        rig.gate.wait_for(round).await;
        rig.until("SELECT count(*) FROM job WHERE state = 2", i64::try_from(round).unwrap()).await;
        assert!(rig.is_done(&id).await);
    }
    running.stopped().await;
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn an_accepted_request_wakes_the_runner() {
    let app = TestApp::new().await;
    let (trigger, shutdown) = visavis::shutdown::Shutdown::new();
    let running = tokio::spawn(super::rig::run(app.runner.clone(), shutdown));
    let accepted = app
        .post(
            "facecompare/asynccompare",
            &crate::support::pair(Picture::Person(1), Picture::Person(1)),
        )
        .await;
    let reported = async {
        while app.check(&accepted.transaction_id()).await.code() == "PROCESSING" {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(super::gate::PATIENCE, reported).await.unwrap();
    trigger.stop();
    running.await.unwrap();
    assert_eq!(app.check(&accepted.transaction_id()).await.code(), "SUCCESS");
}

#[tokio::test]
async fn a_runner_that_nobody_wakes_looks_by_itself() {
    let mut rig = Rig::new(1, Gate::open()).await;
    rig.config.poll = Duration::from_millis(5);
    let running = rig.start();
    rig.enqueue_good(1).await;
    rig.gate.wait_for(1).await;
    running.stopped().await;
    assert!(rig.is_clean().await);
}

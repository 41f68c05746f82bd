//! The end of a runner: nothing new begins, nothing is lost.

use std::time::Duration;

use super::{gate::Gate, rig::Rig};

#[tokio::test]
async fn an_idle_runner_stops() {
    let rig = Rig::new(2, Gate::open()).await;
    rig.start().stopped().await;
    let running = rig.start();
    rig.enqueue_good(1).await;
    rig.wake.notify_one();
    rig.gate.wait_for(1).await;
    running.stopped().await;
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn running_jobs_are_finished_before_the_runner_returns() {
    let rig = Rig::new(2, Gate::closed()).await;
    let accepted = rig.enqueue_good(2).await;
    let running = rig.start();
    rig.gate.wait_for(2).await;
    running.request_stop();
    rig.gate.unlock();
    running.stopped().await;
    for id in &accepted {
        assert!(rig.is_done(id).await);
    }
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn jobs_that_wait_are_left_alone_by_a_runner_that_stops() {
    let rig = Rig::new(1, Gate::closed()).await;
    let accepted = rig.enqueue_good(3).await;
    let running = rig.start();
    rig.gate.wait_for(1).await;
    running.request_stop();
    rig.gate.unlock();
    running.stopped().await;
    assert!(rig.is_done(&accepted[0]).await);
    assert_eq!(rig.gate.begun(), 1);
    let left = rig.bench.claim(10).await;
    assert_eq!(crate::store::bench::ids(&left), accepted[1..]);
    assert!(left.iter().all(|lease| lease.job.attempt == 1));
}

#[tokio::test]
async fn a_job_that_does_not_finish_in_time_is_put_back_and_its_attempt_counts() {
    let mut rig = Rig::new(2, Gate::closed()).await;
    rig.config.drain = Duration::from_millis(30);
    let accepted = rig.enqueue_good(2).await;
    let running = rig.start();
    rig.gate.wait_for(2).await;
    running.stopped().await;
    let returned = rig.bench.claim(10).await;
    assert_eq!(crate::store::bench::ids(&returned), accepted);
    assert!(returned.iter().all(|lease| lease.job.attempt == 2 && lease.token == 2));
    rig.gate.unlock();
    for lease in &returned {
        rig.bench.complete(lease).await.unwrap();
    }
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn a_claim_under_way_when_the_runner_stops_strands_no_job() {
    let rig = Rig::new(1, Gate::open()).await;
    rig.enqueue_good(1).await;
    // Another process writes, so that the claim has to wait for the database.
    rig.bench.database.tamper("BEGIN IMMEDIATE").await;
    let running = rig.start();
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.request_stop();
    tokio::task::yield_now().await;
    rig.bench.database.tamper("COMMIT").await;
    running.stopped().await;
    // A process that comes next on this connection sees what the claim came to.
    rig.bench.store.purge(Duration::ZERO, 0).await.unwrap();
    let stranded = "SELECT count(*) FROM job WHERE state = 1 OR (state = 0 AND attempt > 0)";
    assert_eq!(rig.bench.database.number(stranded).await, 0);
}

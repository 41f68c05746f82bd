//! Leases in the hands of the runner: taken over from the dead, renewed by the living, lost.

use std::time::Duration;

use super::{gate::Gate, rig::Rig};
use crate::store::bench::{LEASE, NOW, done};

#[tokio::test]
async fn the_job_of_a_process_that_died_is_taken_over_after_the_lease() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue_good(1).await.remove(0);
    drop(rig.bench.neighbour().await.claim(1, "dead", LEASE).await.unwrap());
    assert_eq!(rig.run_due().await, 0);
    rig.bench.advance(LEASE);
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn a_job_that_killed_three_processes_is_given_up_without_being_run() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue_good(1).await.remove(0);
    for _ in 1..=3 {
        rig.bench.claim_one().await;
        rig.bench.advance(LEASE);
    }
    rig.run_due().await;
    assert!(rig.is_dead(&id).await);
    assert_eq!(rig.gate.begun(), 0);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn the_outcome_of_a_runner_that_lost_its_lease_is_dropped() {
    let rig = Rig::new(1, Gate::closed()).await;
    let id = rig.enqueue_good(1).await.remove(0);
    let running = rig.start();
    rig.gate.wait_for(1).await;
    rig.bench.advance(LEASE);
    let other = rig.bench.claim_one().await;
    rig.gate.unlock();
    running.stopped().await;
    assert!(!rig.is_done(&id).await);
    rig.bench.complete(&other).await.unwrap();
    assert_eq!(rig.bench.state(&id).await, Some(done()));
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn the_failure_of_a_runner_that_lost_its_lease_disturbs_nobody() {
    let mut rig = Rig::new(1, Gate::closed()).await;
    rig.config.job_deadline = Duration::from_millis(200);
    let id = rig.enqueue_good(1).await.remove(0);
    let running = rig.start();
    rig.gate.wait_for(1).await;
    rig.bench.advance(LEASE);
    let other = rig.bench.claim_one().await;
    running.request_stop();
    running.stopped().await;
    assert!(rig.bench.renew(&other).await, "the other one still holds the job");
    rig.bench.complete(&other).await.unwrap();
    assert_eq!(rig.bench.state(&id).await, Some(done()));
    rig.gate.unlock();
}

#[tokio::test]
async fn the_lease_of_a_running_job_is_renewed_and_ends_with_it() {
    let mut rig = Rig::new(1, Gate::closed()).await;
    rig.config.lease = Duration::from_secs(3);
    rig.enqueue_good(1).await;
    let running = rig.start();
    rig.gate.wait_for(1).await;
    rig.bench.clock.advance(2_999);
    rig.until("SELECT due_at FROM job", NOW + 2_999 + 3_000).await;
    assert!(rig.bench.claim(1).await.is_empty());
    rig.gate.unlock();
    running.stopped().await;
    assert!(rig.is_clean().await);
}

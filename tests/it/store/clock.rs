//! The clock of the database is set forward or back by an hour while jobs wait, run and pause.

use std::time::Duration;

use super::bench::{Bench, LEASE};

const HOUR_MS: i64 = 3_600_000;
const SECOND: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_mins(1);

on_every_store! {
    a_waiting_job_is_due_although_the_clock_was_set_back,
    a_waiting_job_is_due_in_a_process_that_starts_after_the_step,
    a_job_handed_back_is_due_although_the_clock_was_set_back,
    a_lease_that_is_renewed_survives_every_step,
    a_lease_that_nobody_renews_ends_after_a_step_back,
    a_lease_that_nobody_renews_ends_after_a_step_forward,
    a_lease_from_before_a_step_back_ends_in_a_process_that_starts_after_it,
    a_paused_job_waits_for_its_pause_and_no_hour_after_a_step_back,
    a_paused_job_waits_for_its_pause_after_a_step_forward,
}

/// The store has read the clock before someone sets it.
async fn set_clock(bench: &Bench, millis: i64) {
    bench.store.watch_clock().await.unwrap();
    bench.clock.step(millis);
}

/// Time passes as in a running process, which reads the clock every second.
async fn pass(bench: &Bench, time: Duration) {
    for _ in 0..time.as_secs() {
        bench.advance(SECOND);
        bench.store.watch_clock().await.unwrap();
    }
}

async fn a_waiting_job_is_due_although_the_clock_was_set_back(bench: &mut Bench) {
    bench.enqueue_many(3).await;
    set_clock(bench, -HOUR_MS).await;
    assert_eq!(bench.claim(5).await.len(), 3);
}

async fn a_waiting_job_is_due_in_a_process_that_starts_after_the_step(bench: &mut Bench) {
    bench.enqueue().await;
    bench.clock.step(-HOUR_MS);
    bench.restart().await;
    bench.claim_one().await;
}

async fn a_job_handed_back_is_due_although_the_clock_was_set_back(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.hand_back(&lease).await.unwrap();
    set_clock(bench, -HOUR_MS).await;
    let lease = bench.claim_one().await;
    bench.retry(&lease, 0).await.unwrap();
    set_clock(bench, -HOUR_MS).await;
    bench.claim_one().await;
}

async fn a_lease_that_is_renewed_survives_every_step(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    for step in [HOUR_MS, -HOUR_MS, -HOUR_MS, HOUR_MS, 5_000, -5_000] {
        set_clock(bench, step).await;
        for _ in 0..12 {
            assert!(bench.claim(1).await.is_empty(), "claimed twice after {step} ms");
            pass(bench, LEASE / 3).await;
            assert!(bench.claim(1).await.is_empty(), "claimed twice after {step} ms");
            assert!(bench.renew(&lease).await);
        }
    }
}

async fn a_lease_that_nobody_renews_ends_after_a_step_back(bench: &mut Bench) {
    bench.running().await;
    set_clock(bench, -HOUR_MS).await;
    pass(bench, LEASE + SECOND).await;
    bench.claim_one().await;
}

async fn a_lease_that_nobody_renews_ends_after_a_step_forward(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    set_clock(bench, HOUR_MS).await;
    assert!(bench.renew(&lease).await);
    pass(bench, LEASE + SECOND * 2).await;
    bench.claim_one().await;
}

async fn a_lease_from_before_a_step_back_ends_in_a_process_that_starts_after_it(bench: &mut Bench) {
    bench.running().await;
    bench.clock.step(-HOUR_MS);
    bench.restart().await;
    pass(bench, LEASE + SECOND).await;
    bench.claim_one().await;
}

async fn a_paused_job_waits_for_its_pause_and_no_hour_after_a_step_back(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.retry(&lease, PAUSE.as_secs()).await.unwrap();
    set_clock(bench, -HOUR_MS).await;
    pass(bench, PAUSE.saturating_sub(SECOND)).await;
    assert!(bench.claim(1).await.is_empty());
    pass(bench, SECOND * 2).await;
    bench.claim_one().await;
}

async fn a_paused_job_waits_for_its_pause_after_a_step_forward(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.retry(&lease, PAUSE.as_secs()).await.unwrap();
    set_clock(bench, HOUR_MS).await;
    assert!(bench.claim(1).await.is_empty());
    pass(bench, PAUSE + SECOND).await;
    bench.claim_one().await;
}

//! Recovery after a crash, retention, and the numbers that admission goes by.

use std::time::Duration;

use visavis::queue::{Depth, TransactionState};

use super::bench::{Bench, LEASE, NOW, done, ids, is_lost, pictures};

const HOUR: Duration = Duration::from_hours(1);

on_every_store! {
    after_a_crash_running_jobs_are_taken_up_at_once,
    without_recovery_a_crashed_job_waits_for_the_end_of_its_lease,
    recovery_says_how_many_jobs_were_running,
    recovery_leaves_waiting_retries_and_finished_jobs_alone,
    a_recovered_job_keeps_its_attempts,
    a_worker_from_before_the_recovery_cannot_complete_what_was_claimed_since,
    finished_transactions_go_when_they_are_old_enough,
    retention_counts_from_the_end_and_not_from_the_beginning,
    dead_transactions_go_too,
    unfinished_transactions_never_go,
    no_more_go_at_once_than_asked_for,
    nothing_to_delete_deletes_nothing,
    an_empty_queue_has_no_depth,
    the_depth_counts_queued_and_running_jobs_with_their_bytes,
    finished_jobs_are_no_part_of_the_depth,
    the_oldest_job_is_the_one_accepted_first,
}

async fn after_a_crash_running_jobs_are_taken_up_at_once(bench: &mut Bench) {
    let accepted = bench.enqueue_many(3).await;
    bench.claim(2).await;
    bench.crash().await;
    assert_eq!(bench.store.recover().await.unwrap(), 2);
    assert_eq!(ids(&bench.claim(10).await), accepted);
}

async fn without_recovery_a_crashed_job_waits_for_the_end_of_its_lease(bench: &mut Bench) {
    bench.running().await;
    bench.crash().await;
    assert!(bench.claim(1).await.is_empty());
    bench.advance(LEASE);
    assert_eq!(bench.claim(1).await.len(), 1);
}

async fn recovery_says_how_many_jobs_were_running(bench: &mut Bench) {
    assert_eq!(bench.store.recover().await.unwrap(), 0);
    bench.enqueue_many(5).await;
    assert_eq!(bench.store.recover().await.unwrap(), 0);
    bench.claim(4).await;
    assert_eq!(bench.store.recover().await.unwrap(), 4);
}

async fn recovery_leaves_waiting_retries_and_finished_jobs_alone(bench: &mut Bench) {
    let (_, failed) = bench.running().await;
    bench.retry(&failed, 60).await.unwrap();
    let (id, finished) = bench.running().await;
    bench.complete(&finished).await.unwrap();
    let (dead_id, dead) = bench.running().await;
    bench.bury(&dead).await.unwrap();
    assert_eq!(bench.store.recover().await.unwrap(), 0);
    assert!(bench.claim(10).await.is_empty());
    assert_eq!(bench.state(&id).await, Some(done()));
    assert_eq!(bench.state(&dead_id).await, Some(TransactionState::Dead));
}

async fn a_recovered_job_keeps_its_attempts(bench: &mut Bench) {
    bench.enqueue().await;
    for attempt in 1..=4 {
        assert_eq!(bench.claim_one().await.job.attempt, attempt);
        bench.crash().await;
        bench.store.recover().await.unwrap();
    }
}

async fn a_worker_from_before_the_recovery_cannot_complete_what_was_claimed_since(
    bench: &mut Bench,
) {
    let (id, before) = bench.running().await;
    bench.store.recover().await.unwrap();
    let since = bench.claim_one().await;
    assert!(is_lost(bench.complete(&before).await));
    bench.complete(&since).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn finished_transactions_go_when_they_are_old_enough(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    bench.advance(HOUR);
    assert_eq!(bench.store.purge(HOUR, 10).await.unwrap(), 0);
    assert_eq!(bench.state(&id).await, Some(done()));
    bench.clock.advance(1);
    assert_eq!(bench.store.purge(HOUR, 10).await.unwrap(), 1);
    assert_eq!(bench.state(&id).await, None);
}

async fn retention_counts_from_the_end_and_not_from_the_beginning(bench: &mut Bench) {
    bench.enqueue().await;
    bench.advance(HOUR * 5);
    bench.complete(&bench.claim_one().await).await.unwrap();
    assert_eq!(bench.store.purge(HOUR, 10).await.unwrap(), 0);
}

async fn dead_transactions_go_too(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    bench.advance(HOUR * 2);
    assert_eq!(bench.store.purge(HOUR, 10).await.unwrap(), 1);
    assert_eq!(bench.state(&id).await, None);
}

async fn unfinished_transactions_never_go(bench: &mut Bench) {
    bench.enqueue_many(3).await;
    let leases = bench.claim(2).await;
    bench.retry(&leases[0], 1).await.unwrap();
    bench.advance(HOUR * 24 * 365);
    assert_eq!(bench.store.purge(Duration::ZERO, 10).await.unwrap(), 0);
    assert_eq!(bench.claim(10).await.len(), 3);
}

async fn no_more_go_at_once_than_asked_for(bench: &mut Bench) {
    let mut finished = Vec::new();
    for _ in 0..5 {
        let (id, lease) = bench.running().await;
        bench.complete(&lease).await.unwrap();
        bench.clock.advance(1_000);
        finished.push(id);
    }
    bench.advance(HOUR);
    assert_eq!(bench.store.purge(HOUR, 0).await.unwrap(), 0);
    assert_eq!(bench.store.purge(HOUR, 2).await.unwrap(), 2);
    for (n, id) in finished.iter().enumerate() {
        assert_eq!(bench.state(id).await.is_some(), n >= 2, "the oldest go first");
    }
    assert_eq!(bench.store.purge(HOUR, 10).await.unwrap(), 3);
}

async fn nothing_to_delete_deletes_nothing(bench: &mut Bench) {
    assert_eq!(bench.store.purge(Duration::ZERO, 10).await.unwrap(), 0);
}

async fn an_empty_queue_has_no_depth(bench: &mut Bench) {
    assert_eq!(bench.store.depth().await.unwrap(), Depth::default());
}

async fn the_depth_counts_queued_and_running_jobs_with_their_bytes(bench: &mut Bench) {
    bench.enqueue_this(&pictures(vec![1; 100], vec![2; 20])).await;
    bench.clock.advance(500);
    bench.enqueue_this(&pictures(vec![1; 3], vec![2; 4])).await;
    let full = Depth { jobs: 2, bytes: 127, oldest: Some(NOW) };
    assert_eq!(bench.store.depth().await.unwrap(), full);
    let leases = bench.claim(1).await;
    assert_eq!(bench.store.depth().await.unwrap(), full);
    bench.retry(&leases[0], 60).await.unwrap();
    assert_eq!(bench.store.depth().await.unwrap(), full);
}

async fn finished_jobs_are_no_part_of_the_depth(bench: &mut Bench) {
    bench.enqueue_many(2).await;
    let leases = bench.claim(2).await;
    bench.complete(&leases[0]).await.unwrap();
    bench.bury(&leases[1]).await.unwrap();
    assert_eq!(bench.store.depth().await.unwrap(), Depth::default());
}

async fn the_oldest_job_is_the_one_accepted_first(bench: &mut Bench) {
    let (_, first) = bench.running().await;
    bench.clock.advance(1_000);
    bench.enqueue().await;
    bench.retry(&first, 3_600).await.unwrap();
    assert_eq!(bench.store.depth().await.unwrap().oldest, Some(NOW));
    bench.complete(&bench.claim_one().await).await.unwrap();
    bench.advance(HOUR);
    bench.complete(&bench.claim_one().await).await.unwrap();
    assert_eq!(bench.store.depth().await.unwrap().oldest, None);
}

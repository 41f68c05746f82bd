//! How a claim ends: completed, put back for later, handed back, buried.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use visavis::queue::TransactionState;

use super::bench::{Bench, LEASE, done, ids, request};

on_every_store! {
    a_completed_job_is_done_and_without_pictures,
    a_buried_job_is_dead_and_without_pictures,
    no_reader_ever_sees_a_finished_job_with_its_pictures,
    a_completed_job_stays_completed_after_a_crash,
    a_buried_job_stays_buried_after_a_crash,
    completing_one_job_leaves_the_others_alone,
    burying_one_job_leaves_the_others_alone,
    a_retry_is_not_due_before_its_delay_is_over,
    a_retry_without_delay_is_due_at_once,
    a_retry_keeps_the_pictures,
    a_retry_is_put_back_after_a_crash_too,
    a_job_handed_back_is_due_at_once,
    a_job_handed_back_keeps_its_pictures,
    a_job_handed_back_goes_to_another_process,
    after_retries_a_job_completes_like_any_other,
    deleting_a_job_deletes_its_pictures,
}

async fn a_completed_job_is_done_and_without_pictures(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    assert_eq!(bench.payload_rows().await, 1);
    bench.complete(&lease).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(done()));
    assert_eq!(bench.payload_rows().await, 0);
}

async fn a_buried_job_is_dead_and_without_pictures(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(TransactionState::Dead));
    assert_eq!(bench.payload_rows().await, 0);
}

async fn no_reader_ever_sees_a_finished_job_with_its_pictures(bench: &mut Bench) {
    const LEFT: &str = "SELECT count(*) FROM job JOIN job_payload ON job_payload.job_id = job.id \
                        WHERE state IN (2, 3)";
    bench.enqueue_many(100).await;
    let leases = bench.claim(100).await;
    let (looks, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = tokio::spawn({
        let (store, looks, over) = (bench.store.clone(), Arc::clone(&looks), Arc::clone(&over));
        async move {
            for (n, lease) in leases.iter().enumerate() {
                let (id, token) = (lease.job.id, lease.token);
                match n % 2 {
                    0 => store.complete(id, token, &super::bench::refused()).await.unwrap(),
                    _ => store.bury(id, token).await.unwrap(),
                }
                // Every tenth write waits for the reader, so that it looks all along.
                while looks.load(Ordering::SeqCst) < n / 10 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            over.store(true, Ordering::SeqCst);
        }
    });
    while !over.load(Ordering::SeqCst) {
        assert_eq!(bench.database.number(LEFT).await, 0);
        looks.fetch_add(1, Ordering::SeqCst);
    }
    writing.await.unwrap();
}

async fn a_completed_job_stays_completed_after_a_crash(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    bench.crash().await;
    bench.store.recover().await.unwrap();
    assert_eq!(bench.state(&id).await, Some(done()));
    assert!(bench.claim(1).await.is_empty());
}

async fn a_buried_job_stays_buried_after_a_crash(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    bench.crash().await;
    bench.store.recover().await.unwrap();
    assert_eq!(bench.state(&id).await, Some(TransactionState::Dead));
    assert!(bench.claim(1).await.is_empty());
}

async fn completing_one_job_leaves_the_others_alone(bench: &mut Bench) {
    let accepted = bench.enqueue_many(3).await;
    let leases = bench.claim(3).await;
    bench.complete(&leases[1]).await.unwrap();
    assert_eq!(bench.state(&accepted[0]).await, Some(TransactionState::Processing));
    assert_eq!(bench.state(&accepted[2]).await, Some(TransactionState::Processing));
    assert!(bench.read(&leases[0]).await.unwrap().is_some());
    assert!(bench.read(&leases[2]).await.unwrap().is_some());
}

async fn burying_one_job_leaves_the_others_alone(bench: &mut Bench) {
    let accepted = bench.enqueue_many(2).await;
    let leases = bench.claim(2).await;
    bench.bury(&leases[0]).await.unwrap();
    bench.complete(&leases[1]).await.unwrap();
    assert_eq!(bench.state(&accepted[1]).await, Some(done()));
}

async fn a_retry_is_not_due_before_its_delay_is_over(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.retry(&lease, 60).await.unwrap();
    bench.clock.advance(59_999);
    assert!(bench.claim(1).await.is_empty());
    bench.clock.advance(1);
    assert_eq!(ids(&bench.claim(1).await), [id]);
}

async fn a_retry_without_delay_is_due_at_once(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.retry(&lease, 0).await.unwrap();
    assert_eq!(ids(&bench.claim(1).await), [id]);
}

async fn a_retry_keeps_the_pictures(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.retry(&lease, 0).await.unwrap();
    let opened = bench.read(&bench.claim_one().await).await.unwrap();
    assert_eq!(opened, Some(request(1)));
}

async fn a_retry_is_put_back_after_a_crash_too(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.retry(&lease, 60).await.unwrap();
    bench.crash().await;
    assert!(bench.claim(1).await.is_empty());
    bench.clock.advance(60_000);
    let lease = bench.claim_one().await;
    assert_eq!((lease.job.transaction_id, lease.job.attempt), (id, 2));
}

async fn a_job_handed_back_is_due_at_once(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.hand_back(&lease).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(TransactionState::Processing));
    assert_eq!(ids(&bench.claim(1).await), [id]);
}

async fn a_job_handed_back_keeps_its_pictures(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.hand_back(&lease).await.unwrap();
    let opened = bench.read(&bench.claim_one().await).await.unwrap();
    assert_eq!(opened, Some(request(1)));
}

async fn a_job_handed_back_goes_to_another_process(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.hand_back(&lease).await.unwrap();
    let taken = bench.neighbour().await.claim(1, "other", LEASE).await.unwrap();
    assert_eq!(ids(&taken), std::slice::from_ref(&id));
    bench.complete(&taken[0]).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn after_retries_a_job_completes_like_any_other(bench: &mut Bench) {
    let id = bench.enqueue().await;
    for _ in 0..2 {
        bench.retry(&bench.claim_one().await, 1).await.unwrap();
        bench.clock.advance(1_000);
    }
    let lease = bench.claim_one().await;
    assert_eq!(lease.job.attempt, 3);
    bench.complete(&lease).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn deleting_a_job_deletes_its_pictures(bench: &mut Bench) {
    bench.enqueue_many(2).await;
    bench.database.tamper("DELETE FROM job WHERE id = (SELECT min(id) FROM job)").await;
    assert_eq!(bench.payload_rows().await, 1);
}

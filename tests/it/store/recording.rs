//! Transactions that were finished before they were stored.

use visavis::queue::Accepted;

use super::bench::{Bench, LEASE, done, new_job, refused, request};

on_every_store! {
    a_recorded_transaction_is_done,
    recording_leaves_no_picture,
    a_recorded_transaction_is_never_claimed,
    a_recorded_transaction_survives_a_crash,
    a_recorded_transaction_is_recorded_once,
    a_recorded_transaction_is_not_queued_again,
    what_is_queued_already_is_not_recorded_beside_it,
    a_recorded_transaction_goes_with_age,
}

async fn record(bench: &Bench, digest: Option<u8>) -> Accepted {
    let (id, request) = (bench.new_id(), request(1));
    bench.store.record(&new_job(&id, &request, digest), &refused()).await.unwrap()
}

async fn a_recorded_transaction_is_done(bench: &mut Bench) {
    let Accepted::New(id) = record(bench, None).await else { panic!("not recorded") };
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn recording_leaves_no_picture(bench: &mut Bench) {
    record(bench, None).await;
    assert_eq!(bench.payload_rows().await, 0);
    let at_rest = bench.database.at_rest().await;
    assert!(memchr::memmem::find(&at_rest, b"the probe").is_none());
    assert_eq!(bench.store.depth().await.unwrap().jobs, 0);
}

async fn a_recorded_transaction_is_never_claimed(bench: &mut Bench) {
    record(bench, None).await;
    bench.advance(LEASE * 1_000);
    assert_eq!(bench.store.recover().await.unwrap(), 0);
    assert!(bench.claim(10).await.is_empty());
}

async fn a_recorded_transaction_survives_a_crash(bench: &mut Bench) {
    let id = record(bench, None).await.transaction_id().clone();
    bench.crash().await;
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn a_recorded_transaction_is_recorded_once(bench: &mut Bench) {
    let first = record(bench, Some(1)).await.transaction_id().clone();
    assert_eq!(record(bench, Some(1)).await, Accepted::Duplicate(first));
}

async fn a_recorded_transaction_is_not_queued_again(bench: &mut Bench) {
    let first = record(bench, Some(1)).await.transaction_id().clone();
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first));
    assert_eq!(bench.payload_rows().await, 0);
}

async fn what_is_queued_already_is_not_recorded_beside_it(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    assert_eq!(record(bench, Some(1)).await, Accepted::Duplicate(first.clone()));
    assert_ne!(bench.state(&first).await, Some(done()));
}

async fn a_recorded_transaction_goes_with_age(bench: &mut Bench) {
    let id = record(bench, None).await.transaction_id().clone();
    bench.advance(LEASE);
    assert_eq!(bench.store.purge(LEASE, 10).await.unwrap(), 0);
    bench.clock.advance(1);
    assert_eq!(bench.store.purge(LEASE, 10).await.unwrap(), 1);
    assert_eq!(bench.state(&id).await, None);
}

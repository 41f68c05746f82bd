//! One signed request is one transaction, however often it arrives.

use visavis::queue::{Accepted, TransactionState};

use super::bench::{Bench, LEASE, done, ids, new_job, refused, request};

on_every_store! {
    a_repetition_is_the_first_transaction,
    the_pictures_of_a_repetition_are_not_stored,
    another_digest_is_another_transaction,
    without_a_digest_every_request_is_a_transaction,
    a_repetition_is_known_after_a_restart,
    a_repetition_is_known_after_a_crash,
    a_repetition_of_a_running_job_starts_nothing,
    a_repetition_of_a_finished_job_is_the_finished_one,
    a_repetition_of_a_dead_job_does_not_revive_it,
    a_digest_is_free_again_once_its_transaction_is_gone,
    of_many_repetitions_at_once_one_is_stored,
    a_digest_can_be_looked_up,
    a_digest_that_was_never_stored_is_not_found,
}

async fn a_repetition_is_the_first_transaction(bench: &mut Bench) {
    let Accepted::New(first) = bench.enqueue_signed(1).await else { panic!("not stored") };
    bench.advance(LEASE);
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first.clone()));
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first));
}

async fn the_pictures_of_a_repetition_are_not_stored(bench: &mut Bench) {
    for _ in 0..3 {
        bench.enqueue_signed(1).await;
    }
    assert_eq!(bench.payload_rows().await, 1);
    assert_eq!(bench.claim(10).await.len(), 1);
}

async fn another_digest_is_another_transaction(bench: &mut Bench) {
    let mut stored = Vec::new();
    for digest in 1..=3 {
        let accepted = bench.enqueue_signed(digest).await;
        assert!(matches!(accepted, Accepted::New(_)));
        stored.push(accepted.transaction_id().clone());
    }
    assert_eq!(ids(&bench.claim(10).await), stored);
}

async fn without_a_digest_every_request_is_a_transaction(bench: &mut Bench) {
    let stored = bench.enqueue_many(3).await;
    assert_eq!(ids(&bench.claim(10).await), stored);
}

async fn a_repetition_is_known_after_a_restart(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    bench.restart().await;
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first));
}

async fn a_repetition_is_known_after_a_crash(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    bench.crash().await;
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first));
}

async fn a_repetition_of_a_running_job_starts_nothing(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    let lease = bench.claim_one().await;
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first));
    assert!(bench.claim(10).await.is_empty());
    bench.complete(&lease).await.unwrap();
}

async fn a_repetition_of_a_finished_job_is_the_finished_one(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    bench.complete(&bench.claim_one().await).await.unwrap();
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first.clone()));
    assert!(bench.claim(10).await.is_empty());
    assert_eq!(bench.state(&first).await, Some(done()));
}

async fn a_repetition_of_a_dead_job_does_not_revive_it(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    bench.bury(&bench.claim_one().await).await.unwrap();
    assert_eq!(bench.enqueue_signed(1).await, Accepted::Duplicate(first.clone()));
    assert_eq!(bench.state(&first).await, Some(TransactionState::Dead));
}

async fn a_digest_is_free_again_once_its_transaction_is_gone(bench: &mut Bench) {
    bench.enqueue_signed(1).await;
    bench.complete(&bench.claim_one().await).await.unwrap();
    bench.advance(LEASE);
    assert_eq!(bench.store.purge(LEASE / 2, 10).await.unwrap(), 1);
    assert!(matches!(bench.enqueue_signed(1).await, Accepted::New(_)));
}

async fn of_many_repetitions_at_once_one_is_stored(bench: &mut Bench) {
    let mut accepting = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let store = bench.neighbour().await;
        for _ in 0..10 {
            let (store, id) = (store.clone(), bench.new_id());
            accepting.spawn(async move {
                let request = request(1);
                store.enqueue(&new_job(&id, &request, Some(1))).await.unwrap()
            });
        }
    }
    let answers = accepting.join_all().await;
    let stored: Vec<_> = answers.iter().filter(|a| matches!(a, Accepted::New(_))).collect();
    let [Accepted::New(first)] = stored[..] else { panic!("{} were stored", stored.len()) };
    assert!(answers.iter().all(|answer| answer.transaction_id() == first));
    assert_eq!(bench.payload_rows().await, 1);
}

async fn a_digest_can_be_looked_up(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await.transaction_id().clone();
    let (second, other) = (bench.new_id(), request(2));
    bench.store.record(&new_job(&second, &other, Some(2)), &refused()).await.unwrap();
    assert_eq!(bench.store.find_duplicate(&[1; 32]).await.unwrap(), Some(first));
    assert_eq!(bench.store.find_duplicate(&[2; 32]).await.unwrap(), Some(second));
}

async fn a_digest_that_was_never_stored_is_not_found(bench: &mut Bench) {
    bench.enqueue().await;
    bench.enqueue_signed(1).await;
    assert_eq!(bench.store.find_duplicate(&[2; 32]).await.unwrap(), None);
}

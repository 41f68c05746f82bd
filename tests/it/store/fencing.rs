//! A worker that lost its lease no longer changes anything.

use visavis::{
    compare::{Outcome, Refusal, Side},
    queue::TransactionState,
};

use super::bench::{Bench, LEASE, done, is_lost};

on_every_store! {
    a_worker_that_lost_its_lease_cannot_complete_the_job,
    a_worker_that_lost_its_lease_cannot_put_the_job_back,
    a_worker_that_lost_its_lease_cannot_bury_the_job,
    a_worker_that_lost_its_lease_cannot_hand_the_job_back,
    a_worker_that_lost_its_lease_cannot_renew_it,
    a_token_from_the_future_is_no_better_than_an_outdated_one,
    the_token_of_one_job_is_worth_nothing_for_another,
    an_unknown_job_cannot_be_written_to,
    a_job_is_completed_once,
    a_completed_job_cannot_be_put_back_or_buried,
    a_buried_job_cannot_be_completed,
    a_job_that_was_put_back_cannot_be_completed_before_it_is_claimed_again,
    of_two_completions_at_once_one_holds,
    a_lease_that_ran_out_but_that_nobody_took_still_completes,
    a_lease_of_a_purged_job_is_worth_nothing_for_its_successors,
}

fn another_outcome() -> Outcome {
    Outcome::Refused { side: Side::Reference, refusal: Refusal::NoFace }
}

/// The holder is not disturbed by what the stale worker tried.
async fn the_holder_still_completes(bench: &Bench, case: &Held) {
    assert_eq!(bench.state(&case.id).await, Some(TransactionState::Processing));
    assert!(bench.claim(1).await.is_empty());
    bench.complete(&case.holder).await.unwrap();
    assert_eq!(bench.state(&case.id).await, Some(done()));
}

struct Held {
    id: visavis::compare::TransactionId,
    stale: visavis::queue::Lease,
    holder: visavis::queue::Lease,
}

async fn held(bench: &Bench) -> Held {
    let (id, stale, holder) = bench.taken_over().await;
    Held { id, stale, holder }
}

async fn a_worker_that_lost_its_lease_cannot_complete_the_job(bench: &mut Bench) {
    let case = held(bench).await;
    let (id, token) = (case.stale.job.id, case.stale.token);
    assert!(is_lost(bench.store.complete(id, token, &another_outcome()).await));
    the_holder_still_completes(bench, &case).await;
    assert!(is_lost(bench.store.complete(id, token, &another_outcome()).await));
    assert_eq!(bench.state(&case.id).await, Some(done()));
}

async fn a_worker_that_lost_its_lease_cannot_put_the_job_back(bench: &mut Bench) {
    let case = held(bench).await;
    assert!(is_lost(bench.retry(&case.stale, 0).await));
    the_holder_still_completes(bench, &case).await;
}

async fn a_worker_that_lost_its_lease_cannot_bury_the_job(bench: &mut Bench) {
    let case = held(bench).await;
    assert!(is_lost(bench.bury(&case.stale).await));
    the_holder_still_completes(bench, &case).await;
}

async fn a_worker_that_lost_its_lease_cannot_hand_the_job_back(bench: &mut Bench) {
    let case = held(bench).await;
    assert!(is_lost(bench.hand_back(&case.stale).await));
    the_holder_still_completes(bench, &case).await;
}

async fn a_worker_that_lost_its_lease_cannot_renew_it(bench: &mut Bench) {
    let case = held(bench).await;
    bench.advance(LEASE / 2);
    assert!(!bench.renew(&case.stale).await);
    bench.advance(LEASE / 2);
    assert_eq!(bench.claim_one().await.job.attempt, 3);
}

async fn a_token_from_the_future_is_no_better_than_an_outdated_one(bench: &mut Bench) {
    let (id, mut lease) = bench.running().await;
    lease.token += 1;
    assert!(is_lost(bench.complete(&lease).await));
    assert!(is_lost(bench.bury(&lease).await));
    assert!(!bench.renew(&lease).await);
    assert_eq!(bench.state(&id).await, Some(TransactionState::Processing));
}

async fn the_token_of_one_job_is_worth_nothing_for_another(bench: &mut Bench) {
    let (_, _, often) = bench.taken_over().await;
    let (id, mut other) = bench.running().await;
    assert_ne!(often.token, other.token);
    other.token = often.token;
    assert!(is_lost(bench.complete(&other).await));
    assert_eq!(bench.state(&id).await, Some(TransactionState::Processing));
}

async fn an_unknown_job_cannot_be_written_to(bench: &mut Bench) {
    let (id, mut lease) = bench.running().await;
    lease.job.id += 1;
    assert!(is_lost(bench.complete(&lease).await));
    assert!(is_lost(bench.retry(&lease, 0).await));
    assert!(is_lost(bench.hand_back(&lease).await));
    assert!(is_lost(bench.bury(&lease).await));
    assert!(!bench.renew(&lease).await);
    assert!(bench.read(&lease).await.unwrap().is_none());
    assert_eq!(bench.state(&id).await, Some(TransactionState::Processing));
}

async fn a_job_is_completed_once(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    let again = bench.store.complete(lease.job.id, lease.token, &another_outcome()).await;
    assert!(is_lost(again));
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn a_completed_job_cannot_be_put_back_or_buried(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    assert!(is_lost(bench.retry(&lease, 0).await));
    assert!(is_lost(bench.hand_back(&lease).await));
    assert!(is_lost(bench.bury(&lease).await));
    assert_eq!(bench.state(&id).await, Some(done()));
    assert!(bench.claim(1).await.is_empty());
}

async fn a_buried_job_cannot_be_completed(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    assert!(is_lost(bench.complete(&lease).await));
    assert!(is_lost(bench.retry(&lease, 0).await));
    assert!(is_lost(bench.bury(&lease).await));
    assert_eq!(bench.state(&id).await, Some(TransactionState::Dead));
}

async fn a_job_that_was_put_back_cannot_be_completed_before_it_is_claimed_again(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.retry(&lease, 0).await.unwrap();
    assert!(is_lost(bench.complete(&lease).await));
    assert!(is_lost(bench.bury(&lease).await));
    assert!(is_lost(bench.hand_back(&lease).await));
    assert_eq!(bench.state(&id).await, Some(TransactionState::Processing));
    assert_eq!(bench.claim_one().await.job.attempt, 2);
}

async fn of_two_completions_at_once_one_holds(bench: &mut Bench) {
    let stores = [bench.neighbour().await, bench.neighbour().await];
    bench.enqueue_many(20).await;
    for lease in bench.claim(20).await {
        let mut completions = tokio::task::JoinSet::new();
        for store in stores.clone() {
            let (id, token) = (lease.job.id, lease.token);
            completions.spawn(async move { store.complete(id, token, &another_outcome()).await });
        }
        let lost = completions.join_all().await.into_iter().filter(Result::is_err).count();
        assert_eq!(lost, 1);
    }
}

async fn a_lease_that_ran_out_but_that_nobody_took_still_completes(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.advance(LEASE * 10);
    bench.complete(&lease).await.unwrap();
    assert_eq!(bench.state(&id).await, Some(done()));
}

async fn a_lease_of_a_purged_job_is_worth_nothing_for_its_successors(bench: &mut Bench) {
    let (_, old) = bench.running().await;
    bench.complete(&old).await.unwrap();
    bench.advance(LEASE);
    assert_eq!(bench.store.purge(LEASE / 2, 10).await.unwrap(), 1);
    let (id, young) = bench.running().await;
    assert_ne!(old.job.id, young.job.id, "the number of a job is never given to another one");
    assert!(is_lost(bench.store.complete(old.job.id, old.token, &another_outcome()).await));
    assert_eq!(bench.state(&id).await, Some(TransactionState::Processing));
}

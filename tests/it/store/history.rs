//! What an operator is reported of a transaction.

use visavis::{
    compare::TransactionId,
    queue::{History, TransactionState},
};

use super::bench::{Bench, CLIENT, NOW, done, new_job, refused, request};

on_every_store! {
    a_queued_a_running_and_a_finished_job_have_their_times_and_attempts,
    a_job_that_was_given_up_is_dead,
    a_transaction_that_was_finished_when_it_came_has_one_time,
    whose_it_is_does_not_matter_and_what_is_not_there_is_not_made_up,
}

async fn history(bench: &Bench, id: &TransactionId) -> History {
    bench.store.history(id).await.unwrap().unwrap()
}

async fn a_queued_a_running_and_a_finished_job_have_their_times_and_attempts(bench: &mut Bench) {
    let id = bench.enqueue().await;
    let queued = History {
        client_id: CLIENT.to_owned(),
        state: TransactionState::Processing,
        running: false,
        attempts: 0,
        created_at: NOW,
        started_at: None,
        finished_at: None,
    };
    assert_eq!(history(bench, &id).await, queued);
    bench.clock.advance(1_000);
    let lease = bench.claim_one().await;
    let running =
        History { running: true, attempts: 1, started_at: Some(NOW + 1_000), ..queued.clone() };
    assert_eq!(history(bench, &id).await, running);
    bench.retry(&lease, 0).await.unwrap();
    let back = History { running: false, ..running.clone() };
    assert_eq!(history(bench, &id).await, back);
    bench.clock.advance(1_000);
    let lease = bench.claim_one().await;
    bench.clock.advance(1_000);
    bench.complete(&lease).await.unwrap();
    let finished =
        History { state: done(), attempts: 2, finished_at: Some(NOW + 3_000), ..back.clone() };
    assert_eq!(history(bench, &id).await, finished);
}

async fn a_job_that_was_given_up_is_dead(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    let reported = history(bench, &id).await;
    assert_eq!(
        (reported.state, reported.running, reported.attempts),
        (TransactionState::Dead, false, 1)
    );
}

async fn a_transaction_that_was_finished_when_it_came_has_one_time(bench: &mut Bench) {
    let (id, request) = (bench.new_id(), request(1));
    bench.store.record(&new_job(&id, &request, None), &refused()).await.unwrap();
    let reported = history(bench, &id).await;
    assert_eq!((reported.state, reported.attempts), (done(), 1));
    let times = (reported.created_at, reported.started_at, reported.finished_at);
    assert_eq!(times, (NOW, Some(NOW), Some(NOW)));
}

async fn whose_it_is_does_not_matter_and_what_is_not_there_is_not_made_up(bench: &mut Bench) {
    let id = bench.enqueue().await;
    assert_eq!(bench.store.transaction("somebody else", &id).await.unwrap(), None);
    assert_eq!(history(bench, &id).await.client_id, CLIENT);
    assert_eq!(bench.store.history(&bench.new_id()).await.unwrap(), None);
}

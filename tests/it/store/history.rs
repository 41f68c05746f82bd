//! What an operator is reported of a transaction.

use time::{Duration, OffsetDateTime};
use visavis::{
    compare::{BizId, PictureKind, Place, Request, RequestOptions, TransactionId},
    queue::{History, TransactionState},
};

use super::bench::{Bench, CLIENT, NOW, done, new_job, refused, request};

on_every_store! {
    a_queued_a_running_and_a_finished_job_have_their_times_and_attempts,
    a_job_that_was_given_up_is_dead,
    a_transaction_that_was_finished_when_it_came_has_one_time,
    whose_it_is_does_not_matter_and_what_is_not_there_is_not_made_up,
    transactions_are_listed_from_the_newest_on_by_time_and_by_tracing_id,
    a_long_list_is_continued_where_it_ended,
}

async fn history(bench: &Bench, id: &TransactionId) -> History {
    bench.store.history(id).await.unwrap().unwrap()
}

async fn a_queued_a_running_and_a_finished_job_have_their_times_and_attempts(bench: &mut Bench) {
    let id = bench.enqueue().await;
    let queued = History {
        client_id: CLIENT.to_owned(),
        reference_kind: PictureKind::Selfie,
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

async fn listed(bench: &Bench, from: &Place, before: &Place, biz_id: Option<&str>) -> Vec<String> {
    let biz_id = biz_id.map(|text| BizId::new(text).unwrap());
    let found = bench.store.list(0, from..before, biz_id.as_ref()).await.unwrap();
    found.into_iter().map(|(id, _)| id.to_string()).collect()
}

async fn transactions_are_listed_from_the_newest_on_by_time_and_by_tracing_id(bench: &mut Bench) {
    let of = |biz_id: &str| Request { biz_id: BizId::new(biz_id).unwrap(), ..request(1) };
    let first = bench.enqueue_this(&of("a")).await;
    bench.clock.advance(1_000);
    let document = RequestOptions { reference_kind: PictureKind::Document, ..Default::default() };
    let second = bench.enqueue_this(&Request { options: document, ..of("b") }).await;
    bench.clock.advance(1_000);
    let third = bench.enqueue_this(&of("a")).await;
    let ids = |all: &[&TransactionId]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let start = OffsetDateTime::from_unix_timestamp(NOW / 1_000).unwrap();
    let at = |seconds| Place::start_of(start + Duration::seconds(seconds));
    let all = bench.store.list(0, &at(0)..&Place::end(), None).await.unwrap();
    assert_eq!(all.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&third, &second, &first]);
    assert_eq!(all[1].1, history(bench, &second).await);
    assert_eq!(all[1].1.reference_kind, PictureKind::Document);
    let end = Place::end();
    assert_eq!(listed(bench, &at(1), &end, None).await, ids(&[&third, &second]));
    assert_eq!(listed(bench, &at(0), &at(2), None).await, ids(&[&second, &first]));
    assert_eq!(listed(bench, &at(0), &second.place(), None).await, ids(&[&first]));
    assert_eq!(listed(bench, &at(0), &end, Some("a")).await, ids(&[&third, &first]));
    assert_eq!(listed(bench, &at(1), &end, Some("a")).await, ids(&[&third]));
    assert_eq!(listed(bench, &at(0), &end, Some("c")).await, ids(&[]));
}

async fn a_long_list_is_continued_where_it_ended(bench: &mut Bench) {
    // More than one statement lists.
    let mut ids = Vec::new();
    let request = request(1);
    for _ in 0..501 {
        let id = bench.new_id();
        bench.store.record(&new_job(&id, &request, None), &refused()).await.unwrap();
        ids.push(id.to_string());
    }
    ids.sort_by(|one, other| other.cmp(one));
    let (start, end) = (Place::start_of(OffsetDateTime::UNIX_EPOCH), Place::end());
    let first = listed(bench, &start, &end, None).await;
    assert_eq!(first, ids[..500]);
    let last = TransactionId::parse(&first[499]).unwrap().place();
    assert_eq!(listed(bench, &start, &last, None).await, ids[500..]);
}

//! What a client is reported about its transactions.

use visavis::{
    compare::{Outcome, Refusal, RequestOptions, Side, TransactionId},
    queue::{Transaction, TransactionState},
};
use visavis_face::{Engine as _, Flaw, Format, Picture as Input, PictureKind};

use super::bench::{Bench, CLIENT, LEASE, new_job, request};
use crate::support::{FakeEngine, Picture, policy};

on_every_store! {
    a_queued_transaction_is_processing,
    a_running_transaction_is_processing,
    a_transaction_that_waits_for_a_retry_is_processing,
    a_transaction_whose_worker_died_is_processing,
    a_given_up_transaction_is_dead,
    another_client_sees_nothing_of_it,
    an_id_that_was_never_given_is_unknown,
    asking_changes_nothing,
    every_refusal_comes_back_as_it_was,
    every_verdict_comes_back_as_it_was,
    outcomes_survive_a_restart,
}

async fn processing(bench: &Bench, id: &TransactionId) -> bool {
    let reported = bench.store.transaction(CLIENT, id).await.unwrap();
    let expected = Transaction { transaction_id: id.clone(), state: TransactionState::Processing };
    reported == Some(expected)
}

async fn a_queued_transaction_is_processing(bench: &mut Bench) {
    let id = bench.enqueue().await;
    assert!(processing(bench, &id).await);
}

async fn a_running_transaction_is_processing(bench: &mut Bench) {
    let (id, _) = bench.running().await;
    assert!(processing(bench, &id).await);
}

async fn a_transaction_that_waits_for_a_retry_is_processing(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.retry(&lease, 60).await.unwrap();
    assert!(processing(bench, &id).await);
}

async fn a_transaction_whose_worker_died_is_processing(bench: &mut Bench) {
    let (id, _) = bench.running().await;
    bench.advance(LEASE * 3);
    assert!(processing(bench, &id).await);
}

async fn a_given_up_transaction_is_dead(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    let reported = bench.store.transaction(CLIENT, &id).await.unwrap().unwrap();
    assert_eq!(reported, Transaction { transaction_id: id, state: TransactionState::Dead });
}

async fn another_client_sees_nothing_of_it(bench: &mut Bench) {
    let (id, lease) = bench.running().await;
    for other in ["2188000000000002", "", "218800000000000", "2188000000000001 ", "%"] {
        assert_eq!(bench.store.transaction(other, &id).await.unwrap(), None, "{other:?}");
    }
    bench.complete(&lease).await.unwrap();
    assert_eq!(bench.store.transaction("2188000000000002", &id).await.unwrap(), None);
}

async fn an_id_that_was_never_given_is_unknown(bench: &mut Bench) {
    bench.enqueue().await;
    assert_eq!(bench.state(&bench.new_id()).await, None);
}

async fn asking_changes_nothing(bench: &mut Bench) {
    let id = bench.enqueue().await;
    for _ in 0..5 {
        assert!(processing(bench, &id).await);
    }
    let lease = bench.claim_one().await;
    assert_eq!((lease.job.transaction_id, lease.job.attempt), (id, 1));
}

async fn comes_back(bench: &Bench, outcome: Outcome) {
    let (id, lease) = bench.running().await;
    bench.store.complete(lease.job.id, lease.token, &outcome).await.unwrap();
    let reported = bench.state(&id).await.unwrap();
    assert_eq!(reported, TransactionState::Done(Box::new(outcome.clone())));
    let (id, request) = (bench.new_id(), request(1));
    bench.store.record(&new_job(&id, &request, None), &outcome).await.unwrap();
    assert_eq!(bench.state(&id).await.unwrap(), reported);
}

async fn every_refusal_comes_back_as_it_was(bench: &mut Bench) {
    for refusal in [
        Refusal::Empty,
        Refusal::TooManyBytes { bytes: usize::MAX / 2, limit: 1 },
        Refusal::UnknownFormat { found: None },
        Refusal::Dimensions { width: u32::MAX, height: 0 },
        Refusal::PixelMemory { bytes: u64::MAX / 2, limit: 1 },
        Refusal::Undecodable { flaw: Flaw::Unknown },
        Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::WebP) },
        Refusal::Undecodable { flaw: Flaw::JpegSampling },
        Refusal::NoFace,
    ] {
        for side in [Side::Probe, Side::Reference] {
            comes_back(bench, Outcome::Refused { side, refusal: refusal.clone() }).await;
        }
    }
}

fn compared(probe: Picture, reference: Picture) -> Outcome {
    let (probe, reference) = (probe.bytes(), reference.bytes());
    let input = |bytes| Input { bytes, hint: None, kind: PictureKind::Selfie };
    let compared = FakeEngine.compare(&input(&probe), &input(&reference)).unwrap();
    policy().decide(compared, &RequestOptions::default())
}

async fn every_verdict_comes_back_as_it_was(bench: &mut Bench) {
    let pairs = [
        (Picture::Person(1), Picture::Person(1)),
        (Picture::Person(1), Picture::Person(2)),
        (Picture::Blurred(1), Picture::Person(1)),
        (Picture::Person(3), Picture::Blurred(3)),
    ];
    for (probe, reference) in pairs {
        let outcome = compared(probe, reference);
        assert!(matches!(outcome, Outcome::Compared(_)));
        comes_back(bench, outcome).await;
    }
}

async fn outcomes_survive_a_restart(bench: &mut Bench) {
    let outcome = compared(Picture::Person(1), Picture::Blurred(1));
    let (id, lease) = bench.running().await;
    bench.store.complete(lease.job.id, lease.token, &outcome).await.unwrap();
    bench.restart().await;
    assert_eq!(bench.state(&id).await, Some(TransactionState::Done(Box::new(outcome))));
}

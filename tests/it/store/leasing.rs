//! Leases: how long they hold, how they are renewed, and what they count.

use std::time::Duration;

use super::bench::{Bench, LEASE, is_lost};

const MILLISECOND: Duration = Duration::from_millis(1);

on_every_store! {
    a_lease_holds_until_its_last_millisecond,
    a_job_whose_lease_is_over_can_be_claimed,
    a_renewed_lease_holds_from_the_renewal_on,
    a_renewal_changes_neither_attempt_nor_token,
    a_renewal_names_the_jobs_that_are_still_held,
    nothing_to_renew_renews_nothing,
    a_lease_that_ran_out_unnoticed_can_be_renewed,
    the_lease_of_a_job_that_was_put_back_cannot_be_renewed,
    the_lease_of_a_finished_job_cannot_be_renewed,
    every_claim_counts_as_an_attempt,
    a_job_handed_back_has_not_used_its_attempt,
    the_token_grows_with_every_claim_and_is_never_reset,
    every_job_of_a_claim_has_a_lease_of_its_own,
}

async fn a_lease_holds_until_its_last_millisecond(bench: &mut Bench) {
    bench.running().await;
    bench.advance(LEASE.saturating_sub(MILLISECOND));
    assert!(bench.claim(1).await.is_empty());
}

async fn a_job_whose_lease_is_over_can_be_claimed(bench: &mut Bench) {
    let (id, first) = bench.running().await;
    bench.advance(LEASE);
    let second = bench.claim_one().await;
    assert_eq!((second.job.transaction_id, second.job.id), (id, first.job.id));
}

async fn a_renewed_lease_holds_from_the_renewal_on(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    for _ in 0..5 {
        bench.advance(LEASE * 2 / 3);
        assert!(bench.renew(&lease).await);
        assert!(bench.claim(1).await.is_empty());
    }
    bench.advance(LEASE);
    assert_eq!(bench.claim(1).await.len(), 1);
}

async fn a_renewal_changes_neither_attempt_nor_token(bench: &mut Bench) {
    let (_, first) = bench.running().await;
    for _ in 0..3 {
        assert!(bench.renew(&first).await);
    }
    bench.advance(LEASE);
    let second = bench.claim_one().await;
    assert_eq!((second.job.attempt, second.token), (2, first.token + 1));
}

async fn a_renewal_names_the_jobs_that_are_still_held(bench: &mut Bench) {
    bench.enqueue_many(4).await;
    let leases = bench.claim(4).await;
    let [kept, ended, returned, kept_too] = &leases[..] else { panic!("4 were stored") };
    bench.complete(ended).await.unwrap();
    bench.hand_back(returned).await.unwrap();
    let held: Vec<_> = leases.iter().map(|lease| (lease.job.id, lease.token)).collect();
    let mut renewed = bench.store.renew(&held, LEASE).await.unwrap();
    renewed.sort_unstable();
    assert_eq!(renewed, [kept.job.id, kept_too.job.id]);
}

async fn nothing_to_renew_renews_nothing(bench: &mut Bench) {
    bench.running().await;
    assert!(bench.store.renew(&[], LEASE).await.unwrap().is_empty());
    bench.advance(LEASE);
    assert_eq!(bench.claim(1).await.len(), 1);
}

async fn a_lease_that_ran_out_unnoticed_can_be_renewed(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.advance(LEASE * 2);
    assert!(bench.renew(&lease).await);
    assert!(bench.claim(1).await.is_empty());
    bench.complete(&lease).await.unwrap();
}

async fn the_lease_of_a_job_that_was_put_back_cannot_be_renewed(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.retry(&lease, 1).await.unwrap();
    assert!(!bench.renew(&lease).await);
    bench.clock.advance(1_000);
    assert_eq!(bench.claim(1).await.len(), 1);
}

async fn the_lease_of_a_finished_job_cannot_be_renewed(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    assert!(!bench.renew(&lease).await);
}

async fn every_claim_counts_as_an_attempt(bench: &mut Bench) {
    bench.enqueue().await;
    for attempt in 1..=4 {
        let lease = bench.claim_one().await;
        assert_eq!(lease.job.attempt, attempt);
        match attempt % 2 {
            0 => bench.retry(&lease, 30).await.unwrap(),
            _ => drop(lease),
        }
        bench.advance(LEASE);
    }
}

async fn a_job_handed_back_has_not_used_its_attempt(bench: &mut Bench) {
    let (_, first) = bench.running().await;
    bench.retry(&first, 0).await.unwrap();
    for _ in 0..5 {
        let lease = bench.claim_one().await;
        assert_eq!(lease.job.attempt, 2);
        bench.hand_back(&lease).await.unwrap();
    }
}

async fn the_token_grows_with_every_claim_and_is_never_reset(bench: &mut Bench) {
    bench.enqueue().await;
    let mut outdated = Vec::new();
    for round in 0..8 {
        let lease = bench.claim_one().await;
        assert!(
            outdated.iter().all(|old| *old < lease.token),
            "{} after {outdated:?}",
            lease.token
        );
        outdated.push(lease.token);
        match round % 4 {
            0 => bench.retry(&lease, 0).await.unwrap(),
            1 => bench.hand_back(&lease).await.unwrap(),
            2 => bench.advance(LEASE),
            _ => {
                bench.restart().await;
                assert_eq!(bench.store.recover().await.unwrap(), 1);
            }
        }
        assert!(round % 4 > 1 || is_lost(bench.complete(&lease).await));
    }
}

async fn every_job_of_a_claim_has_a_lease_of_its_own(bench: &mut Bench) {
    bench.enqueue_many(3).await;
    let leases = bench.claim(3).await;
    bench.advance(LEASE / 2);
    assert!(bench.renew(&leases[1]).await);
    bench.advance(LEASE / 2);
    let taken: Vec<_> = bench.claim(3).await.iter().map(|lease| lease.job.id).collect();
    assert_eq!(taken, [leases[0].job.id, leases[2].job.id]);
}

//! Which jobs a claim takes, and in which order.

use std::collections::HashSet;

use super::bench::{Bench, LEASE, ids};

on_every_store! {
    nothing_is_claimed_from_an_empty_queue,
    the_oldest_job_is_claimed_first,
    jobs_of_one_instant_are_claimed_as_they_came,
    a_claim_takes_no_more_than_its_limit,
    a_claim_for_none_takes_none,
    a_claimed_job_is_not_claimed_again,
    a_finished_job_is_not_claimed_again,
    a_dead_job_is_not_claimed_again,
    a_retry_that_is_due_goes_before_younger_jobs,
    claimers_in_several_processes_never_share_a_job,
    an_expired_lease_is_taken_over_by_one_of_many,
}

async fn nothing_is_claimed_from_an_empty_queue(bench: &mut Bench) {
    assert!(bench.claim(10).await.is_empty());
}

async fn the_oldest_job_is_claimed_first(bench: &mut Bench) {
    let mut accepted = Vec::new();
    for _ in 0..5 {
        accepted.push(bench.enqueue().await);
        bench.clock.advance(1);
    }
    assert_eq!(ids(&bench.claim(2).await), accepted[..2]);
    assert_eq!(ids(&bench.claim(10).await), accepted[2..]);
}

async fn jobs_of_one_instant_are_claimed_as_they_came(bench: &mut Bench) {
    let accepted = bench.enqueue_many(6).await;
    assert_eq!(ids(&bench.claim(3).await), accepted[..3]);
    assert_eq!(ids(&bench.claim(3).await), accepted[3..]);
}

async fn a_claim_takes_no_more_than_its_limit(bench: &mut Bench) {
    bench.enqueue_many(5).await;
    assert_eq!(bench.claim(1).await.len(), 1);
    assert_eq!(bench.claim(3).await.len(), 3);
    assert_eq!(bench.claim(u32::MAX).await.len(), 1);
}

async fn a_claim_for_none_takes_none(bench: &mut Bench) {
    bench.enqueue().await;
    assert!(bench.claim(0).await.is_empty());
    assert_eq!(bench.claim_one().await.job.attempt, 1);
}

async fn a_claimed_job_is_not_claimed_again(bench: &mut Bench) {
    bench.enqueue_many(2).await;
    assert_eq!(bench.claim(10).await.len(), 2);
    assert!(bench.claim(10).await.is_empty());
    assert!(bench.neighbour().await.claim(10, "other", LEASE).await.unwrap().is_empty());
}

async fn a_finished_job_is_not_claimed_again(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    bench.advance(LEASE * 2);
    assert!(bench.claim(10).await.is_empty());
}

async fn a_dead_job_is_not_claimed_again(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    bench.advance(LEASE * 2);
    assert!(bench.claim(10).await.is_empty());
}

async fn a_retry_that_is_due_goes_before_younger_jobs(bench: &mut Bench) {
    let (failed, lease) = bench.running().await;
    bench.retry(&lease, 5).await.unwrap();
    bench.clock.advance(6_000);
    let young = bench.enqueue().await;
    assert_eq!(ids(&bench.claim(1).await), [failed]);
    assert_eq!(ids(&bench.claim(1).await), [young]);
}

async fn claimers_in_several_processes_never_share_a_job(bench: &mut Bench) {
    let accepted: HashSet<_> = bench.enqueue_many(200).await.into_iter().collect();
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let store = bench.neighbour().await;
        for limit in 1..=3 {
            let store = store.clone();
            claimers.spawn(async move {
                let mut claimed = Vec::new();
                loop {
                    let leases = store.claim(limit, "claimer", LEASE).await.unwrap();
                    if leases.is_empty() {
                        return claimed;
                    }
                    claimed.extend(leases);
                }
            });
        }
    }
    let claimed = claimers.join_all().await.concat();
    assert_eq!(claimed.len(), 200);
    assert!(claimed.iter().all(|lease| lease.job.attempt == 1));
    assert_eq!(ids(&claimed).into_iter().collect::<HashSet<_>>(), accepted);
}

async fn an_expired_lease_is_taken_over_by_one_of_many(bench: &mut Bench) {
    let stores = [bench.neighbour().await, bench.neighbour().await];
    let (_, first) = bench.running().await;
    for round in 1..=10 {
        bench.advance(LEASE);
        let mut claimers = tokio::task::JoinSet::new();
        for n in 0..4 {
            let store = stores[n % 2].clone();
            claimers.spawn(async move { store.claim(1, "claimer", LEASE).await.unwrap() });
        }
        let [lease] = claimers.join_all().await.concat().try_into().unwrap();
        assert_eq!(lease.token, first.token + round);
    }
}

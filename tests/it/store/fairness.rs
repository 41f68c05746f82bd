//! Whose turn it is: the jobs of one client wait behind one another, and not before those of the
//! others.

use visavis::{compare::TransactionId, queue::Accepted};

use super::bench::{Bench, LEASE, new_job_of, request};

on_every_store! {
    a_burst_of_one_client_does_not_delay_the_first_job_of_another,
    clients_that_wait_are_served_in_turn,
    the_jobs_of_one_client_keep_their_order,
    a_client_that_was_away_for_long_is_not_owed_anything,
    a_client_that_has_used_much_is_not_punished_for_it,
    a_retry_that_waits_does_not_let_latecomers_pass_everybody,
    a_running_job_does_not_let_latecomers_pass_everybody,
    a_repetition_does_not_take_a_second_turn,
    the_depth_is_told_for_each_client,
}

const CLIENTS: [&str; 3] = ["a", "b", "c"];

/// Stores a job of this client a moment later.
async fn enqueue(bench: &Bench, client: &str) -> TransactionId {
    bench.clock.advance(1);
    let (id, request) = (bench.new_id(), request(1));
    let stored = bench.store.enqueue(&new_job_of(client, &id, &request, None)).await.unwrap();
    assert_eq!(stored, Accepted::New(id.clone()));
    id
}

async fn burst(bench: &Bench, client: &str, count: usize) -> Vec<TransactionId> {
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(enqueue(bench, client).await);
    }
    ids
}

/// Claims and completes `count` jobs, one after the other; returns them.
async fn work(bench: &Bench, count: usize) -> Vec<TransactionId> {
    let mut done = Vec::with_capacity(count);
    for _ in 0..count {
        let [lease] = bench.claim(1).await.try_into().unwrap();
        bench.complete(&lease).await.unwrap();
        done.push(lease.job.transaction_id);
    }
    done
}

async fn a_burst_of_one_client_does_not_delay_the_first_job_of_another(bench: &mut Bench) {
    burst(bench, "a", 50).await;
    work(bench, 10).await;
    let first = enqueue(bench, "b").await;
    let next = work(bench, 2).await;
    assert!(next.contains(&first), "second at the latest");
}

async fn clients_that_wait_are_served_in_turn(bench: &mut Bench) {
    let mut waiting = Vec::new();
    for client in CLIENTS {
        waiting.push(burst(bench, client, 4).await);
    }
    for round in 0..4 {
        let mut expected: Vec<_> = waiting.iter().map(|of_one| of_one[round].clone()).collect();
        let mut served = work(bench, 3).await;
        expected.sort_by_key(ToString::to_string);
        served.sort_by_key(ToString::to_string);
        assert_eq!(served, expected, "round {round}");
    }
}

async fn the_jobs_of_one_client_keep_their_order(bench: &mut Bench) {
    let first = burst(bench, "a", 5).await;
    burst(bench, "b", 2).await;
    let served = work(bench, 4).await;
    let later = burst(bench, "a", 5).await;
    burst(bench, "c", 3).await;
    let rest = work(bench, 11).await;
    let mine: Vec<_> = first.iter().chain(&later).cloned().collect();
    let order: Vec<_> = served.into_iter().chain(rest).filter(|id| mine.contains(id)).collect();
    assert_eq!(order, mine);
}

async fn a_client_that_was_away_for_long_is_not_owed_anything(bench: &mut Bench) {
    burst(bench, "a", 40).await;
    work(bench, 20).await;
    let of_b = burst(bench, "b", 10).await;
    let served = work(bench, 10).await;
    let of_b = served.iter().filter(|id| of_b.contains(id)).count();
    assert!((4..=6).contains(&of_b), "{of_b} of 10");
}

async fn a_client_that_has_used_much_is_not_punished_for_it(bench: &mut Bench) {
    burst(bench, "a", 40).await;
    work(bench, 39).await;
    let [last] = bench.claim(1).await.try_into().unwrap();
    // Only the last of a's many is still running when b comes with as many.
    burst(bench, "b", 40).await;
    let mine = enqueue(bench, "a").await;
    bench.complete(&last).await.unwrap();
    assert!(work(bench, 3).await.contains(&mine), "a waits for one or two of b");
}

async fn a_retry_that_waits_does_not_let_latecomers_pass_everybody(bench: &mut Bench) {
    enqueue(bench, "a").await;
    let [failed] = bench.claim(1).await.try_into().unwrap();
    bench.retry(&failed, 1_000).await.unwrap();
    latecomers_wait_for_their_turn(bench).await;
}

async fn a_running_job_does_not_let_latecomers_pass_everybody(bench: &mut Bench) {
    enqueue(bench, "a").await;
    let [_slow] = bench.claim(1).await.try_into().unwrap();
    latecomers_wait_for_their_turn(bench).await;
}

/// Whatever stands at the beginning of the queue.
async fn latecomers_wait_for_their_turn(bench: &Bench) {
    burst(bench, "b", 30).await;
    work(bench, 20).await;
    let late = burst(bench, "c", 20).await;
    let served = work(bench, 8).await;
    let of_late = served.iter().filter(|id| late.contains(id)).count();
    assert!((3..=5).contains(&of_late), "{of_late} of 8");
}

async fn a_repetition_does_not_take_a_second_turn(bench: &mut Bench) {
    let first = bench.enqueue_signed(1).await;
    for _ in 0..5 {
        assert_eq!(
            bench.enqueue_signed(1).await,
            Accepted::Duplicate(first.transaction_id().clone())
        );
    }
    bench.enqueue().await;
    assert_eq!(bench.database.number("SELECT max(turn) FROM job").await, 1);
}

async fn the_depth_is_told_for_each_client(bench: &mut Bench) {
    burst(bench, "a", 3).await;
    burst(bench, "b", 1).await;
    let lease = bench.store.claim(1, "bench", LEASE).await.unwrap().remove(0);
    let mut depths = bench.store.depth_by_client().await.unwrap();
    depths.sort_by(|one, other| one.client_id.cmp(&other.client_id));
    let jobs: Vec<_> = depths.iter().map(|d| (d.client_id.as_str(), d.depth.jobs)).collect();
    assert_eq!(jobs, [("a", 3), ("b", 1)], "what runs counts");
    bench.complete(&lease).await.unwrap();
    assert_eq!(bench.store.depth().await.unwrap().jobs, 3);
}

//! Jobs that end badly: retried, given up, and never at the expense of others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use visavis::{
    shutdown::Shutdown,
    supervisor::TaskHealth,
    worker::{ComputePool, EngineFactory, Runner, watch},
};
use visavis_face::{Comparison, Engine, FaceError, Picture as Input};

use super::{gate::Gate, rig::Rig};
use crate::{
    store::bench::LEASE,
    support::{FakeEngine, Picture, TestApp, pair, policy},
};

#[tokio::test]
async fn a_job_that_always_fails_is_given_up_after_three_attempts() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue(Picture::Broken, Picture::Person(1)).await;
    for attempt in 1..=3 {
        assert!(!rig.is_dead(&id).await);
        assert_eq!(rig.run_due().await, 1, "attempt {attempt}");
        rig.wait_out_the_delay();
    }
    assert!(rig.is_dead(&id).await);
    assert_eq!((rig.run_due().await, rig.gate.begun()), (0, 3));
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn the_client_of_a_given_up_job_is_told_so() {
    let app = TestApp::new().await;
    let body = pair(Picture::Broken, Picture::Person(1));
    let id = app.post("facecompare/asynccompare", &body).await.transaction_id();
    for _ in 1..=3 {
        assert_eq!(app.check(&id).await.code(), "PROCESSING");
        app.runner.run_until_idle().await;
        app.clock.advance(5_000);
    }
    let answer = app.check(&id).await;
    assert_eq!(answer.code(), "SYSTEM_ERROR");
    assert_eq!(answer.json["result"]["resultStatus"], "F");
    assert_eq!(answer.transaction_id(), id);
}

#[tokio::test]
async fn a_failed_job_is_not_run_before_its_delay_is_over() {
    let rig = Rig::new(1, Gate::open()).await;
    rig.gate.fail_next(2);
    let id = rig.enqueue_good(1).await.remove(0);
    assert_eq!(rig.run_due().await, 1);
    rig.bench.clock.advance(999);
    assert_eq!(rig.run_due().await, 0);
    rig.bench.clock.advance(1_001);
    assert_eq!(rig.run_due().await, 1);
    rig.bench.clock.advance(4_999);
    assert_eq!(rig.run_due().await, 0);
    rig.bench.clock.advance(5_001);
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn a_panic_costs_its_own_job_only_and_not_the_thread() {
    let rig = Rig::new(1, Gate::open()).await;
    let before = rig.enqueue_good(1).await.remove(0);
    let panics = rig.enqueue(Picture::Panics, Picture::Person(1)).await;
    let after = rig.enqueue_good(2).await;
    assert_eq!(rig.run_due().await, 4);
    for id in after.iter().chain([&before]) {
        assert!(rig.is_done(id).await);
    }
    assert_eq!(rig.gate.seen().engines, 2, "a new engine");
    assert_eq!(rig.gate.seen().threads.len(), 1, "the same thread");
    for _ in 2..=3 {
        rig.wait_out_the_delay();
        assert_eq!(rig.run_due().await, 1);
    }
    assert!(rig.is_dead(&panics).await);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn an_engine_that_cannot_be_made_again_is_tried_again_with_the_next_job() {
    let rig = Rig::new(1, Gate::open()).await;
    rig.enqueue(Picture::Panics, Picture::Person(1)).await;
    rig.run_due().await;
    rig.gate.forbid_engines(true);
    let id = rig.enqueue_good(1).await.remove(0);
    assert_eq!(rig.run_due().await, 1);
    assert!(!rig.is_done(&id).await);
    rig.gate.forbid_engines(false);
    rig.wait_out_the_delay();
    rig.run_due().await;
    assert!(rig.is_done(&id).await);
}

#[tokio::test]
async fn a_job_over_its_deadline_is_put_back() {
    let mut rig = Rig::new(1, Gate::closed()).await;
    rig.config.job_deadline = Duration::from_millis(30);
    let id = rig.enqueue_good(1).await.remove(0);
    let running = rig.start();
    rig.gate.wait_for(1).await;
    rig.until("SELECT count(*) FROM job WHERE state = 0 AND attempt = 1", 1).await;
    assert!(rig.pool.try_slot().is_none(), "the thread is not done yet");
    rig.gate.unlock();
    running.stopped().await;
    rig.config.job_deadline = Duration::from_secs(20);
    rig.wait_out_the_delay();
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await);
    assert_eq!(rig.gate.begun(), 2);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn a_picture_that_does_not_open_is_given_up_without_being_looked_at() {
    let mut rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue_good(1).await.remove(0);
    rig.bench.restart().await;
    rig.bench.database.tamper("UPDATE job_payload SET probe = reference").await;
    // A damaged one looks like one under a key that is not here yet, and is given that much time.
    rig.bench.advance(Duration::from_hours(2));
    for _ in 1..=3 {
        assert_eq!(rig.run_due().await, 1);
        rig.wait_out_the_delay();
    }
    assert!(rig.is_dead(&id).await);
    assert_eq!(rig.gate.begun(), 0);
    assert!(rig.is_clean().await);
}

#[tokio::test]
async fn the_failures_of_one_job_do_not_delay_the_others() {
    let rig = Rig::new(1, Gate::open()).await;
    rig.enqueue(Picture::Broken, Picture::Person(1)).await;
    let accepted = rig.enqueue_good(3).await;
    assert_eq!(rig.run_due().await, 4);
    for id in &accepted {
        assert!(rig.is_done(id).await);
    }
}

/// Counts who is at work, and who is while a suspect is.
#[derive(Default)]
struct Company {
    inside: AtomicUsize,
    most: AtomicUsize,
    with_suspects: AtomicUsize,
}

struct Counting(Arc<Company>);

impl Engine for Counting {
    fn compare(
        &mut self,
        probe: &Input<'_>,
        reference: &Input<'_>,
    ) -> Result<Comparison, FaceError> {
        let company = &self.0;
        let is_isolated = probe.bytes == Picture::Person(SUSPECT).bytes();
        let inside = company.inside.fetch_add(1, Ordering::SeqCst) + 1;
        company.most.fetch_max(inside, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(30));
        if is_isolated {
            let beside = inside.max(company.inside.load(Ordering::SeqCst)) - 1;
            company.with_suspects.fetch_add(beside, Ordering::SeqCst);
        }
        company.inside.fetch_sub(1, Ordering::SeqCst);
        FakeEngine.compare(probe, reference)
    }
}

const SUSPECT: u8 = 66;

/// It may have ended its process before, and no one else must go down with it again.
#[tokio::test]
async fn a_job_that_is_tried_again_runs_while_nothing_else_does() {
    let mut rig = Rig::new(3, Gate::open()).await;
    let company = Arc::new(Company::default());
    let counted = Arc::clone(&company);
    let factory: EngineFactory = Arc::new(move || Ok(Box::new(Counting(Arc::clone(&counted)))));
    rig.pool = ComputePool::start(3, &factory, &policy()).unwrap();
    let isolated = Picture::Person(SUSPECT);
    let mut ids =
        vec![rig.enqueue(isolated, isolated).await, rig.enqueue(isolated, isolated).await];
    rig.bench.claim(2).await;
    rig.bench.advance(LEASE);
    ids.extend(rig.enqueue_good(8).await);
    rig.config.poll = Duration::from_millis(5);
    let running = rig.start();
    // One of the suspects is put back for a while.
    rig.until("SELECT count(*) FROM job WHERE state = 2", 9).await;
    rig.wait_out_the_delay();
    rig.until("SELECT count(*) FROM job WHERE state = 2", 10).await;
    running.stopped().await;
    for id in &ids {
        assert!(rig.is_done(id).await);
    }
    assert_eq!(company.with_suspects.load(Ordering::SeqCst), 0, "a suspect had company");
    assert!(company.most.load(Ordering::SeqCst) > 1, "the others run side by side");
}

/// Four jobs were in a process that died, and one of them killed it. While that one is tried again
/// the others are not claimed: they would lose an attempt with every process that it takes.
#[tokio::test]
async fn of_several_suspects_one_is_tried_and_the_others_are_put_back_without_losing_an_attempt() {
    let rig = Rig::new(4, Gate::closed()).await;
    let ids = rig.enqueue_good(4).await;
    rig.bench.claim(4).await;
    rig.bench.advance(LEASE);
    let running = rig.start();
    rig.gate.wait_for(1).await;
    let put_back = "SELECT count(*) FROM job WHERE state = 0 AND attempt = 1";
    assert_eq!(rig.bench.database.number(put_back).await, 3, "before the suspect begins");
    assert_eq!(rig.bench.database.number("SELECT count(*) FROM job WHERE state = 1").await, 1);
    rig.gate.unlock();
    running.stopped().await;
    for _ in 0..4 {
        rig.wait_out_the_delay();
        rig.run_due().await;
    }
    for id in &ids {
        assert!(rig.is_done(id).await);
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_alone_is_put_back_and_does_not_use_up_its_attempts() {
    let mut rig = Rig::new(2, Gate::closed()).await;
    rig.config.job_deadline = Duration::from_millis(50);
    let wedged = rig.pool.slot().await.unwrap();
    let id = rig.enqueue_good(1).await.remove(0);
    rig.bench.claim(1).await;
    rig.bench.advance(LEASE);
    let running = rig.start();
    rig.until("SELECT count(*) FROM job WHERE state = 0 AND attempt = 1 AND token = 2", 1).await;
    running.stopped().await;
    drop(wedged);
    rig.gate.unlock();
    rig.config.job_deadline = Duration::from_secs(20);
    rig.wait_out_the_delay();
    rig.run_due().await;
    assert!(rig.is_done(&id).await);
}

#[tokio::test]
async fn a_comparison_that_does_not_end_is_noticed_and_a_slow_one_is_not() {
    let rig = Rig::new(2, Gate::closed()).await;
    let (trigger, shutdown) = Shutdown::new();
    let limit = Duration::from_millis(200);
    let (hung, slow) = (TaskHealth::default(), TaskHealth::default());
    let watching = |limit, health: &TaskHealth| {
        tokio::spawn(watch(rig.pool.clone(), limit, || false, health.clone(), shutdown.clone()))
    };
    let dog = watching(limit, &hung);
    let patient = watching(Duration::from_hours(1), &slow);
    assert_eq!(rig.pool.slowest(), Duration::ZERO);
    rig.enqueue_good(1).await;
    let running = rig.start();
    rig.gate.wait_for(1).await;
    let reason = tokio::time::timeout(super::gate::PATIENCE, hung.failed()).await.unwrap();
    assert!(reason.starts_with("a compute thread has hung for "), "{reason}");
    assert!(rig.pool.slowest() > limit);
    rig.gate.unlock();
    running.stopped().await;
    assert_eq!(rig.pool.slowest(), Duration::ZERO, "nobody is at work any more");
    trigger.stop();
    dog.await.unwrap();
    patient.await.unwrap();
    let failed = tokio::time::timeout(Duration::ZERO, slow.failed()).await;
    assert!(failed.is_err(), "it only stopped");
}

#[tokio::test]
async fn a_device_that_runs_nothing_any_more_is_noticed_while_nothing_is_compared() {
    let rig = Rig::new(1, Gate::open()).await;
    let (_trigger, shutdown) = Shutdown::new();
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = {
        let broken = Arc::clone(&broken);
        move || broken.load(Ordering::SeqCst)
    };
    let limit = Duration::from_millis(200);
    let health = TaskHealth::default();
    tokio::spawn(watch(rig.pool.clone(), limit, is_broken, health.clone(), shutdown));
    let early = tokio::time::timeout(limit, health.failed()).await;
    assert!(early.is_err(), "nothing is wrong yet");
    broken.store(true, Ordering::SeqCst);
    let failed = tokio::time::timeout(super::gate::PATIENCE, health.failed()).await;
    assert_eq!(failed.unwrap(), "the compute device has failed");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_given_up_and_takes_nobody_along() {
    let rig = Rig::new(2, Gate::open()).await;
    let odd = rig.enqueue_good(1).await.remove(0);
    rig.bench.database.tamper("UPDATE job SET options = 'no JSON'").await;
    let good = rig.enqueue_good(2).await;
    rig.run_due().await;
    assert!(rig.is_dead(&odd).await);
    for id in &good {
        assert!(rig.is_done(id).await);
    }
    assert!(rig.is_clean().await);
}

/// While the master key is being changed a process may not have it yet: that costs no attempt and
/// no photo.
#[tokio::test]
async fn a_job_waits_for_a_process_that_has_its_master_key_and_not_for_ever() {
    let rig = Rig::new(1, Gate::open()).await;
    let id = rig.enqueue_good(1).await.remove(0);
    let outsider = rig.bench.outsider().await;
    let outsider = Runner::new(outsider, rig.pool.clone(), rig.config, rig.wake.clone());
    for _ in 0..5 {
        assert_eq!(outsider.run_until_idle().await, 1);
        rig.bench.advance(Duration::from_secs(11));
    }
    assert_eq!(rig.run_due().await, 1);
    assert!(rig.is_done(&id).await, "nothing was lost");

    let lost = rig.enqueue_good(1).await.remove(0);
    rig.bench.advance(Duration::from_hours(2));
    for _ in 0..3 {
        assert_eq!(outsider.run_until_idle().await, 1);
        rig.wait_out_the_delay();
    }
    assert!(rig.is_dead(&lost).await, "nobody has the key");
}

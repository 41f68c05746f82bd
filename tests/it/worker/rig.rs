//! A store, compute threads behind a gate, and a runner between them.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinHandle};
use visavis::{
    compare::{Outcome, TransactionId},
    queue::{RetryPolicy, TransactionState},
    shutdown::{Shutdown, ShutdownTrigger},
    worker::{ComputePool, Runner, RunnerConfig},
};

use super::gate::{Gate, PATIENCE};
use crate::{
    store::{
        bench::{Bench, pictures},
        sqlite::Sqlite,
    },
    support::{Picture, policy},
};

pub const FIRST_DELAY: Duration = Duration::from_secs(1);

pub struct Rig {
    pub bench: Bench,
    pub gate: Gate,
    pub pool: ComputePool,
    pub wake: Arc<Notify>,
    pub config: RunnerConfig,
}

/// A runner that runs, and the wish that ends it.
pub struct Running {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Running {
    pub fn request_stop(&self) {
        self.trigger.stop();
    }

    /// Waits until it has returned.
    pub async fn stopped(self) {
        self.trigger.stop();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("the runner stops").expect("the runner does not panic");
    }
}

impl Rig {
    pub async fn new(threads: usize, gate: Gate) -> Self {
        let bench = Bench::new(Box::new(Sqlite::fresh().await)).await;
        let pool = ComputePool::start(threads, &gate.factory(), &policy()).unwrap();
        let config = RunnerConfig {
            // Nothing is to be found by chance.
            poll: Duration::from_hours(1),
            retry: RetryPolicy { max_attempts: 3, first_delay: FIRST_DELAY },
            ..RunnerConfig::default()
        };
        Self { bench, gate, pool, wake: Arc::default(), config }
    }

    pub async fn enqueue(&self, probe: Picture, reference: Picture) -> TransactionId {
        self.bench.enqueue_this(&pictures(probe.bytes(), reference.bytes())).await
    }

    pub async fn enqueue_good(&self, count: usize) -> Vec<TransactionId> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.enqueue(Picture::Person(1), Picture::Person(1)).await);
        }
        ids
    }

    pub fn runner(&self) -> Runner {
        let (store, pool, wake) = (self.bench.store.clone(), self.pool.clone(), self.wake.clone());
        Runner::new(store, pool, self.config, wake)
    }

    /// Runs what is due, and returns how many jobs that were.
    pub async fn run_due(&self) -> usize {
        let ran = tokio::time::timeout(PATIENCE, self.runner().run_until_idle()).await;
        ran.expect("the queue runs empty")
    }

    /// Lets any retry become due.
    pub fn wait_out_the_delay(&self) {
        self.bench.advance(FIRST_DELAY * 25);
    }

    pub fn start(&self) -> Running {
        let (trigger, shutdown) = Shutdown::new();
        Running { trigger, task: tokio::spawn(run(self.runner(), shutdown)) }
    }

    pub async fn is_done(&self, id: &TransactionId) -> bool {
        let state = self.bench.state(id).await;
        matches!(state, Some(TransactionState::Done(outcome)) if matches!(*outcome, Outcome::Compared(_)))
    }

    pub async fn is_dead(&self, id: &TransactionId) -> bool {
        self.bench.state(id).await == Some(TransactionState::Dead)
    }

    /// Waits until a query of the database returns `expected`; only for what no one announces.
    pub async fn until(&self, sql: &'static str, expected: i64) {
        let reached = async {
            while self.bench.database.number(sql).await != expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect(sql);
    }

    /// No photo may be left when a test ends its jobs.
    pub async fn is_clean(&self) -> bool {
        self.bench.check_pictures().await;
        self.bench.payload_rows().await == 0
    }
}

/// A runner with its heartbeat, as a process has them.
pub async fn run(runner: Runner, shutdown: Shutdown) {
    tokio::select! {
        () = runner.clone().run(shutdown) => {}
        () = runner.heartbeat() => {}
    }
}

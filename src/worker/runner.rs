//! The loop of a worker: a free thread, a claim, a job; a heartbeat beside it; a drain at the end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet};

use super::{
    compare_job::{self, jitter},
    pool::{ComputePool, Slot},
};
use crate::{
    queue::{JobId, Lease, RetryPolicy, Store},
    shutdown::Shutdown,
};

/// Times of the loop.
#[derive(Debug, Clone, Copy)]
pub struct RunnerConfig {
    /// How long a claim is good for without a heartbeat.
    pub lease: Duration,
    /// How long one job may take; less than the lease.
    pub job_deadline: Duration,
    /// How long to wait for a wake-up before looking anyway.
    pub poll: Duration,
    /// How long running jobs may take when the process is to stop.
    pub drain: Duration,
    /// What happens to failed jobs.
    pub retry: RetryPolicy,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            job_deadline: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(25),
            retry: RetryPolicy::default(),
        }
    }
}

/// Takes jobs out of the store and has them worked on.
#[derive(Debug, Clone)]
pub struct Runner {
    store: Store,
    pool: ComputePool,
    config: RunnerConfig,
    wake: Arc<Notify>,
    owner: String,
    held: Arc<Mutex<HashMap<JobId, i64>>>,
}

impl Runner {
    /// `wake` is notified after each enqueue in this process; without it the poll finds the job.
    pub fn new(store: Store, pool: ComputePool, config: RunnerConfig, wake: Arc<Notify>) -> Self {
        // Random per process start: a restarted process must not look like its predecessor.
        let owner = uuid::Uuid::now_v7().to_string();
        Self { store, pool, config, wake, owner, held: Arc::default() }
    }

    /// Works until the process is to stop; then finishes what is running, hands back what does not
    /// finish in time, and returns.
    pub async fn run(self, mut shutdown: Shutdown) {
        let heart = tokio::spawn(self.clone().beat());
        let mut running = JoinSet::new();
        while !shutdown.is_wished() {
            // Interest is registered before the table is looked at, so no wake-up is lost.
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let slot = tokio::select! {
                biased;
                () = shutdown.wished() => break,
                slot = self.pool.slot() => slot,
            };
            let Ok(slot) = slot else { break };
            // Not under the select: a claim that is cut off takes effect all the same, and its jobs
            // would be nobody's until their leases are over.
            let claimed = self.claim_and_start(slot, &mut running).await;
            while running.try_join_next().is_some() {}
            if claimed == 0 {
                let pause = self.config.poll.mul_f64(0.9 + 0.2 * jitter());
                tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.wished() => {}
                }
            }
        }
        self.drain(running).await;
        heart.abort();
    }

    /// Works until nothing is due, and returns how many jobs were run. For tests and one-off runs.
    pub async fn run_until_idle(&self) -> usize {
        let mut total = 0;
        loop {
            let mut running = JoinSet::new();
            let Ok(slot) = self.pool.slot().await else { return total };
            let claimed = self.claim_and_start(slot, &mut running).await;
            while running.join_next().await.is_some() {}
            if claimed == 0 {
                return total;
            }
            total += claimed;
        }
    }

    /// Claims a job for this free thread and for each further one, starts them; returns how many.
    async fn claim_and_start(&self, free: Slot, running: &mut JoinSet<()>) -> usize {
        let mut slots = vec![free];
        slots.extend(std::iter::from_fn(|| self.pool.try_slot()));
        let limit = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let leases = match self.store.claim(limit, &self.owner, self.config.lease).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(%error, "no jobs could be claimed");
                return 0;
            }
        };
        let claimed = leases.len();
        for (lease, slot) in leases.into_iter().zip(slots) {
            self.hold(lease.job.id, Some(lease.token));
            running.spawn(self.clone().work(lease, slot));
        }
        claimed
    }

    async fn work(self, lease: Lease, slot: Slot) {
        compare_job::run(&self.store, &self.pool, &self.config, &lease, slot).await;
        self.hold(lease.job.id, None);
    }

    fn hold(&self, id: JobId, token: Option<i64>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match token {
            Some(token) => held.insert(id, token),
            None => held.remove(&id),
        };
    }

    fn holding(&self) -> Vec<(JobId, i64)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(id, token)| (*id, *token)).collect()
    }

    /// Renews the leases of running jobs, three times as often as they run out.
    async fn beat(self) {
        loop {
            tokio::time::sleep(self.config.lease / 3).await;
            let held = self.holding();
            if held.is_empty() {
                continue;
            }
            match self.store.renew(&held, self.config.lease).await {
                Ok(kept) if kept.len() < held.len() => {
                    tracing::warn!(lost = held.len() - kept.len(), "leases lost");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
        }
    }

    async fn drain(&self, mut running: JoinSet<()>) {
        let finished = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.drain, finished).await.is_ok() {
            return;
        }
        for (id, token) in self.holding() {
            match self.store.hand_back(id, token).await {
                Ok(()) => tracing::info!(job = id, "job handed back"),
                Err(error) => tracing::warn!(job = id, %error, "job could not be handed back"),
            }
        }
    }
}

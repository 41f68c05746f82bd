//! The loop of a worker: a free thread, a claim, a job; a drain at the end. A heartbeat beside it
//! renews the leases.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet};

use super::{
    compare_job::{self, jitter},
    config::RunnerConfig,
    pool::ComputePool,
};
use crate::{
    gate::Slot,
    queue::{JobId, Lease, Store},
    shutdown::Shutdown,
};

/// Takes jobs out of the store and has them worked on.
#[derive(Debug, Clone)]
pub struct Runner {
    store: Store,
    pool: ComputePool,
    config: RunnerConfig,
    wake: Arc<Notify>,
    owner: String,
    held: Arc<Mutex<HashMap<JobId, i64>>>,
    /// Apart from the loop: if that panics, its jobs go on.
    running: Arc<Mutex<JoinSet<()>>>,
}

impl Runner {
    /// `wake` is notified after each enqueue in this process; without it the poll finds the job.
    pub fn new(store: Store, pool: ComputePool, config: RunnerConfig, wake: Arc<Notify>) -> Self {
        // Random per process start: a restarted process must not look like its predecessor.
        let owner = uuid::Uuid::now_v7().to_string();
        let (held, running) = (Arc::default(), Arc::default());
        Self { store, pool, config, wake, owner, held, running }
    }

    /// Works until the process is to stop; then finishes what is running, puts back what does not
    /// finish in time, and returns. [`heartbeat`](Self::heartbeat) has to run beside it.
    pub async fn run(self, mut shutdown: Shutdown) {
        // What the last look at the table came to.
        let mut looked = Ok(0);
        while !shutdown.is_requested() {
            // Interest is registered before the table is looked at, so no wake-up is lost.
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            // A database that does not respond gets no thread to wait with: others may need it.
            if looked.is_err() {
                let answers = tokio::select! {
                    answer = self.store.ping() => answer.is_ok(),
                    () = shutdown.requested() => break,
                };
                if !answers {
                    self.pause(&mut shutdown).await;
                    continue;
                }
            }
            let slot = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                slot = self.pool.slot() => slot,
            };
            let Ok(slot) = slot else { break };
            // Not under the select: a claim that is cut off takes effect all the same, and its jobs
            // would be nobody's until their leases are over.
            let greedy = looked.is_ok_and(|claimed| claimed > 0);
            looked = self.claim_and_start(slot, greedy).await;
            while locked(&self.running).try_join_next().is_some() {}
            if looked.is_err() {
                self.pause(&mut shutdown).await;
            } else if looked == Ok(0) {
                tokio::select! {
                    () = woken => {}
                    () = self.pause(&mut shutdown) => {}
                }
            }
        }
        self.drain().await;
    }

    /// Until the next poll, or until the process is to stop.
    async fn pause(&self, shutdown: &mut Shutdown) {
        let pause = self.config.poll.mul_f64(0.9 + 0.2 * jitter());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => {}
        }
    }

    /// Works until nothing is due, and returns how many jobs were run. For tests and one-off runs.
    pub async fn run_until_idle(&self) -> usize {
        let mut total = 0;
        loop {
            let Ok(slot) = self.pool.slot().await else { return total };
            let claimed = self.claim_and_start(slot, true).await.unwrap_or(0);
            let mut running = std::mem::take(&mut *locked(&self.running));
            while running.join_next().await.is_some() {}
            if claimed == 0 {
                return total;
            }
            total += claimed;
        }
    }

    /// Claims a job for this free thread and, if `greedy`, for each further one; starts them and
    /// returns how many. Threads are not taken away from other databases on the mere chance of a
    /// job.
    async fn claim_and_start(&self, free: Slot, greedy: bool) -> Result<usize, NotClaimed> {
        let mut slots = vec![free];
        if greedy {
            slots.extend(std::iter::from_fn(|| self.pool.try_slot()));
        }
        let limit = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let leases = match self.store.claim(limit, &self.owner, self.config.lease).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(%error, "no jobs could be claimed");
                return Err(NotClaimed);
            }
        };
        let claimed = leases.len();
        for (lease, slot) in leases.into_iter().zip(slots) {
            let held = Held::new(&self.held, &lease);
            locked(&self.running).spawn(self.clone().work(lease, slot, held));
        }
        Ok(claimed)
    }

    async fn work(self, lease: Lease, slot: Slot, held: Held) {
        compare_job::run(&self.store, &self.pool, &self.config, &lease, slot).await;
        drop(held);
    }

    fn holding(&self) -> Vec<(JobId, i64)> {
        locked(&self.held).iter().map(|(id, token)| (*id, *token)).collect()
    }

    /// Renews the leases of running jobs, three times as often as they run out, until it is
    /// aborted.
    pub async fn heartbeat(self) {
        loop {
            tokio::time::sleep(self.config.lease / 3).await;
            let held = self.holding();
            if held.is_empty() {
                continue;
            }
            match self.store.renew(&held, self.config.lease).await {
                Ok(kept) if kept.len() < held.len() => {
                    let lost = held.len() - kept.len();
                    metrics::counter!("visavis_leases_lost_total").increment(lost as u64);
                    tracing::warn!(lost, "leases lost");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
        }
    }

    async fn drain(&self) {
        let mut running = std::mem::take(&mut *locked(&self.running));
        let finished = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.drain, finished).await.is_ok() {
            return;
        }
        let mut put_back = JoinSet::new();
        for (id, token) in self.holding() {
            let store = self.store.clone();
            put_back.spawn(async move {
                // It was worked on for the whole drain: the attempt counts, or a job that never
                // ends would be retried without end.
                match store.retry(id, token, Duration::ZERO).await {
                    Ok(()) => tracing::info!(job = id, "job put back at shutdown"),
                    Err(error) => tracing::warn!(job = id, %error, "cannot put back a job"),
                }
            });
        }
        // One that is not put back is claimed again when its lease ends.
        let all = async { while put_back.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(PUT_BACK, all).await;
    }
}

/// How long it may take to put jobs back.
const PUT_BACK: Duration = Duration::from_secs(3);

/// The table could not be looked at; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotClaimed;

/// Has the lease of a job renewed until it is dropped.
struct Held {
    all: Arc<Mutex<HashMap<JobId, i64>>>,
    id: JobId,
    token: i64,
}

impl Held {
    fn new(all: &Arc<Mutex<HashMap<JobId, i64>>>, lease: &Lease) -> Self {
        let held = Self { all: Arc::clone(all), id: lease.job.id, token: lease.token };
        locked(&held.all).insert(held.id, held.token);
        held
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Held {
    fn drop(&mut self) {
        // The same process may have claimed the job again since.
        let mut all = locked(&self.all);
        if all.get(&self.id) == Some(&self.token) {
            all.remove(&self.id);
        }
    }
}

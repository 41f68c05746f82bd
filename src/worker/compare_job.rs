//! One job: pictures out of the store, outcome into it.

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument as _, field::Empty};

use super::{
    config::RunnerConfig,
    outcome_metrics,
    pool::{ComputePool, PoolFailure},
};
use crate::{
    compare::Outcome,
    gate::Slot,
    queue::{Lease, QueueError, Store},
    telemetry::traces::{Past, continue_trace, record_past},
};

/// Why a job has no outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// Another worker holds the job or has finished it.
    #[error("the lease was lost")]
    LeaseLost,
    /// The comparison took longer than a job may.
    #[error("the job took longer than {0:?}")]
    Deadline(Duration),
    /// It must run alone in the process, and another such job does, or a comparison does not end.
    #[error("a retried job must run alone, and another one does: it waits")]
    IsolationBusy,
    /// Its earlier attempts ended with their processes, without an error.
    #[error("every attempt ended with the process that made it")]
    KeepsCrashing,
    /// The engine failed.
    #[error(transparent)]
    Pool(#[from] PoolFailure),
    /// The store failed.
    #[error(transparent)]
    Queue(QueueError),
}

/// How long a job waits for a process that has its master key before it counts as broken, and how
/// long between two looks.
const KEY_PATIENCE: Duration = Duration::from_hours(1);
const KEY_PAUSE: Duration = Duration::from_secs(10);

impl JobError {
    /// While the master key is being changed, a process may not have the one that is needed yet.
    fn is_of_the_key(&self) -> bool {
        matches!(self, Self::Queue(QueueError::Seal(_)))
    }
}

impl From<QueueError> for JobError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::LeaseLost => Self::LeaseLost,
            other => Self::Queue(other),
        }
    }
}

/// Runs a claimed job to its end: completed, put back for another attempt, or buried.
pub(super) async fn run(
    store: &Store,
    pool: &ComputePool,
    config: &RunnerConfig,
    lease: &Lease,
    slot: Slot,
) {
    let job = &lease.job;
    let span = tracing::error_span!(
        "worker.job",
        transaction = job.transaction_id.as_str(),
        client = job.client_id,
        client_name = job.client_name,
        attempt = job.attempt,
        trace = Empty,
    );
    let trace = continue_trace(&span, job.options.trace);
    span.record("trace", tracing::field::display(trace));
    run_traced(store, pool, config, lease, slot).instrument(span).await;
}

async fn run_traced(
    store: &Store,
    pool: &ComputePool,
    config: &RunnerConfig,
    lease: &Lease,
    slot: Slot,
) {
    let (job, claimed, waited) = (&lease.job, Instant::now(), store.age(&lease.job));
    record_past(Past { name: "queue.wait", took: waited, ago: Duration::ZERO, attributes: &[] });
    let mut rights = Rights { slot: Some(slot), alone: None };
    let error = match work(store, pool, config, lease, &mut rights).await {
        Ok(outcome) => match store.complete(job.id, lease.token, &outcome).await {
            Ok(()) => {
                metrics::counter!("visavis_jobs_completed_total").increment(1);
                metrics::histogram!("visavis_job_seconds").record(store.age(job));
                tracing::info!(
                    outcome = outcome_metrics::name(&outcome),
                    waited_ms = whole_ms(waited),
                    elapsed_ms = whole_ms(claimed.elapsed()),
                    "job completed"
                );
                return;
            }
            Err(error) => JobError::from(error),
        },
        Err(error) => error,
    };
    if matches!(error, JobError::LeaseLost) {
        tracing::warn!("lease lost: dropping the outcome");
        return;
    }
    let ended = if matches!(error, JobError::IsolationBusy) {
        tracing::info!(%error, "job put back");
        store.postpone(job.id, lease.token, config.retry.first_delay).await
    } else if error.is_of_the_key() && store.age(job) < KEY_PATIENCE {
        metrics::counter!("visavis_seal_failures_total").increment(1);
        tracing::error!(
            %error,
            "cannot decrypt the photos with the master key of this process: the job waits for \
             another process"
        );
        store.postpone(job.id, lease.token, KEY_PAUSE).await
    } else if let Some(delay) = config
        .retry
        .delay(job.attempt, jitter())
        .filter(|_| !matches!(error, JobError::KeepsCrashing))
    {
        metrics::counter!("visavis_retries_total").increment(1);
        tracing::warn!(delay_ms = whole_ms(delay), %error, "job failed: retrying");
        store.retry(job.id, lease.token, delay).await
    } else {
        metrics::counter!("visavis_dead_total").increment(1);
        tracing::error!(%error, "job failed: giving up");
        store.bury(job.id, lease.token).await
    };
    if let Err(error) = ended {
        // The lease runs out by itself, and the job becomes claimable again.
        tracing::warn!(%error, "cannot put back the failed job");
    }
    // Only now: a job that waits for all threads may end the process, and this job is safe from
    // that.
    drop(rights);
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a job may use; given back when its end is written down.
struct Rights {
    slot: Option<Slot>,
    /// To be the one suspect of the process.
    alone: Option<OwnedSemaphorePermit>,
}

async fn work(
    store: &Store,
    pool: &ComputePool,
    config: &RunnerConfig,
    lease: &Lease,
    rights: &mut Rights,
) -> Result<Outcome, JobError> {
    if lease.job.attempt > config.retry.max_attempts {
        return Err(JobError::KeepsCrashing);
    }
    if lease.job.attempt > 1 {
        alone(pool, config, rights).await?;
    }
    let request = store.payload(lease).await?.ok_or(JobError::LeaseLost)?;
    let slot = rights.slot.take().ok_or(JobError::IsolationBusy)?;
    let outcome = tokio::time::timeout(config.job_deadline, pool.run(slot, request)).await;
    outcome.map_err(|_| JobError::Deadline(config.job_deadline))?.map_err(JobError::from)
}

/// All threads instead of one: an earlier attempt at this job may have ended with its process, and
/// nothing else must be lost if this one does. Others like it are put back meanwhile, or they would
/// go down with it while they wait, again and again, until they are given up for nothing.
async fn alone(
    pool: &ComputePool,
    config: &RunnerConfig,
    rights: &mut Rights,
) -> Result<(), JobError> {
    rights.alone = Some(pool.try_isolate().ok_or(JobError::IsolationBusy)?);
    // Given back first: all of them includes this one.
    drop(rights.slot.take());
    let all = tokio::time::timeout(config.job_deadline, pool.all_slots()).await;
    rights.slot = Some(all.map_err(|_| JobError::IsolationBusy)??);
    Ok(())
}

/// A number from 0 to 1 that differs from call to call; only spreads retries and polls.
pub(super) fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128();
    (random % 1_000) as f64 / 1_000.0
}

//! One job: pictures out of the store, outcome into it.

use std::time::Duration;

use super::{
    pool::{ComputePool, PoolFailure, Slot},
    runner::RunnerConfig,
};
use crate::{
    compare::Outcome,
    queue::{Lease, QueueError, Store},
};

/// Why a job has no outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// Somebody else holds the job or has finished it: there is nothing left to do.
    #[error("the lease was lost")]
    LeaseLost,
    /// The comparison took longer than a job may.
    #[error("the job took longer than {0:?}")]
    Deadline(Duration),
    /// It had to be alone in the process, and somebody else did not come to an end.
    #[error("the other comparisons of this process do not end, and this one must be alone")]
    Crowded,
    /// The engine failed.
    #[error(transparent)]
    Pool(#[from] PoolFailure),
    /// The store failed.
    #[error(transparent)]
    Queue(QueueError),
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
    let transaction = job.transaction_id.as_str();
    let error = match work(store, pool, config, lease, slot).await {
        Ok(outcome) => match store.complete(job.id, lease.token, &outcome).await {
            Ok(()) => {
                tracing::info!(transaction, attempt = job.attempt, "job completed");
                return;
            }
            Err(error) => JobError::from(error),
        },
        Err(error) => error,
    };
    if matches!(error, JobError::LeaseLost) {
        tracing::warn!(transaction, attempt = job.attempt, "lease lost: the outcome is dropped");
        return;
    }
    let ended = if matches!(error, JobError::Crowded) {
        tracing::warn!(transaction, %error, "job handed back");
        store.hand_back(job.id, lease.token).await
    } else if let Some(delay) = config.retry.delay(job.attempt, jitter()) {
        tracing::warn!(transaction, attempt = job.attempt, ?delay, %error, "job failed, will be retried");
        store.retry(job.id, lease.token, delay).await
    } else {
        tracing::error!(transaction, attempt = job.attempt, %error, "job failed for the last time");
        store.bury(job.id, lease.token).await
    };
    if let Err(error) = ended {
        // The lease runs out by itself, and the job becomes claimable again.
        tracing::warn!(transaction, %error, "the failed job could not be put back");
    }
}

async fn work(
    store: &Store,
    pool: &ComputePool,
    config: &RunnerConfig,
    lease: &Lease,
    slot: Slot,
) -> Result<Outcome, JobError> {
    if lease.job.attempt > config.retry.max_attempts {
        // Earlier attempts ended without a word: their processes died on this job.
        store.bury(lease.job.id, lease.token).await?;
        return Err(JobError::LeaseLost);
    }
    let slot = if lease.job.attempt > 1 { alone(pool, config, slot).await? } else { slot };
    let request = store.payload(lease).await?.ok_or(JobError::LeaseLost)?;
    let outcome = tokio::time::timeout(config.job_deadline, pool.run(slot, request)).await;
    outcome.map_err(|_| JobError::Deadline(config.job_deadline))?.map_err(JobError::from)
}

/// All threads instead of one: an earlier attempt at this job may have ended with its process, and nothing
/// else must be lost if this one does.
async fn alone(pool: &ComputePool, config: &RunnerConfig, one: Slot) -> Result<Slot, JobError> {
    // Given back first: two such jobs, each holding on to its own, would wait for each other for ever.
    drop(one);
    let all = tokio::time::timeout(config.job_deadline, pool.all_slots()).await;
    Ok(all.map_err(|_| JobError::Crowded)??)
}

/// A number from 0 to 1 that differs from call to call; only spreads retries and polls.
pub(super) fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128();
    (random % 1_000) as f64 / 1_000.0
}

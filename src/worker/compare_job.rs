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
    let ended = if let Some(delay) = config.retry.delay(job.attempt, jitter()) {
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
    let request = store.payload(lease).await?.ok_or(JobError::LeaseLost)?;
    let deadline = config.job_deadline.min(lease.remaining());
    tokio::time::timeout(deadline, pool.run(slot, request))
        .await
        .map_err(|_| JobError::Deadline(deadline))?
        .map_err(JobError::from)
}

/// A number from 0 to 1 that differs from call to call; only spreads retries and polls.
pub(super) fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128();
    (random % 1_000) as f64 / 1_000.0
}

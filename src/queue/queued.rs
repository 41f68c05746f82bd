//! `compare` in a process without workers: a job in the queue for the workers of other processes.

use std::time::Duration;

use super::{
    error::QueueError,
    job::{Accepted, NewJob, TransactionState},
    shard::Shard,
};
use crate::compare::TransactionId;

/// Has pairs compared by the workers of other processes, while the caller waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueuedComparer;

impl QueuedComparer {
    /// Enqueues the job and waits up to `timeout` for its end. A job that is not finished by then
    /// continues; the client can ask for its transaction.
    ///
    /// # Errors
    /// As [`Store::enqueue`](super::Store::enqueue) and
    /// [`Store::transaction`](super::Store::transaction).
    pub async fn compare(
        self,
        shard: &Shard,
        job: &NewJob<'_>,
        timeout: Duration,
    ) -> Result<(TransactionId, TransactionState), QueueError> {
        let begun = tokio::time::Instant::now();
        let accepted = shard.store.enqueue(job).await?;
        if matches!(accepted, Accepted::New(_)) {
            shard.admission.add(job.client_id, job.request.bytes());
            shard.wake.job_arrived();
        }
        let id = accepted.transaction_id().clone();
        let left = timeout.saturating_sub(begun.elapsed());
        if let Some(state) = shard.waiting.wait(&id, left).await {
            return Ok((id, state));
        }
        // It may have ended since the last poll.
        let found = shard.store.transaction(job.client_id, &id).await?;
        let state = found.map_or(TransactionState::Dead, |transaction| transaction.state);
        Ok((id, state))
    }
}

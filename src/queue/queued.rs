//! `compare` where this process has no workers: through the queue, as somebody else's job.

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
    /// Enqueues the job and waits for its end for at most `patience`. A job that is not finished by then
    /// goes on; its transaction can be asked for.
    ///
    /// # Errors
    /// As [`Store::enqueue`](super::Store::enqueue) and [`Store::transaction`](super::Store::transaction).
    pub async fn compare(
        self,
        shard: &Shard,
        job: &NewJob<'_>,
        patience: Duration,
    ) -> Result<(TransactionId, TransactionState), QueueError> {
        let begun = tokio::time::Instant::now();
        let accepted = shard.store.enqueue(job).await?;
        if matches!(accepted, Accepted::New(_)) {
            shard.gauge.add(job.client_id, job.request.bytes());
            shard.wake.job_arrived();
        }
        let id = accepted.transaction_id().clone();
        let left = patience.saturating_sub(begun.elapsed());
        if let Some(state) = shard.waiting.wait(&id, left).await {
            return Ok((id, state));
        }
        // The last word: it may have ended between the last look and now.
        let found = shard.store.transaction(job.client_id, &id).await?;
        let state = found.map_or(TransactionState::Dead, |transaction| transaction.state);
        Ok((id, state))
    }
}

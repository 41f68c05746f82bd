//! `compare` where this process has no workers: through the queue, as somebody else's job.

use std::time::Duration;

use super::{
    error::QueueError,
    job::{Accepted, NewJob, TransactionState},
    store::Store,
    wake::Wake,
};
use crate::compare::TransactionId;

/// How long to wait before looking for an outcome, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(15);
const LONGEST_LOOK: Duration = Duration::from_millis(200);

/// Has pairs compared by the workers of other processes, while the caller waits.
#[derive(Debug, Clone)]
pub struct QueuedComparer {
    store: Store,
    wake: Wake,
}

impl QueuedComparer {
    /// Compares through `store`.
    pub fn new(store: Store, wake: Wake) -> Self {
        Self { store, wake }
    }

    /// Enqueues the job and waits for its end for at most `patience`. A job that is not finished by then
    /// goes on; its transaction can be asked for.
    ///
    /// # Errors
    /// As [`Store::enqueue`] and [`Store::transaction`].
    pub async fn compare(
        &self,
        job: &NewJob<'_>,
        patience: Duration,
    ) -> Result<(TransactionId, TransactionState), QueueError> {
        let begun = tokio::time::Instant::now();
        let accepted = self.store.enqueue(job).await?;
        if matches!(accepted, Accepted::New(_)) {
            self.wake.job_arrived();
        }
        let id = accepted.transaction_id().clone();
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let found = self.store.transaction(job.client_id, &id).await?;
            let state = found.map_or(TransactionState::Dead, |transaction| transaction.state);
            let over = begun.elapsed() + pause > patience;
            if over || !matches!(state, TransactionState::Processing) {
                return Ok((id, state));
            }
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }
}

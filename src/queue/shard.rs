//! The databases of an installation side by side. One of them has a client and its jobs; its number
//! is in every transaction id, so that an outcome is looked up in the right database.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    admission::QueueAdmission,
    error::QueueError,
    job::{Accepted, NewJob, TransactionState},
    outcome_poller::OutcomePoller,
    store::Store,
    wake::Wake,
};
use crate::compare::TransactionId;

/// One database of jobs and its state in this process; clones share it.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its number in transaction ids.
    pub(crate) number: u32,
    /// Its jobs.
    pub(crate) store: Store,
    /// Whether another job fits.
    pub admission: QueueAdmission,
    /// Notifies its workers.
    pub wake: Wake,
    /// Callers that wait for outcomes.
    pub waiting: OutcomePoller,
}

/// The databases that this process serves.
#[derive(Debug, Clone)]
pub struct Shards {
    served: Arc<[Shard]>,
    configured: u32,
}

/// The database with a number.
#[derive(Debug)]
pub enum ShardLookup<'a> {
    /// Served by this process.
    Here(&'a Shard),
    /// Served by other processes.
    Elsewhere,
    /// No database has this number.
    Unknown,
}

impl Shard {
    /// The database with this number.
    pub fn new(number: u32, store: Store) -> Self {
        let admission = QueueAdmission::default();
        let (wake, waiting) = (Wake::default(), OutcomePoller::default());
        Self { number, store, admission, wake, waiting }
    }

    /// Stores a job and wakes a worker.
    ///
    /// # Errors
    /// As [`Store::enqueue`].
    pub(crate) async fn enqueue(&self, job: &NewJob<'_>) -> Result<Accepted, QueueError> {
        let accepted = self.store.enqueue(job).await?;
        if matches!(accepted, Accepted::New(_)) {
            self.admission.add(job.client_id, job.request.bytes());
            self.wake.job_arrived();
        }
        Ok(accepted)
    }

    /// Stores a job for the workers of other processes and waits up to `timeout` for its end. A job
    /// that is not finished by then continues; the client can ask for its transaction.
    ///
    /// # Errors
    /// As [`Store::enqueue`] and [`Store::transaction`].
    pub(crate) async fn enqueue_and_wait(
        &self,
        job: &NewJob<'_>,
        timeout: Duration,
    ) -> Result<(TransactionId, TransactionState), QueueError> {
        let begun = Instant::now();
        let id = self.enqueue(job).await?.transaction_id().clone();
        let left = timeout.saturating_sub(begun.elapsed());
        if let Some(state) = self.waiting.wait(&id, left).await {
            return Ok((id, state));
        }
        // It may have ended since the last poll.
        let found = self.store.transaction(job.client_id, &id).await?;
        let state = found.map_or(TransactionState::Dead, |transaction| transaction.state);
        Ok((id, state))
    }
}

impl Shards {
    /// Those of `configured` databases that this process serves; at least one.
    pub fn new(served: Vec<Shard>, configured: u32) -> Self {
        Self { served: served.into(), configured }
    }

    /// The database with this number.
    pub(crate) fn find(&self, number: u32) -> ShardLookup<'_> {
        match self.served.iter().find(|shard| shard.number == number) {
            Some(shard) => ShardLookup::Here(shard),
            None if number < self.configured => ShardLookup::Elsewhere,
            None => ShardLookup::Unknown,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.served.iter()
    }
}

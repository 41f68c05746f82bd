//! What can go wrong with the queue.

use crate::sealing::SealError;

/// A failed operation on the job table.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The lease expired and another worker holds the job, or the job has ended. The caller must
    /// drop its result; nothing is broken.
    #[error("the lease on the job was lost")]
    LeaseLost,
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A payload could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A row has a value that Visavis never writes.
    #[error("a row of the job table is inconsistent: {0}")]
    Inconsistent(String),
}

impl QueueError {
    /// Whether no connection became free in time: the load is too high, and nothing is broken.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }
}

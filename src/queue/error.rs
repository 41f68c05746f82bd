//! What can go wrong with the queue.

use crate::sealing::SealError;

/// A failed operation on the job table.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The lease ran out and another worker holds the job, or it is finished. The result at hand is
    /// to be dropped; nothing is broken.
    #[error("the lease on the job was lost")]
    LeaseLost,
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A payload could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A row holds something that was never written there.
    #[error("a row of the job table is inconsistent: {0}")]
    Inconsistent(String),
}

impl QueueError {
    /// Whether no connection became free in time: too much is going on, and nothing is broken.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }
}

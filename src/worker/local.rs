//! Comparisons while the caller waits, on the compute threads of this process: the photos stay in
//! memory. The inspection of one photo waits in the same room.

use std::time::Duration;

use super::pool::{ComputePool, PoolFailure};
use crate::{
    compare::{Inspection, Outcome, PictureData, PictureKind, Request},
    gate::{Full, Participant, Slot},
};

/// Compares on the threads of this process while the caller waits; clones share them.
#[derive(Debug, Clone)]
pub struct LocalComparer {
    pool: ComputePool,
    room: usize,
}

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompareFailure {
    /// The waiting room is full.
    #[error("too many comparisons are waiting")]
    Busy,
    /// The timeout of the caller is over.
    #[error("the comparison took too long")]
    TimedOut,
    /// An internal failure, which is logged.
    #[error("the comparison failed")]
    Failed,
}

impl LocalComparer {
    /// At most `room` requests wait for a thread. Clients take turns.
    pub fn new(pool: ComputePool, room: usize) -> Self {
        Self { pool, room }
    }

    /// The outcome of a request of this client within `timeout`.
    ///
    /// # Errors
    /// [`CompareFailure`].
    pub async fn compare(
        &self,
        client_id: &str,
        request: Request,
        timeout: Duration,
    ) -> Result<Outcome, CompareFailure> {
        let client = Participant::Client(client_id.to_owned());
        within(timeout, async {
            let slot = self.slot(&client).await?;
            self.pool.run(slot, request).await.map_err(into_compare_failure)
        })
        .await
    }

    /// What is found on one photo, within `timeout`.
    ///
    /// # Errors
    /// [`CompareFailure`].
    pub async fn inspect(
        &self,
        picture: PictureData,
        kind: PictureKind,
        timeout: Duration,
    ) -> Result<Inspection, CompareFailure> {
        within(timeout, async {
            let slot = self.slot(&Participant::Operator).await?;
            self.pool.inspect(slot, picture, kind).await.map_err(into_compare_failure)
        })
        .await
    }

    /// Whether [`compare`](Self::compare) would not be [`CompareFailure::Busy`] now, to refuse a
    /// request before it is parsed. It may be busy a moment later.
    pub(crate) fn has_room(&self, client_id: &str) -> bool {
        self.pool.has_room_for(&Participant::Client(client_id.to_owned()), self.room)
    }

    async fn slot(&self, participant: &Participant) -> Result<Slot, CompareFailure> {
        let slot = self.pool.slot_for(participant, self.room).await;
        slot.map_err(|Full| CompareFailure::Busy)
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, CompareFailure>>,
) -> Result<T, CompareFailure> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(CompareFailure::TimedOut))
}

fn into_compare_failure(failure: PoolFailure) -> CompareFailure {
    if let PoolFailure::Face(error) = failure {
        tracing::error!(%error, "comparison failed");
    }
    CompareFailure::Failed
}

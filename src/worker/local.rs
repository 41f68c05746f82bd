//! `compare` in this process: the pair stays in memory and no picture touches the disk. A look at one picture
//! waits in the same room.

use std::time::Duration;

use super::pool::{ComputePool, PoolFailure};
use crate::{
    compare::{
        CompareFailure, Comparer, ComparerFuture, Inspection, InspectionFuture, Outcome,
        PictureData, PictureKind, Request, Viewer,
    },
    gate::{Full, Participant, Slot},
};

/// Compares on the threads of this process while the caller waits.
#[derive(Debug, Clone)]
pub struct LocalComparer {
    pool: ComputePool,
    room: usize,
}

impl LocalComparer {
    /// At most `room` requests wait for a thread. Clients take turns.
    pub fn new(pool: ComputePool, room: usize) -> Self {
        Self { pool, room }
    }

    async fn compare_now(
        &self,
        client_id: &str,
        request: Request,
    ) -> Result<Outcome, CompareFailure> {
        let slot = self.slot(&Participant::Client(client_id.to_owned())).await?;
        self.pool.run(slot, request).await.map_err(|failure| into_compare_failure(&failure))
    }

    async fn look_now(
        &self,
        picture: PictureData,
        kind: PictureKind,
    ) -> Result<Inspection, CompareFailure> {
        let slot = self.slot(&Participant::Operator).await?;
        self.pool
            .inspect(slot, picture, kind)
            .await
            .map_err(|failure| into_compare_failure(&failure))
    }

    async fn slot(&self, participant: &Participant) -> Result<Slot, CompareFailure> {
        let slot = self.pool.slot_for(participant, self.room).await;
        slot.map_err(|Full| CompareFailure::Busy)
    }
}

impl Comparer for LocalComparer {
    fn compare<'a>(
        &'a self,
        client_id: &'a str,
        request: Request,
        patience: Duration,
    ) -> ComparerFuture<'a> {
        Box::pin(async move {
            tokio::time::timeout(patience, self.compare_now(client_id, request))
                .await
                .unwrap_or(Err(CompareFailure::TimedOut))
        })
    }

    fn has_room(&self, client_id: &str) -> bool {
        self.pool.has_room_for(&Participant::Client(client_id.to_owned()), self.room)
    }
}

impl Viewer for LocalComparer {
    fn inspect(
        &self,
        picture: PictureData,
        kind: PictureKind,
        patience: Duration,
    ) -> InspectionFuture<'_> {
        Box::pin(async move {
            tokio::time::timeout(patience, self.look_now(picture, kind))
                .await
                .unwrap_or(Err(CompareFailure::TimedOut))
        })
    }
}

fn into_compare_failure(failure: &PoolFailure) -> CompareFailure {
    if let PoolFailure::Face(error) = failure {
        tracing::error!(%error, "a comparison failed");
    }
    CompareFailure::Failed
}

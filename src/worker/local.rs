//! `compare` in this process: the pair stays in memory and no picture touches the disk. A look at one picture
//! waits in the same room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::pool::{ComputePool, PoolFailure, Slot};
use crate::compare::{
    CompareFailure, Comparer, ComparerFuture, Look, LookFuture, Outcome, PictureData, PictureKind,
    Request, Viewer,
};

/// Compares on the threads of this process while the caller waits.
#[derive(Debug, Clone)]
pub struct LocalComparer {
    pool: ComputePool,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

impl LocalComparer {
    /// At most `limit` requests wait for a thread; further ones are refused at once.
    pub fn new(pool: ComputePool, limit: usize) -> Self {
        Self { pool, waiting: Arc::default(), limit }
    }

    async fn compare_now(&self, request: Request) -> Result<Outcome, CompareFailure> {
        let slot = self.slot().await?;
        self.pool.run(slot, request).await.map_err(|failure| told(&failure))
    }

    async fn look_now(
        &self,
        picture: PictureData,
        kind: PictureKind,
    ) -> Result<Look, CompareFailure> {
        let slot = self.slot().await?;
        self.pool.look(slot, picture, kind).await.map_err(|failure| told(&failure))
    }

    async fn slot(&self) -> Result<Slot, CompareFailure> {
        if let Some(slot) = self.pool.try_slot() {
            return Ok(slot);
        }
        let _place = Place::take(&self.waiting, self.limit).ok_or(CompareFailure::Busy)?;
        self.pool.slot().await.map_err(|_| CompareFailure::Failed)
    }
}

impl Comparer for LocalComparer {
    fn compare(&self, request: Request, patience: Duration) -> ComparerFuture<'_> {
        Box::pin(async move {
            tokio::time::timeout(patience, self.compare_now(request))
                .await
                .unwrap_or(Err(CompareFailure::TimedOut))
        })
    }

    fn has_room(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) < self.limit || self.pool.has_free_slot()
    }
}

impl Viewer for LocalComparer {
    fn look(&self, picture: PictureData, kind: PictureKind, patience: Duration) -> LookFuture<'_> {
        Box::pin(async move {
            tokio::time::timeout(patience, self.look_now(picture, kind))
                .await
                .unwrap_or(Err(CompareFailure::TimedOut))
        })
    }
}

fn told(failure: &PoolFailure) -> CompareFailure {
    if let PoolFailure::Face(error) = failure {
        tracing::error!(%error, "a comparison failed");
    }
    CompareFailure::Failed
}

/// A place in the waiting room, left when dropped, however the wait ends.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let taken = waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < limit).then_some(n + 1));
        taken.ok().map(|_| Self(Arc::clone(waiting)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

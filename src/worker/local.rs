//! `compare` in this process: the pair stays in memory and no picture touches the disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::pool::{ComputePool, PoolFailure};
use crate::compare::{CompareFailure, Comparer, ComparerFuture, Outcome, Request};

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
        let slot = if let Some(slot) = self.pool.try_slot() {
            slot
        } else {
            let _place = Place::take(&self.waiting, self.limit).ok_or(CompareFailure::Busy)?;
            self.pool.slot().await.map_err(|_| CompareFailure::Failed)?
        };
        self.pool.run(slot, request).await.map_err(|failure| {
            if let PoolFailure::Face(error) = &failure {
                tracing::error!(%error, "a comparison failed");
            }
            CompareFailure::Failed
        })
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

//! Whether connections of a pool may be dead. Most of the time none is, and nobody asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long after a failure connections are tested.
const LASTS: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is tested too: a server or a firewall may have closed it.
const IDLE: Duration = Duration::from_secs(5);

/// Shared by a pool and its calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspicion(Arc<Mutex<Option<Instant>>>);

/// A call that is under way. Dropped before it [ended](Self::ended), it leaves a connection with half an answer.
pub(super) struct UnderWay<'a>(Option<&'a Suspicion>);

impl Suspicion {
    pub(super) fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection is to be tested that was idle for so long.
    pub(super) fn is_due(&self, idle: Duration) -> bool {
        let raised = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle >= IDLE || raised.is_some_and(|raised| raised.elapsed() < LASTS)
    }

    pub(super) fn begin(&self) -> UnderWay<'_> {
        UnderWay(Some(self))
    }
}

impl UnderWay<'_> {
    pub(super) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(suspicion) = self.0 {
            suspicion.raise();
        }
    }
}

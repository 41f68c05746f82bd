//! Whether connections of a pool may be dead. Most of the time none is, and nobody asks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long after a failure connections are tested.
const LASTS: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is tested too: a server or a firewall may have closed it.
const IDLE: Duration = Duration::from_secs(5);

/// Shared by a pool and its calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspicion(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    raised: Option<Instant>,
    lost: Option<Instant>,
}

/// A call that is under way. Dropped before it [ended](Self::ended), it leaves a connection with half an answer.
pub(super) struct UnderWay<'a>(Option<&'a Suspicion>);

impl Suspicion {
    /// Whether a connection is to be tested that was idle for so long.
    pub(super) fn is_due(&self, idle: Duration) -> bool {
        idle >= IDLE || self.state().raised.is_some_and(|raised| raised.elapsed() < LASTS)
    }

    pub(super) fn begin(&self) -> UnderWay<'_> {
        UnderWay(Some(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// The server answered.
    pub(super) fn ended(mut self) {
        let Some(suspicion) = self.0.take() else { return };
        if let Some(lost) = suspicion.state().lost.take() {
            let lost_ms = u64::try_from(lost.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(lost_ms, "database connection restored");
        }
    }

    /// The server does not answer.
    pub(super) fn lost(self) {
        if let Some(suspicion) = self.0 {
            suspicion.state().lost.get_or_insert_with(Instant::now);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(suspicion) = self.0 {
            suspicion.state().raised = Some(Instant::now());
        }
    }
}

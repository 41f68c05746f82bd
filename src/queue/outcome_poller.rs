//! Callers of this process that wait for jobs of workers in other processes. One query polls for
//! all of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::{job::TransactionState, store::Store};
use crate::compare::TransactionId;

/// How often to poll while a caller has waited for less than [`RECENT`], and otherwise.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const SLOW_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Most comparisons end within it.
const RECENT: Duration = Duration::from_secs(1);

/// The callers that wait for each transaction; clones share them.
#[derive(Debug, Clone, Default)]
pub struct OutcomePoller {
    waiters: Arc<Mutex<HashMap<TransactionId, Vec<Waiter>>>>,
    arrived: Arc<Notify>,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    sender: oneshot::Sender<TransactionState>,
}

impl OutcomePoller {
    /// Waits for the end of a transaction; `None` when it does not come within `timeout`.
    pub(crate) async fn wait(
        &self,
        id: &TransactionId,
        timeout: Duration,
    ) -> Option<TransactionState> {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { since: Instant::now(), sender };
        self.waiters().entry(id.clone()).or_default().push(waiter);
        self.arrived.notify_one();
        tokio::time::timeout(timeout, receiver).await.ok()?.ok()
    }

    /// Polls for the outcomes that callers wait for, until it is aborted.
    pub async fn serve(self, store: Store) {
        loop {
            let Some((ids, pause)) = self.wanted() else {
                self.arrived.notified().await;
                continue;
            };
            tokio::time::sleep(pause).await;
            match store.ended(&ids).await {
                Ok(ended) => self.notify(ended),
                Err(error) => {
                    tracing::warn!(%error, "cannot look up outcomes: retrying");
                    tokio::time::sleep(SLOW_POLL_INTERVAL).await;
                }
            }
        }
    }

    /// The transactions that callers wait for, and how long to sleep before the next poll.
    fn wanted(&self) -> Option<(Vec<TransactionId>, Duration)> {
        let mut waiters = self.waiters();
        waiters.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.sender.is_closed());
            !waiters.is_empty()
        });
        let youngest = waiters.values().flatten().map(|waiter| waiter.since.elapsed()).min()?;
        let pause = if youngest < RECENT { POLL_INTERVAL } else { SLOW_POLL_INTERVAL };
        Some((waiters.keys().cloned().collect(), pause))
    }

    fn notify(&self, ended: Vec<(TransactionId, TransactionState)>) {
        let mut waiters = self.waiters();
        for (id, state) in ended {
            for waiter in waiters.remove(&id).into_iter().flatten() {
                // An error means that the caller has left.
                let _ = waiter.sender.send(state.clone());
            }
        }
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<TransactionId, Vec<Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

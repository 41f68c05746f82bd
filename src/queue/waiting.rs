//! Callers of this process that wait for jobs which other processes work on. However many there are, the
//! database is asked for all of them at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::{job::TransactionState, store::Store};
use crate::compare::TransactionId;

/// How often to look while somebody came a short time ago, and while all have waited for long.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(100);
/// What is a short time: most comparisons end within it.
const SHORT: Duration = Duration::from_secs(1);

/// Who waits for which transaction; clones share it.
#[derive(Debug, Clone, Default)]
pub struct WaitingRoom {
    seats: Arc<Mutex<HashMap<TransactionId, Vec<Seat>>>>,
    arrived: Arc<Notify>,
}

#[derive(Debug)]
struct Seat {
    since: Instant,
    call: oneshot::Sender<TransactionState>,
}

impl WaitingRoom {
    /// Waits for the end of a transaction; `None` when it does not come within `patience`.
    pub async fn wait(&self, id: &TransactionId, patience: Duration) -> Option<TransactionState> {
        let (call, called) = oneshot::channel();
        self.seats().entry(id.clone()).or_default().push(Seat { since: Instant::now(), call });
        self.arrived.notify_one();
        tokio::time::timeout(patience, called).await.ok()?.ok()
    }

    /// Looks for the outcomes that somebody waits for, until it is aborted.
    pub async fn serve(self, store: Store) {
        loop {
            let Some((ids, pause)) = self.wanted() else {
                self.arrived.notified().await;
                continue;
            };
            tokio::time::sleep(pause).await;
            match store.ended(&ids).await {
                Ok(ended) => self.call(ended),
                Err(error) => {
                    tracing::warn!(%error, "outcomes could not be looked for");
                    tokio::time::sleep(SELDOM).await;
                }
            }
        }
    }

    /// The transactions somebody still waits for, and how soon to look.
    fn wanted(&self) -> Option<(Vec<TransactionId>, Duration)> {
        let mut seats = self.seats();
        seats.retain(|_, seats| {
            seats.retain(|seat| !seat.call.is_closed());
            !seats.is_empty()
        });
        let youngest = seats.values().flatten().map(|seat| seat.since.elapsed()).min()?;
        let pause = if youngest < SHORT { OFTEN } else { SELDOM };
        Some((seats.keys().cloned().collect(), pause))
    }

    fn call(&self, ended: Vec<(TransactionId, TransactionState)>) {
        let mut seats = self.seats();
        for (id, state) in ended {
            for seat in seats.remove(&id).into_iter().flatten() {
                // An error means that the caller has gone.
                let _ = seat.call.send(state.clone());
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<TransactionId, Vec<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

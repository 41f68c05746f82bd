//! Repetitions of one signed request that arrive at the same time go one after the other: the later
//! ones find what the first one did, and nothing is counted or compared twice.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The signed requests that are under way; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Repetitions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    under_way: Mutex<HashSet<[u8; 32]>>,
    ended: Notify,
}

/// The only request with its signature that is under way; over when dropped.
#[derive(Debug)]
pub(super) struct Only {
    repetitions: Repetitions,
    dedupe: [u8; 32],
}

impl Repetitions {
    /// Waits until no other request with this digest is under way.
    pub(super) async fn enter(&self, dedupe: [u8; 32]) -> Only {
        loop {
            // Registered before the attempt, so that no end is missed in between.
            let ended = self.0.ended.notified();
            if self.under_way().insert(dedupe) {
                return Only { repetitions: self.clone(), dedupe };
            }
            ended.await;
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        self.repetitions.under_way().remove(&self.dedupe);
        self.repetitions.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_request_waits_and_another_one_does_not() {
        let repetitions = Repetitions::default();
        let first = repetitions.enter([1; 32]).await;
        let _other = repetitions.enter([2; 32]).await;
        let again = {
            let repetitions = repetitions.clone();
            tokio::spawn(async move { drop(repetitions.enter([1; 32]).await) })
        };
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        drop(first);
        again.await.unwrap();
        assert_eq!(repetitions.under_way().len(), 1);
    }
}

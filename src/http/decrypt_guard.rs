//! A limit on bodies that do not decrypt, per client.
//!
//! The Encrypt header is outside the signed text: whoever holds one signed encrypted request can send
//! it again with any wrapped key and watch what happens. The answers tell nothing (implicit rejection,
//! one error for all); this makes the watching slow, and loud. What is being decrypted counts as failed
//! until it has succeeded, so that many at once do not get further than one after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::error::ApiError;
use crate::clock::UnixMillis;

const WINDOW_MS: i64 = 60_000;

/// Counts failures in windows of a minute. Only known clients come here, so it stays small.
#[derive(Debug)]
pub(super) struct DecryptGuard {
    limit: u32,
    windows: Mutex<HashMap<String, Window>>,
    /// Somebody is through.
    through: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: UnixMillis,
    failures: u32,
    under_way: u32,
}

/// The right to decrypt one body, given back when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    guard: Arc<DecryptGuard>,
    client_id: String,
}

impl DecryptGuard {
    /// Allows `limit` failures a minute and client.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, windows: Mutex::default(), through: Notify::new() }
    }

    /// Lets a client have another body decrypted; waits while so many are under way that their failures
    /// would be too many.
    ///
    /// # Errors
    /// [`ApiError::TooManyUndecryptable`].
    pub(super) async fn admit(
        self: &Arc<Self>,
        client_id: &str,
        now: UnixMillis,
    ) -> Result<Pass, ApiError> {
        loop {
            // Made before looking, so that nobody gets through unheard in between.
            let through = self.through.notified();
            if let Some(pass) = self.try_admit(client_id, now)? {
                return Ok(pass);
            }
            through.await;
        }
    }

    /// `None` while it is not settled how many fail.
    fn try_admit(
        self: &Arc<Self>,
        client_id: &str,
        now: UnixMillis,
    ) -> Result<Option<Pass>, ApiError> {
        self.change(client_id, |window| {
            if !(0..WINDOW_MS).contains(&now.saturating_sub(window.began)) {
                (window.began, window.failures) = (now, 0);
            }
            if window.failures >= self.limit {
                metrics::counter!("visavis_decrypt_refused_total", "client" => client_id.to_owned())
                    .increment(1);
                return Err(ApiError::TooManyUndecryptable);
            }
            let room = window.failures.saturating_add(window.under_way) < self.limit;
            window.under_way += u32::from(room);
            let pass = || Pass { guard: Arc::clone(self), client_id: client_id.to_owned() };
            Ok(room.then(pass))
        })
    }

    fn change<T>(&self, client_id: &str, change: impl FnOnce(&mut Window) -> T) -> T {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { began: UnixMillis::MIN, failures: 0, under_way: 0 };
        change(windows.entry(client_id.to_owned()).or_insert(fresh))
    }
}

impl Pass {
    /// Counts a body that did not decrypt into JSON, in the minute that begins with the first of them.
    pub(super) fn failed(self, now: UnixMillis) {
        let client = self.client_id.as_str();
        metrics::counter!("visavis_decrypt_failures_total", "client" => client.to_owned())
            .increment(1);
        let failures = self.guard.change(client, |window| {
            if window.failures == 0 {
                window.began = now;
            }
            window.failures += 1;
            window.failures
        });
        if failures == self.guard.limit {
            tracing::warn!(
                client,
                failures,
                "bodies that do not decrypt: the client has a wrong key, or somebody probes the server's key; \
                 its encrypted requests are refused for up to a minute"
            );
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.guard.change(&self.client_id, |window| window.under_way -= 1);
        self.guard.through.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(limit: u32) -> Arc<DecryptGuard> {
        Arc::new(DecryptGuard::new(limit))
    }

    fn fail(guard: &Arc<DecryptGuard>, client_id: &str, now: UnixMillis) {
        guard.try_admit(client_id, now).unwrap().expect("there is room").failed(now);
    }

    fn refused(guard: &Arc<DecryptGuard>, client_id: &str, now: UnixMillis) -> bool {
        guard.try_admit(client_id, now).is_err()
    }

    #[test]
    fn a_client_is_held_back_for_the_rest_of_the_minute_and_no_other_is() {
        let guard = guard(3);
        for second in 0..3 {
            fail(&guard, "a", second * 1_000);
        }
        assert!(refused(&guard, "a", 3_000));
        assert!(!refused(&guard, "b", 3_000));
        assert!(refused(&guard, "a", 59_999));
        fail(&guard, "a", 60_000);
        assert!(!refused(&guard, "a", 60_001));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let guard = guard(1);
        fail(&guard, "a", 100_000);
        assert!(!refused(&guard, "a", 10_000));
    }

    #[tokio::test]
    async fn many_at_once_get_no_further_than_one_after_the_other() {
        let guard = guard(2);
        let (one, other) = (guard.admit("a", 0).await.unwrap(), guard.admit("a", 0).await.unwrap());
        let waiting = |guard: &Arc<DecryptGuard>| {
            let guard = Arc::clone(guard);
            tokio::spawn(async move { guard.admit("a", 0).await.map(|_| ()) })
        };
        let (third, fourth) = (waiting(&guard), waiting(&guard));
        tokio::task::yield_now().await;
        assert!(!third.is_finished() && !fourth.is_finished(), "both might still fail");
        drop(one);
        assert_eq!(third.await.unwrap(), Ok(()), "one of them did not");
        assert_eq!(fourth.await.unwrap(), Ok(()));
        other.failed(0);
        fail(&guard, "a", 0);
        assert!(refused(&guard, "a", 0));
    }
}

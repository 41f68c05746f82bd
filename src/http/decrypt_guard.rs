//! A limit on bodies that do not decrypt, per client.
//!
//! The Encrypt header is outside the signed text: whoever holds one signed encrypted request can send
//! it again with any wrapped key and watch what happens. The answers tell nothing (implicit rejection,
//! one error for all); this makes the watching slow, and loud.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::error::ApiError;
use crate::clock::UnixMillis;

const WINDOW_MS: i64 = 60_000;

/// Counts failures in windows of a minute. Only known clients come here, so it stays small.
#[derive(Debug)]
pub(super) struct DecryptGuard {
    limit: u32,
    windows: Mutex<HashMap<String, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: UnixMillis,
    failures: u32,
}

impl DecryptGuard {
    /// Allows `limit` failures a minute and client.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, windows: Mutex::default() }
    }

    /// Whether a client may have another body decrypted.
    ///
    /// # Errors
    /// [`ApiError::TooManyUndecryptable`].
    pub(super) fn admit(&self, client_id: &str, now: UnixMillis) -> Result<(), ApiError> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = windows.get(client_id).filter(|w| w.is_current(now)).map_or(0, |w| w.failures);
        if spent < self.limit {
            return Ok(());
        }
        metrics::counter!("visavis_decrypt_refused_total", "client" => client_id.to_owned())
            .increment(1);
        Err(ApiError::TooManyUndecryptable)
    }

    /// Counts a body that did not decrypt into JSON.
    pub(super) fn failed(&self, client_id: &str, now: UnixMillis) {
        metrics::counter!("visavis_decrypt_failures_total", "client" => client_id.to_owned())
            .increment(1);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { began: now, failures: 0 };
        let window = windows.entry(client_id.to_owned()).or_insert(fresh);
        if !window.is_current(now) {
            *window = fresh;
        }
        window.failures += 1;
        if window.failures == self.limit {
            tracing::warn!(
                client = client_id,
                failures = window.failures,
                "bodies that do not decrypt: the client has a wrong key, or somebody probes the server's key; \
                 its encrypted requests are refused for up to a minute"
            );
        }
    }
}

impl Window {
    fn is_current(&self, now: UnixMillis) -> bool {
        (0..WINDOW_MS).contains(&(now - self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_held_back_for_the_rest_of_the_minute_and_no_other_is() {
        let guard = DecryptGuard::new(3);
        for second in 0..3 {
            assert_eq!(guard.admit("a", second * 1_000), Ok(()));
            guard.failed("a", second * 1_000);
        }
        assert_eq!(guard.admit("a", 3_000), Err(ApiError::TooManyUndecryptable));
        assert_eq!(guard.admit("b", 3_000), Ok(()));
        assert_eq!(guard.admit("a", 59_999), Err(ApiError::TooManyUndecryptable));
        assert_eq!(guard.admit("a", 60_000), Ok(()));
        guard.failed("a", 60_000);
        assert_eq!(guard.admit("a", 60_001), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let guard = DecryptGuard::new(1);
        guard.failed("a", 100_000);
        assert_eq!(guard.admit("a", 10_000), Ok(()));
    }
}

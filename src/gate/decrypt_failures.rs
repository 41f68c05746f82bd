//! A limit on bodies that do not decrypt, per client and per signature.
//!
//! The Encrypt header is outside the signed text: an attacker who holds one signed request can send
//! it again with any wrapped key and watch what happens. The responses say nothing (implicit
//! rejection, one error for all); this makes the watching slow, and loud. What is being decrypted
//! counts as failed until it has succeeded, so that many at once do not get further than one after
//! the other. Repetitions of one signature count once against the client, who may not have sent
//! them, and have a limit of their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::{
    limit::{Limit, Refused},
    window::{MINUTE, left},
};
use crate::clock::UnixMillis;

/// Counts failures in windows of a minute. Only known clients come here, so it stays small.
#[derive(Debug)]
pub(super) struct DecryptFailures {
    limit: u32,
    windows: Mutex<HashMap<String, Window>>,
    /// A decryption has ended.
    ended: Notify,
}

#[derive(Debug)]
struct Window {
    began: UnixMillis,
    /// Failures by the digest of the signed request; at most `limit` of them.
    failures: HashMap<[u8; 32], u32>,
    under_way: u32,
}

/// The right to decrypt one body, given back when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    failures: Arc<DecryptFailures>,
    client_id: String,
    dedupe: [u8; 32],
}

impl DecryptFailures {
    /// Allows `limit` failures a minute and client.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, windows: Mutex::default(), ended: Notify::new() }
    }

    /// Lets a client have another body decrypted; waits while so many are under way that their
    /// failures would be too many.
    ///
    /// # Errors
    /// [`Limit::DecryptFailures`].
    pub(super) async fn admit(
        self: &Arc<Self>,
        client_id: &str,
        dedupe: [u8; 32],
        now: UnixMillis,
    ) -> Result<Pass, Refused> {
        loop {
            // Made before looking, so that no end is missed in between.
            let ended = self.ended.notified();
            if let Some(pass) = self.try_admit(client_id, dedupe, now)? {
                return Ok(pass);
            }
            ended.await;
        }
    }

    /// `None` while it is open how many fail.
    fn try_admit(
        self: &Arc<Self>,
        client_id: &str,
        dedupe: [u8; 32],
        now: UnixMillis,
    ) -> Result<Option<Pass>, Refused> {
        self.change(client_id, |window| {
            let left = left(window.began, MINUTE, now).unwrap_or_else(|| {
                window.began = now;
                window.failures.clear();
                MINUTE
            });
            let of_client = u32::try_from(window.failures.len()).unwrap_or(u32::MAX);
            let of_signature = window.failures.get(&dedupe).copied().unwrap_or_default();
            let failures = of_client.max(of_signature);
            if failures >= self.limit {
                metrics::counter!("visavis_decrypt_refused_total", "client" => client_id.to_owned())
                    .increment(1);
                return Err(Limit::DecryptFailures(self.limit).refuse_for(left));
            }
            let has_room = failures.saturating_add(window.under_way) < self.limit;
            window.under_way += u32::from(has_room);
            let client_id = client_id.to_owned();
            Ok(has_room.then(|| Pass { failures: Arc::clone(self), client_id, dedupe }))
        })
    }

    fn change<T>(&self, client_id: &str, change: impl FnOnce(&mut Window) -> T) -> T {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Window { began: UnixMillis::MIN, failures: HashMap::new(), under_way: 0 };
        change(windows.entry(client_id.to_owned()).or_insert_with(fresh))
    }
}

impl Pass {
    /// Counts a body that did not decrypt into JSON, in the minute that begins with the first of
    /// them.
    pub(super) fn failed(self, now: UnixMillis) {
        let client = self.client_id.as_str();
        metrics::counter!("visavis_decrypt_failures_total", "client" => client.to_owned())
            .increment(1);
        let (failures, is_new) = self.failures.change(client, |window| {
            if window.failures.is_empty() {
                window.began = now;
            }
            let of_signature = window.failures.entry(self.dedupe).or_default();
            *of_signature = of_signature.saturating_add(1);
            let is_new = *of_signature == 1;
            (u32::try_from(window.failures.len()).unwrap_or(u32::MAX), is_new)
        });
        if is_new && failures == self.failures.limit {
            tracing::warn!(
                client,
                failures,
                "bodies that do not decrypt: the client has a wrong key, or an attacker probes the \
                 server's key; its encrypted requests are refused for up to a minute"
            );
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.failures.change(&self.client_id, |window| window.under_way -= 1);
        self.failures.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(limit: u32) -> Arc<DecryptFailures> {
        Arc::new(DecryptFailures::new(limit))
    }

    fn fail(failures: &Arc<DecryptFailures>, client_id: &str, signature: u8, now: UnixMillis) {
        let pass = failures.try_admit(client_id, [signature; 32], now).unwrap();
        pass.expect("there is room").failed(now);
    }

    fn is_refused(
        failures: &Arc<DecryptFailures>,
        client_id: &str,
        signature: u8,
        now: UnixMillis,
    ) -> bool {
        failures.try_admit(client_id, [signature; 32], now).is_err()
    }

    #[test]
    fn a_client_is_refused_for_the_rest_of_the_minute_and_no_other_is() {
        let failures = failures(3);
        for signature in 0..3 {
            fail(&failures, "a", signature, i64::from(signature) * 1_000);
        }
        assert!(is_refused(&failures, "a", 9, 3_000));
        assert!(!is_refused(&failures, "b", 9, 3_000));
        assert!(is_refused(&failures, "a", 9, 59_999));
        fail(&failures, "a", 9, 60_000);
        assert!(!is_refused(&failures, "a", 10, 60_001));
    }

    #[test]
    fn repetitions_of_one_signature_are_refused_without_closing_the_client_out() {
        let failures = failures(3);
        for _ in 0..3 {
            fail(&failures, "a", 1, 0);
        }
        assert!(is_refused(&failures, "a", 1, 1));
        assert!(!is_refused(&failures, "a", 2, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let failures = failures(1);
        fail(&failures, "a", 1, 100_000);
        assert!(!is_refused(&failures, "a", 1, 10_000));
    }

    #[tokio::test]
    async fn many_at_once_get_no_further_than_one_after_the_other() {
        let failures = failures(2);
        let one = failures.admit("a", [1; 32], 0).await.unwrap();
        let other = failures.admit("a", [2; 32], 0).await.unwrap();
        let waiting = |signature| {
            let failures = Arc::clone(&failures);
            tokio::spawn(async move { failures.admit("a", [signature; 32], 0).await.map(|_| ()) })
        };
        let (third, fourth) = (waiting(3), waiting(4));
        tokio::task::yield_now().await;
        assert!(!third.is_finished() && !fourth.is_finished(), "both might still fail");
        drop(one);
        assert_eq!(third.await.unwrap(), Ok(()), "one of them did not");
        assert_eq!(fourth.await.unwrap(), Ok(()));
        other.failed(0);
        fail(&failures, "a", 5, 0);
        assert!(is_refused(&failures, "a", 6, 0));
    }
}

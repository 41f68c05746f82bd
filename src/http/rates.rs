//! How many requests each client may send, whatever the others do.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How many requests a second a client may send on average, and how many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

/// Counts the verified requests of every client.
#[derive(Debug)]
pub(super) struct Rates(Option<DefaultKeyedRateLimiter<String>>);

impl Rates {
    /// `None` lets everything pass.
    pub(super) fn new(rate: Option<ClientRate>) -> Self {
        Self(rate.map(|ClientRate { per_second, burst }| {
            RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst))
        }))
    }

    /// Counts a request; whether it is within the client's rate.
    pub(super) fn admit(&self, client_id: &str) -> bool {
        self.0.as_ref().is_none_or(|limiter| limiter.check_key(&client_id.to_owned()).is_ok())
    }

    /// Forgets clients that have been quiet: the table holds only those that matter.
    pub(super) fn forget_quiet(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_rate_and_burst() {
        let (per_second, burst) = (NonZeroU32::MIN, NonZeroU32::new(3).unwrap());
        let rates = Rates::new(Some(ClientRate { per_second, burst }));
        let admitted = |client: &str| (0..5).filter(|_| rates.admit(client)).count();
        assert_eq!((admitted("a"), admitted("b")), (3, 3));
        let free = Rates::new(None);
        assert!((0..1_000).all(|_| free.admit("a")));
    }
}

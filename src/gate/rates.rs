//! How many requests per second each client may send.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::limit::{Limit, Refused};
use crate::clients::ClientPolicy;

/// How many requests per second a client may send on average, and how many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl ClientRate {
    /// After this pause the whole burst is available again.
    fn recovers_within(self) -> Duration {
        Duration::from_secs(u64::from(self.burst.get() / self.per_second) + 1)
    }
}

/// Counts the verified requests of every client.
#[derive(Debug)]
pub(super) struct Rates {
    /// That of clients without one of their own; `None` lets everything pass.
    usual: Option<ClientRate>,
    /// The burst that goes with a rate of a client's own.
    burst: NonZeroU32,
    clients: Mutex<HashMap<String, Counted>>,
}

#[derive(Debug)]
struct Counted {
    rate: ClientRate,
    limiter: Arc<DefaultDirectRateLimiter>,
    last: Instant,
}

impl Counted {
    fn new(rate: ClientRate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { rate, limiter: Arc::new(RateLimiter::direct(quota)), last: Instant::now() }
    }
}

impl Rates {
    /// `usual` is the rate of clients that have none of their own, `burst` what goes with a rate
    /// that says nothing of it.
    pub(super) fn new(usual: Option<ClientRate>, burst: NonZeroU32) -> Self {
        Self { usual, burst, clients: Mutex::default() }
    }

    fn in_force(&self, policy: &ClientPolicy) -> Option<ClientRate> {
        let usual = self.usual;
        let per_second = policy.rate_per_s.or(usual.map(|rate| rate.per_second))?;
        let burst = policy.burst.or(usual.map(|rate| rate.burst)).unwrap_or(self.burst);
        Some(ClientRate { per_second, burst })
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Limit::Rate`] when it is not within the client's rate.
    pub(super) fn count(&self, client_id: &str, policy: &ClientPolicy) -> Result<(), Refused> {
        let Some(rate) = self.in_force(policy) else { return Ok(()) };
        let mut clients = self.clients();
        // A changed rate starts from zero.
        let known = clients.get_mut(client_id).filter(|counted| counted.rate == rate);
        let limiter = if let Some(counted) = known {
            counted.last = Instant::now();
            Arc::clone(&counted.limiter)
        } else {
            let counted = Counted::new(rate);
            let limiter = Arc::clone(&counted.limiter);
            clients.insert(client_id.to_owned(), counted);
            limiter
        };
        drop(clients);
        limiter.check().map_err(|early| {
            let limit = Limit::Rate(rate.per_second, rate.burst);
            limit.refuse_for(early.wait_time_from(DefaultClock::default().now()))
        })
    }

    /// Forgets clients for which it makes no difference.
    pub(super) fn forget_idle_clients(&self) {
        self.clients().retain(|_, counted| counted.last.elapsed() < counted.rate.recovers_within());
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, Counted>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: NonZeroU32 = NonZeroU32::new(3).unwrap();

    #[test]
    fn each_client_has_its_own_rate_and_burst() {
        let usual = ClientRate { per_second: NonZeroU32::MIN, burst: FEW };
        let rates = Rates::new(Some(usual), FEW);
        let policy = ClientPolicy::default();
        let admitted =
            |client: &str, policy| (0..9).filter(|_| rates.count(client, policy).is_ok()).count();
        assert_eq!((admitted("a", &policy), admitted("b", &policy)), (3, 3));
        let own = ClientPolicy { burst: NonZeroU32::new(7), ..policy };
        assert_eq!(admitted("a", &own), 7, "from the next request on");
        let free = Rates::new(None, FEW);
        assert!((0..1_000).all(|_| free.count("a", &policy).is_ok()));
        let limited = ClientPolicy { rate_per_s: Some(NonZeroU32::MIN), ..policy };
        assert_eq!((0..9).filter(|_| free.count("c", &limited).is_ok()).count(), 3);
    }

    #[test]
    fn a_client_is_forgotten_only_when_it_makes_no_difference() {
        let rates = Rates::new(Some(ClientRate { per_second: NonZeroU32::MIN, burst: FEW }), FEW);
        let policy = ClientPolicy::default();
        while rates.count("a", &policy).is_ok() {}
        rates.forget_idle_clients();
        let refused = rates.count("a", &policy).unwrap_err();
        assert!(refused.retry_after > Some(Duration::ZERO));
    }
}

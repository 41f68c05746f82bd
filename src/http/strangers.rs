//! A limit on requests that do not prove who they are, per address: whoever guesses, or holds outdated keys,
//! costs little, and is told apart from the others in the log.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use axum::{extract::ConnectInfo, http::Extensions, http::HeaderMap};

use crate::clock::UnixMillis;

const WINDOW_MS: i64 = 60_000;
/// More addresses than this are not remembered.
const MOST: usize = 50_000;

/// Counts failures in windows of a minute that begin with the first one.
#[derive(Debug)]
pub(super) struct Strangers {
    /// Failures a minute; 0: no limit.
    limit: u32,
    /// Whose word is taken on where a request came from.
    proxies: Vec<IpAddr>,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: UnixMillis,
    failures: u32,
}

impl Window {
    fn is_open(self, now: UnixMillis) -> bool {
        (0..WINDOW_MS).contains(&now.saturating_sub(self.began))
    }
}

impl Strangers {
    /// Allows `limit` failures a minute and address.
    pub(super) fn new(limit: u32, proxies: Vec<IpAddr>) -> Self {
        let proxies = proxies.into_iter().map(|proxy| proxy.to_canonical()).collect();
        Self { limit, proxies, windows: Mutex::default() }
    }

    /// Where a request came from: the peer, or, if that is a proxy of ours, the last address in front of the
    /// proxies of ours in X-Forwarded-For. What stands further to the left anybody may have written.
    pub(super) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let mut address = peer.ip().to_canonical();
        let told = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let told: Vec<_> = told.flat_map(|line| line.split(',')).map(str::trim).collect();
        if !told.is_empty() && !self.proxies.contains(&address) {
            tell_of_a_proxy(address);
        }
        for hop in told.iter().rev() {
            if !self.proxies.contains(&address) {
                break;
            }
            let with_port = || hop.parse::<SocketAddr>().map(|socket| socket.ip());
            let Ok(before) = hop.parse::<IpAddr>().or_else(|_| with_port()) else { break };
            address = before.to_canonical();
        }
        Some(network(address))
    }

    /// Whether requests from there are refused for now.
    pub(super) fn is_refused(&self, from: IpAddr, now: UnixMillis) -> bool {
        let window = self.windows().get(&from).copied();
        self.limit > 0 && window.is_some_and(|w| w.is_open(now) && w.failures >= self.limit)
    }

    /// Counts a request from there that did not prove who it is.
    pub(super) fn failed(&self, from: IpAddr, now: UnixMillis) {
        if self.limit == 0 {
            return;
        }
        let mut windows = self.windows();
        if windows.len() >= MOST && !windows.contains_key(&from) {
            windows.retain(|_, window| window.is_open(now));
            // Whoever is refused stays so; the others begin anew.
            if windows.len() >= MOST {
                windows.retain(|_, window| window.failures >= self.limit);
            }
            if windows.len() >= MOST {
                windows.clear();
            }
        }
        let window = windows.entry(from).or_insert(Window { began: now, failures: 0 });
        if !window.is_open(now) {
            *window = Window { began: now, failures: 0 };
        }
        window.failures += 1;
        let failures = window.failures;
        drop(windows);
        if failures == self.limit {
            tracing::warn!(
                %from,
                failures,
                "requests that do not prove who they are: an app with outdated keys, or somebody who guesses; what \
                 comes from there is refused for up to a minute"
            );
        }
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<IpAddr, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Once: whoever sends the header without being a proxy shall not fill the log.
fn tell_of_a_proxy(address: IpAddr) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            %address,
            "a request came with X-Forwarded-For from an address that is not in http.trusted_proxies: if that is a proxy of \
             yours, name it, or all its callers count as one address"
        );
    });
}

/// What one subscriber has: an address of version 4, or the first half of one of version 6.
fn network(address: IpAddr) -> IpAddr {
    const SUBSCRIBER: u128 = !((1 << 64) - 1);
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & SUBSCRIBER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(strangers: &Strangers, peer: &str, forwarded: &[&'static str]) -> IpAddr {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(ip(peer), 1)));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        strangers.address(&extensions, &headers).unwrap()
    }

    #[test]
    fn an_address_is_held_back_for_the_rest_of_its_minute_and_no_other_is() {
        let strangers = Strangers::new(3, Vec::new());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for second in 0..3 {
            assert!(!strangers.is_refused(one, second * 1_000));
            strangers.failed(one, second * 1_000);
        }
        assert!(strangers.is_refused(one, 59_999) && !strangers.is_refused(other, 3_000));
        assert!(!strangers.is_refused(one, 60_000));
        strangers.failed(one, 60_000);
        assert!(!strangers.is_refused(one, 60_001));
        assert!(!strangers.is_refused(one, 0), "a clock that was set back locks nobody out");
        let free = Strangers::new(0, Vec::new());
        free.failed(one, 0);
        assert!(!free.is_refused(one, 0));
    }

    #[test]
    fn only_a_proxy_of_ours_is_believed_about_where_a_request_came_from() {
        let strangers = Strangers::new(1, vec![ip("10.0.0.1"), ip("10.0.0.2")]);
        assert_eq!(from(&strangers, "192.0.2.1", &["203.0.113.9"]), ip("192.0.2.1"));
        assert_eq!(from(&strangers, "10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from(&strangers, "10.0.0.1", &["203.0.113.9:4711"]), ip("203.0.113.9"));
        assert_eq!(
            from(&strangers, "10.0.0.1", &["1.1.1.1, 203.0.113.9", "10.0.0.2"]),
            ip("203.0.113.9")
        );
        assert_eq!(from(&strangers, "10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(from(&strangers, "10.0.0.1", &["nonsense"]), ip("10.0.0.1"));
        assert_eq!(from(&strangers, "::ffff:10.0.0.1", &["2001:db8::1:2:3:4"]), ip("2001:db8::"));
    }

    #[test]
    fn many_addresses_take_no_more_memory_than_there_is_for_them() {
        let strangers = Strangers::new(1, Vec::new());
        for n in 0..120_000_u32 {
            strangers.failed(IpAddr::from(n.to_be_bytes()), 0);
        }
        assert!(strangers.windows().len() <= MOST);
    }
}

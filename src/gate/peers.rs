//! Who is at the other end, by address, and how often it has failed to prove who it is.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::window::{MINUTE, left};
use crate::clock::UnixMillis;

/// For so long an address that has proven to be a client counts as one.
const PROVEN_FOR: Duration = Duration::from_mins(10);
/// More addresses than this are not remembered.
const MAX_PEERS: usize = 50_000;

/// An address, or all addresses of a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

/// Whether an address is in one of these networks.
pub(crate) fn contain(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(address))
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let parsed = address().or_else(|_| text.parse::<IpNet>().map(|net| net.trunc()));
        parsed.map(Self).map_err(|_| {
            format!(
                "`{text}` is not an address or a network: write 10.0.0.1, 10.0.0.0/8 or fd00::/8"
            )
        })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts failures in windows of a minute that begin with the first one.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Failures per minute; 0 for no limit.
    limit: u32,
    /// Whose X-Forwarded-For is believed.
    proxies: Vec<Network>,
    seen: Mutex<HashMap<IpAddr, Seen>>,
}

/// What is remembered of one address.
#[derive(Debug, Clone, Copy)]
struct Seen {
    began: UnixMillis,
    failures: u32,
    /// When it last proved to be a client.
    proven: Option<UnixMillis>,
}

impl Seen {
    fn new(now: UnixMillis) -> Self {
        Self { began: now, failures: 0, proven: None }
    }

    fn is_open(self, now: UnixMillis) -> bool {
        left(self.began, MINUTE, now).is_some()
    }

    fn is_proven(self, now: UnixMillis) -> bool {
        self.proven.is_some_and(|proven| left(proven, PROVEN_FOR, now).is_some())
    }
}

impl Peers {
    /// Allows `limit` failures per minute and address.
    pub(crate) fn new(limit: u32, proxies: Vec<Network>) -> Self {
        Self { limit, proxies, seen: Mutex::default() }
    }

    /// Whether this is the address of a trusted proxy.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        contain(&self.proxies, address)
    }

    /// Where a request came from: the peer, or, if that is a trusted proxy, the last address before
    /// the trusted proxies in X-Forwarded-For. The sender may have written what stands further to
    /// the left.
    pub(super) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let mut address = peer.ip().to_canonical();
        let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let hops: Vec<_> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
        if !hops.is_empty() && !self.is_proxy(address) {
            warn_untrusted_proxy(address);
        }
        for hop in hops.iter().rev() {
            if !self.is_proxy(address) {
                break;
            }
            let with_port = || hop.parse::<SocketAddr>().map(|socket| socket.ip());
            let Ok(before) = hop.parse::<IpAddr>().or_else(|_| with_port()) else { break };
            address = before.to_canonical();
        }
        Some(subscriber(address))
    }

    /// For how much longer requests from there are held back; `None` when they are not.
    pub(crate) fn held_back(&self, from: IpAddr, now: UnixMillis) -> Option<Duration> {
        let seen = self.seen().get(&from).copied()?;
        let left = left(seen.began, MINUTE, now)?;
        (self.limit > 0 && seen.failures >= self.limit).then_some(left)
    }

    /// Counts a request from there that did not prove who it is.
    pub(crate) fn failed(&self, from: IpAddr, now: UnixMillis) {
        if self.limit == 0 {
            return;
        }
        let failures = self.change(from, now, |seen| {
            if !seen.is_open(now) {
                (seen.began, seen.failures) = (now, 0);
            }
            seen.failures = seen.failures.saturating_add(1);
            seen.failures
        });
        if failures == self.limit {
            tracing::warn!(
                %from,
                failures,
                "too many failed authentications from one address: an app with outdated keys, or \
                 an attacker; for up to a minute only requests of known clients with a valid \
                 signature are served from there"
            );
        }
    }

    /// Notes that a request from there proved to be of a client.
    pub(super) fn proved(&self, from: IpAddr, now: UnixMillis) {
        self.change(from, now, |seen| seen.proven = Some(now));
    }

    /// Whether a request from there has proven to be of a client in the last minutes.
    pub(super) fn is_proven(&self, from: IpAddr, now: UnixMillis) -> bool {
        self.seen().get(&from).is_some_and(|seen| seen.is_proven(now))
    }

    fn change<T>(&self, from: IpAddr, now: UnixMillis, change: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen();
        if seen.len() >= MAX_PEERS && !seen.contains_key(&from) {
            seen.retain(|_, seen| seen.is_open(now) || seen.is_proven(now));
            // Those that are held back stay so; the others start at zero again.
            if seen.len() >= MAX_PEERS {
                seen.retain(|_, seen| seen.failures >= self.limit.max(1));
            }
            if seen.len() >= MAX_PEERS {
                seen.clear();
            }
        }
        change(seen.entry(from).or_insert_with(|| Seen::new(now)))
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<IpAddr, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Once: peers that send the header without being a proxy must not fill the log.
fn warn_untrusted_proxy(address: IpAddr) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            %address,
            "a request came with X-Forwarded-For from an address that is not in \
             http.trusted_proxies: if that is a proxy of yours, add it, or all its callers count \
             as one address"
        );
    });
}

/// What one subscriber has: an address of version 4, or the first half of one of version 6.
pub(super) fn subscriber(address: IpAddr) -> IpAddr {
    const SUBSCRIBER: u128 = !((1 << 64) - 1);
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & SUBSCRIBER)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(peers: &Peers, peer: &str, forwarded: &[&'static str]) -> IpAddr {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(ip(peer), 1)));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        peers.address(&extensions, &headers).unwrap()
    }

    #[test]
    fn an_address_is_held_back_for_the_rest_of_its_minute_and_no_other_is() {
        let peers = Peers::new(3, Vec::new());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let is_held_back = |from, now| peers.held_back(from, now).is_some();
        for second in 0..3 {
            assert!(!is_held_back(one, second * 1_000));
            peers.failed(one, second * 1_000);
        }
        assert!(is_held_back(one, 59_999) && !is_held_back(other, 3_000));
        assert_eq!(peers.held_back(one, 20_000), Some(Duration::from_secs(40)));
        assert!(!is_held_back(one, 60_000));
        peers.failed(one, 60_000);
        assert!(!is_held_back(one, 60_001));
        assert!(!is_held_back(one, 0), "a clock that was set back locks no address out");
        let free = Peers::new(0, Vec::new());
        free.failed(one, 0);
        assert_eq!(free.held_back(one, 0), None);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_about_where_a_request_came_from() {
        let trusted = ["10.0.0.1", "10.0.0.2", "172.16.0.0/12", "fd00::/8"];
        let peers = Peers::new(1, trusted.map(|text| text.parse().unwrap()).to_vec());
        assert_eq!(from(&peers, "192.0.2.1", &["203.0.113.9"]), ip("192.0.2.1"));
        assert_eq!(from(&peers, "10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from(&peers, "10.0.0.1", &["203.0.113.9:4711"]), ip("203.0.113.9"));
        let forwarded = &["1.1.1.1, 203.0.113.9", "10.0.0.2"];
        assert_eq!(from(&peers, "10.0.0.1", forwarded), ip("203.0.113.9"));
        assert_eq!(from(&peers, "172.31.9.9", &["203.0.113.9, 172.16.0.1"]), ip("203.0.113.9"));
        assert_eq!(from(&peers, "fd12::1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from(&peers, "172.32.0.1", &["203.0.113.9"]), ip("172.32.0.1"));
        assert_eq!(from(&peers, "10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(from(&peers, "10.0.0.1", &["nonsense"]), ip("10.0.0.1"));
        assert_eq!(from(&peers, "::ffff:10.0.0.1", &["2001:db8::1:2:3:4"]), ip("2001:db8::"));
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix_and_nothing_else() {
        let written = |text: &str| text.parse::<Network>().map(|network| network.to_string());
        assert_eq!(written("10.1.2.3/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(written("::1").as_deref(), Ok("::1/128"));
        for text in ["", "10.0.0.0/33", "proxy.example.com", "10.0.0.0/"] {
            assert!(written(text).unwrap_err().contains("write 10.0.0.1"), "{text}");
        }
    }

    #[test]
    fn many_addresses_take_no_more_memory_than_there_is_for_them() {
        let peers = Peers::new(1, Vec::new());
        for n in 0..120_000_u32 {
            peers.failed(IpAddr::from(n.to_be_bytes()), 0);
            peers.proved(IpAddr::from((!n).to_be_bytes()), 0);
        }
        assert!(peers.seen().len() <= MAX_PEERS);
    }
}

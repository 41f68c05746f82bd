//! The gate itself: its configuration, and what is counted against it.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::http::{Extensions, HeaderMap};
use visavis_signing::Freshness;

use super::{
    body::BodyLimits,
    decrypt_failures::DecryptFailures,
    limit::Refused,
    memory::{Account, Ledger, MemoryReservation},
    peers::{Network, Peers},
    rates::{ClientRate, Rates},
    repetitions::Repetitions,
};
use crate::{clients::ClientRegistry, clock::Clock, queue::QueueLimits};

/// Limits of the gate.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// Largest body of a request with pictures, bytes.
    pub body_limit: usize,
    /// Bytes of request bodies, and of what is parsed out of them, in memory at once.
    pub body_budget: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// Bytes per second of a body that must arrive on average; 0 for no limit.
    pub body_least_rate: u32,
    /// How far Request-Time may be from the clock.
    pub freshness: Freshness,
    /// How many bodies of one client may fail to decrypt in a minute.
    pub decrypt_failures: u32,
    /// Requests per second of one client; `None` for no limit.
    pub client_rate: Option<ClientRate>,
    /// The burst of clients that have a rate of their own and no burst.
    pub client_burst: NonZeroU32,
    /// How many requests from one address may fail to prove who they are in a minute; 0 for no
    /// limit.
    pub signature_failures: u32,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether a repeated signed request is the same transaction.
    pub dedupe: bool,
    /// Limits on the queue of each database.
    pub queue: QueueLimits,
}

/// The part of the memory budget that an unknown address may fill with what is unproven; all that
/// claim one Client-Id may fill twice as much.
const UNPROVEN_SHARE: usize = 6;

/// The limits and what is counted against them; clones share it.
#[derive(Debug, Clone)]
pub struct Gate(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: GateConfig,
    pub(super) clients: Arc<ClientRegistry>,
    pub(super) clock: Clock,
    pub(super) peers: Peers,
    pub(super) ledger: Ledger,
    pub(super) rates: Rates,
    pub(super) decrypt_failures: Arc<DecryptFailures>,
    pub(super) repetitions: Repetitions,
}

impl Gate {
    /// A gate for these clients.
    pub(crate) fn new(config: GateConfig, clients: Arc<ClientRegistry>, clock: Clock) -> Self {
        let share = (config.body_budget / UNPROVEN_SHARE).max(config.body_limit);
        Self(Arc::new(Inner {
            peers: Peers::new(config.signature_failures, config.trusted_proxies.clone()),
            ledger: Ledger::new(config.body_budget, share),
            rates: Rates::new(config.client_rate, config.client_burst),
            decrypt_failures: Arc::new(DecryptFailures::new(config.decrypt_failures)),
            repetitions: Repetitions::default(),
            config,
            clients,
            clock,
        }))
    }

    /// Largest body of a request with pictures, bytes.
    pub(crate) fn body_limit(&self) -> usize {
        self.0.config.body_limit
    }

    /// Forgets clients that have sent nothing for a while.
    pub(crate) fn forget_idle_clients(&self) {
        self.0.rates.forget_idle_clients();
    }

    /// Takes memory for what an operator sends, from the budget for request bodies.
    ///
    /// # Errors
    /// [`Limit::Memory`](super::Limit::Memory).
    pub(crate) async fn lease(&self, bytes: usize) -> Result<MemoryReservation, Refused> {
        let mut lease = self.0.ledger.open(Vec::new());
        lease.grow(bytes).await?;
        Ok(lease)
    }

    /// Where a request came from, as trusted proxies report it; `None` without a socket.
    pub(crate) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        self.0.peers.address(extensions, headers)
    }

    pub(super) fn body_limits(&self, bytes: usize) -> BodyLimits {
        let config = &self.0.config;
        let (deadline, least_rate) = (config.body_deadline, config.body_least_rate);
        BodyLimits { bytes, deadline, least_rate }
    }

    /// A lease for the body of an unproven request.
    pub(super) fn unproven(&self, peer: Option<IpAddr>, client_id: &str) -> MemoryReservation {
        let is_known = peer.is_some_and(|peer| self.0.peers.is_proven(peer, self.0.clock.now()));
        let peer = peer.map(|peer| Account::Peer(peer, is_known));
        let client = Account::Client(client_id.to_owned(), is_known);
        self.0.ledger.open(peer.into_iter().chain([client]).collect())
    }
}

//! What handlers may reach.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    decrypt_guard::DecryptGuard,
    error::ApiError,
    rates::{ClientRate, Rates},
    recent::Recent,
    strangers::Strangers,
};
use crate::{
    clients::{Caller, ClientRegistry},
    clock::Clock,
    compare::{Comparer, DecodeLimits, FmrSettings},
    queue::{Found, QueueLimits, QueuedComparer, Shard, Shards},
    signing::Freshness,
};

/// Limits and times of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Largest request body, bytes.
    pub body_limit: usize,
    /// Bytes of request bodies held in memory at once, in all.
    pub body_budget: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// How long `compare` waits for an outcome.
    pub patience: Duration,
    /// How far Request-Time may be from the clock.
    pub freshness: Freshness,
    /// How many bodies of one client may fail to decrypt in a minute.
    pub decrypt_failures: u32,
    /// How often one client may call; `None` for no limit.
    pub client_rate: Option<ClientRate>,
    /// The burst of clients that have a rate of their own and no burst.
    pub client_burst: NonZeroU32,
    /// How many requests from one address may fail to prove who they are in a minute; 0 for no limit.
    pub signature_failures: u32,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Whether a repeated signed request is the same transaction.
    pub dedupe: bool,
    /// Limits on the pictures.
    pub pictures: DecodeLimits,
    /// The false match rates at which decisions turn, where a client has none of its own.
    pub fmr: FmrSettings,
    /// Limits on the queue of each database.
    pub queue: QueueLimits,
}

/// Who compares while a caller of `compare` waits.
#[derive(Debug, Clone)]
pub enum Comparison {
    /// The workers of this process; the pictures stay in memory.
    Local(Arc<dyn Comparer>),
    /// Those of other processes, through the queue.
    Queued(QueuedComparer),
}

/// Shared by all handlers; clones are cheap.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Who may call.
    pub clients: Arc<ClientRegistry>,
    /// Where transactions live.
    pub shards: Shards,
    /// Compares while the caller waits.
    pub comparison: Comparison,
    /// The date.
    pub clock: Clock,
    /// Limits and times.
    pub config: Arc<GatewayConfig>,
    budget: Arc<Semaphore>,
    decrypt_guard: Arc<DecryptGuard>,
    rates: Arc<Rates>,
    recent: Arc<Recent>,
    strangers: Arc<Strangers>,
    ready: Arc<AtomicBool>,
}

/// One permit of the body budget stands for this many bytes.
pub(super) const BUDGET_UNIT: usize = 1024;

impl AppState {
    /// Puts the parts together; not ready until [`set_ready`](Self::set_ready).
    pub fn new(
        clients: Arc<ClientRegistry>,
        shards: Shards,
        comparison: Comparison,
        clock: Clock,
        config: GatewayConfig,
    ) -> Self {
        Self {
            clients,
            shards,
            comparison,
            clock,
            budget: Arc::new(Semaphore::new(config.body_budget / BUDGET_UNIT)),
            decrypt_guard: Arc::new(DecryptGuard::new(config.decrypt_failures)),
            recent: Arc::default(),
            rates: Arc::new(Rates::new(config.client_rate, config.client_burst)),
            strangers: Arc::new(Strangers::new(
                config.signature_failures,
                config.trusted_proxies.clone(),
            )),
            config: Arc::new(config),
            ready: Arc::default(),
        }
    }

    /// Where the jobs of a caller live.
    pub(super) fn home(&self, caller: &Caller) -> Result<&Shard, ApiError> {
        match self.shards.find(caller.shard) {
            Found::Here(shard) => Ok(shard),
            Found::Elsewhere | Found::Nowhere => {
                tracing::error!(
                    shard = caller.shard,
                    "a client lives in a database that is not served here"
                );
                Err(ApiError::Internal)
            }
        }
    }

    /// Forgets what is known of clients that have been quiet.
    pub fn forget_quiet(&self) {
        self.rates.forget_quiet();
    }

    /// Whether load balancers should send requests here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// The requests of late.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Whether load balancers are told to send requests here.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    pub(super) fn decrypt_guard(&self) -> &Arc<DecryptGuard> {
        &self.decrypt_guard
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(super) fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    pub(super) fn budget(&self) -> &Arc<Semaphore> {
        &self.budget
    }
}

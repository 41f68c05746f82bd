//! What handlers may reach.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::decrypt_guard::DecryptGuard;
use crate::{
    clients::ClientRegistry,
    clock::Clock,
    compare::{Comparer, DecodeLimits},
    queue::{Gauge, QueueLimits, QueuedComparer, Store, Wake},
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
    /// Whether a repeated signed request is the same transaction.
    pub dedupe: bool,
    /// Limits on the pictures.
    pub pictures: DecodeLimits,
    /// Limits on the queue.
    pub queue: QueueLimits,
    /// Number of this database in transaction ids.
    pub shard: u32,
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
    pub store: Store,
    /// Compares while the caller waits.
    pub comparison: Comparison,
    /// The date.
    pub clock: Clock,
    /// Limits and times.
    pub config: Arc<GatewayConfig>,
    /// How full the queue is.
    pub gauge: Gauge,
    /// Wakes the workers.
    pub wake: Wake,
    budget: Arc<Semaphore>,
    decrypt_guard: Arc<DecryptGuard>,
    ready: Arc<AtomicBool>,
}

/// One permit of the body budget stands for this many bytes.
pub(super) const BUDGET_UNIT: usize = 1024;

impl AppState {
    /// Puts the parts together; not ready until [`set_ready`](Self::set_ready).
    pub fn new(
        clients: Arc<ClientRegistry>,
        store: Store,
        comparison: Comparison,
        clock: Clock,
        config: GatewayConfig,
        (gauge, wake): (Gauge, Wake),
    ) -> Self {
        let budget = Arc::new(Semaphore::new(config.body_budget / BUDGET_UNIT));
        let decrypt_guard = Arc::new(DecryptGuard::new(config.decrypt_failures));
        let (config, ready) = (Arc::new(config), Arc::default());
        Self {
            clients,
            store,
            comparison,
            clock,
            config,
            gauge,
            wake,
            budget,
            decrypt_guard,
            ready,
        }
    }

    /// Whether load balancers should send requests here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    pub(super) fn decrypt_guard(&self) -> &Arc<DecryptGuard> {
        &self.decrypt_guard
    }

    pub(super) fn budget(&self) -> &Arc<Semaphore> {
        &self.budget
    }
}

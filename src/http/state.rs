//! What handlers may reach.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{error::ApiError, recent::Recent};
use crate::{
    clients::{Caller, ClientRegistry},
    clock::Clock,
    compare::{DecodeLimits, FmrSettings, SeveralFaces, TransactionId},
    gate::{Gate, GateConfig},
    queue::{Shard, ShardLookup, Shards},
    supervisor::TaskHealth,
    worker::LocalComparer,
};

/// Limits and times of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Limits of the gate.
    pub gate: GateConfig,
    /// How long `compare` waits for an outcome.
    pub compare_timeout: Duration,
    /// Limits on the pictures.
    pub pictures: DecodeLimits,
    /// The false match rates at which decisions turn, where a client has none of its own.
    pub fmr: FmrSettings,
    /// What to do with a photo that shows several people, where a client has no policy of its own.
    pub several_faces: SeveralFaces,
}

/// Who compares while a caller of `compare` waits.
#[derive(Debug, Clone)]
pub enum CompareBackend {
    /// The workers of this process; the photos stay in memory.
    Local(LocalComparer),
    /// The workers of other processes, through the queue.
    Queued,
}

/// Shared by all handlers; clones are cheap.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The registered clients.
    pub(crate) clients: Arc<ClientRegistry>,
    /// Where transactions live.
    pub shards: Shards,
    /// Compares while the caller waits.
    pub comparison: CompareBackend,
    /// The date.
    pub(crate) clock: Clock,
    /// Limits and times.
    pub(crate) config: Arc<GatewayConfig>,
    /// What a request has to pass.
    pub(crate) gate: Gate,
    recent: Arc<Recent>,
    ready: Arc<AtomicBool>,
    /// How the background tasks are.
    pub tasks: TaskHealth,
}

impl AppState {
    /// Puts the parts together; not ready until [`set_ready`](Self::set_ready).
    pub fn new(
        clients: Arc<ClientRegistry>,
        shards: Shards,
        comparison: CompareBackend,
        clock: Clock,
        config: GatewayConfig,
    ) -> Self {
        Self {
            gate: Gate::new(config.gate.clone(), Arc::clone(&clients), clock.clone()),
            clients,
            shards,
            comparison,
            clock,
            recent: Arc::default(),
            config: Arc::new(config),
            ready: Arc::default(),
            tasks: TaskHealth::default(),
        }
    }

    /// Where the jobs of a caller live.
    pub(super) fn home(&self, caller: &Caller) -> Result<&Shard, ApiError> {
        match self.shards.find(caller.shard) {
            ShardLookup::Here(shard) => Ok(shard),
            ShardLookup::Elsewhere | ShardLookup::Unknown => {
                tracing::error!(
                    shard = caller.shard,
                    "a client lives in a database that is not served here"
                );
                Err(ApiError::Internal)
            }
        }
    }

    /// Where a transaction is; `None` if no database has its number.
    pub(super) fn shard_of(&self, id: &TransactionId) -> Result<Option<&Shard>, ApiError> {
        match self.shards.find(id.shard()) {
            ShardLookup::Here(shard) => Ok(Some(shard)),
            ShardLookup::Unknown => Ok(None),
            ShardLookup::Elsewhere => {
                tracing::error!(
                    shard = id.shard(),
                    "asked for a transaction in a database that is not served here"
                );
                Err(ApiError::Internal)
            }
        }
    }

    /// Whether load balancers should send requests here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Recent requests.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Whether load balancers should send requests here.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

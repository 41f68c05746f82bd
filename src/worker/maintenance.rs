//! Housekeeping: old transactions go, and the depth of the queue is known to admission.

use std::time::Duration;

use crate::{
    queue::{Gauge, Store},
    shutdown::Shutdown,
};

/// Times of the housekeeping.
#[derive(Debug, Clone, Copy)]
pub struct MaintenanceConfig {
    /// How long a finished transaction can be asked for.
    pub retention: Duration,
    /// How often old transactions are looked for.
    pub every: Duration,
}

/// Rows deleted in one statement, so that the writer is never held for long.
const BATCH: u32 = 1_000;
/// How often the depth is read.
const GAUGE_EVERY: Duration = Duration::from_secs(1);
/// How often to look whether deleted pictures take too much room.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// The housekeeping of one store.
#[derive(Debug, Clone)]
pub struct Maintenance {
    store: Store,
    gauge: Gauge,
    config: MaintenanceConfig,
}

impl Maintenance {
    /// Nothing happens before [`run`](Self::run).
    pub fn new(store: Store, gauge: Gauge, config: MaintenanceConfig) -> Self {
        Self { store, gauge, config }
    }

    /// Keeps house until the process is to stop.
    pub async fn run(self, mut shutdown: Shutdown) {
        let mut since_purge = self.config.every;
        let mut since_tidy = Duration::ZERO;
        while !shutdown.is_wished() {
            match self.store.depth_by_client().await {
                Ok(depth) => self.gauge.set(depth),
                Err(error) => tracing::warn!(%error, "the queue's depth could not be read"),
            }
            if since_purge >= self.config.every {
                self.purge().await;
                since_purge = Duration::ZERO;
            }
            if since_tidy >= TIDY_EVERY {
                match self.store.tidy().await {
                    Ok(true) => tracing::debug!("the room of deleted pictures was given back"),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%error, "deleted pictures could not be cleared away");
                    }
                }
                since_tidy = Duration::ZERO;
            }
            tokio::select! {
                () = tokio::time::sleep(GAUGE_EVERY) => {
                    since_purge += GAUGE_EVERY;
                    since_tidy += GAUGE_EVERY;
                }
                () = shutdown.wished() => {}
            }
        }
    }

    /// Deletes every transaction that ended longer ago than the retention.
    pub async fn purge(&self) {
        loop {
            match self.store.purge(self.config.retention, BATCH).await {
                Ok(0) => return,
                Ok(purged) => tracing::info!(purged, "old transactions deleted"),
                Err(error) => {
                    tracing::warn!(%error, "old transactions could not be deleted");
                    return;
                }
            }
        }
    }
}

//! Maintenance of a store: old transactions are deleted, and admission knows the depth of the
//! queue.

use std::time::{Duration, Instant};

use crate::{
    queue::{Depth, QueueAdmission, Store},
    shutdown::Shutdown,
};

/// Times of the maintenance.
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

/// The maintenance of one store.
#[derive(Debug, Clone)]
pub struct Maintenance {
    store: Store,
    admission: QueueAdmission,
    config: MaintenanceConfig,
    /// As the metrics have it.
    shard: String,
}

impl Maintenance {
    /// Nothing happens before [`watch_queue`](Self::watch_queue) and [`clean`](Self::clean).
    /// `shard` is the number of the database.
    pub fn new(
        store: Store,
        admission: QueueAdmission,
        config: MaintenanceConfig,
        shard: u32,
    ) -> Self {
        Self { store, admission, config, shard: shard.to_string() }
    }

    /// Reads depth and clock of the database every second, until the process is to stop.
    pub async fn watch_queue(self, mut shutdown: Shutdown) {
        while !shutdown.is_requested() {
            self.store.expire_payload_cache();
            match self.store.watch_clock().await {
                Ok(ahead_ms) => {
                    let ahead = ahead_ms as f64 / 1e3;
                    let gauge = "visavis_database_clock_ahead_seconds";
                    metrics::gauge!(gauge, "shard" => self.shard.clone()).set(ahead);
                }
                Err(error) => tracing::warn!(%error, "cannot read the clock of the database"),
            }
            let depth = self.store.depth_by_client().await;
            let is_up = f64::from(u8::from(depth.is_ok()));
            metrics::gauge!("visavis_database_up", "shard" => self.shard.clone()).set(is_up);
            match depth {
                Ok(clients) => {
                    self.export(clients.iter().map(|client| client.depth).sum());
                    self.admission.set_depth(clients);
                }
                Err(error) => tracing::warn!(%error, "the queue's depth could not be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(GAUGE_EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    fn export(&self, depth: Depth) {
        let shard = || [("shard", self.shard.clone())];
        metrics::gauge!("visavis_queue_jobs", &shard()).set(depth.jobs as f64);
        metrics::gauge!("visavis_queue_bytes", &shard()).set(depth.bytes as f64);
        let age = depth.oldest.map_or(0.0, |oldest| self.store.since(oldest).as_secs_f64());
        metrics::gauge!("visavis_queue_oldest_seconds", &shard()).set(age);
        let (used, idle) = self.store.connections();
        for (state, count) in [("used", used), ("idle", idle)] {
            let labels = [("shard", self.shard.clone()), ("state", state.to_owned())];
            metrics::gauge!("visavis_pool_connections", &labels).set(f64::from(count));
        }
    }

    async fn export_disk_usage(&self) {
        match self.store.disk_usage().await {
            Ok(room) => {
                for (name, size) in room {
                    metrics::gauge!(name, "shard" => self.shard.clone()).set(size);
                }
            }
            Err(error) => tracing::warn!(%error, "the room of the database could not be read"),
        }
    }

    /// Deletes old transactions and gives room back, until the process is to stop. Apart from
    /// [`watch_queue`](Self::watch_queue): it may take long, and admission goes by the depth.
    pub async fn clean(self, mut shutdown: Shutdown) {
        let mut next_purge = Instant::now();
        loop {
            let begun = Instant::now();
            let cleaning = async {
                if begun >= next_purge {
                    self.purge().await;
                }
                self.vacuum().await;
                self.export_disk_usage().await;
            };
            tokio::select! {
                () = cleaning => {}
                // What is cut off here is whole or undone in the database.
                () = shutdown.requested() => return,
            }
            if begun >= next_purge {
                next_purge = begun + self.config.every;
            }
            // Where cleaning takes long it is not done all the time: something keeps the dead from
            // being cleared away, a backup for example.
            let pause = TIDY_EVERY.max(begun.elapsed() * 10);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    async fn vacuum(&self) {
        match self.store.vacuum_payloads().await {
            Ok(true) => tracing::debug!("disk space of deleted photos released"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "cannot release disk space of deleted photos"),
        }
    }

    /// Deletes every transaction that ended longer ago than the retention.
    pub(crate) async fn purge(&self) {
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

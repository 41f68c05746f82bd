//! The background task that deletes expired key sets.

use std::time::Duration;

use crate::{clients::Clients, shutdown::Shutdown};

/// Interval of the deletion.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);

/// Deletes expired key sets in all databases until shutdown.
pub(super) async fn purge(clients: Clients, mut shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = purge_once(&clients) => {}
            () = shutdown.requested() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(PURGE_INTERVAL) => {}
            () = shutdown.requested() => return,
        }
    }
}

async fn purge_once(clients: &Clients) {
    for table in clients.tables() {
        match table.store.purge_expired_keys().await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(shard = table.shard, purged, "expired key sets deleted"),
            Err(error) => {
                tracing::warn!(shard = table.shard, %error, "cannot delete expired key sets");
            }
        }
    }
}

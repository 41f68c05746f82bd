//! The background task that stores when clients last used the API.

use std::{sync::Arc, time::Duration};

use crate::{clients::ClientRegistry, shutdown::Shutdown};

/// A client is written at most once in this time.
const WRITE_INTERVAL: Duration = Duration::from_mins(1);

/// Stores the uses that requests have noted, until shutdown and once after it.
pub(super) async fn run(clients: Arc<ClientRegistry>, mut shutdown: Shutdown) {
    loop {
        let is_ending = tokio::select! {
            () = tokio::time::sleep(WRITE_INTERVAL) => false,
            () = shutdown.requested() => true,
        };
        clients.store_uses().await;
        if is_ending {
            return;
        }
    }
}

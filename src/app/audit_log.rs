//! The background task that logs the digests of audit entries, so that entries which an attacker
//! removes from the end of a database's audit are still in the log.

use std::{collections::HashMap, time::Duration};

use crate::{
    clients::{ClientTable, Clients},
    shutdown::Shutdown,
};

/// How often it looks for new entries.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Logs number and digest of the last entry of each audit, and of each new one, until shutdown.
pub(super) async fn run(clients: Clients, mut shutdown: Shutdown) {
    let mut logged = HashMap::new();
    loop {
        tokio::select! {
            () = log_new(clients.tables(), &mut logged) => {}
            () = shutdown.requested() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(LOG_INTERVAL) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// `logged`: the number of the last entry that was logged, by shard.
async fn log_new(tables: &[ClientTable], logged: &mut HashMap<u32, i64>) {
    for ClientTable { shard, store } in tables {
        match store.audit_ends(logged.get(shard).copied()).await {
            Ok(ends) => {
                for end in ends {
                    tracing::info!(shard, number = end.number, digest = end.digest, "audit entry");
                    logged.insert(*shard, end.number);
                }
            }
            Err(error) => tracing::warn!(shard, %error, "cannot read the audit"),
        }
    }
}

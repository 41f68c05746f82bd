//! How workers are notified of a job: at once in this process, and through Postgres in other
//! processes.
//!
//! A notification is a hint. A worker that misses it finds the job by polling, so nothing here has
//! to be reliable.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{db::PostgresDb, shutdown::Shutdown};

/// Notifies workers that a job has arrived; clones notify the same workers.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    here: Arc<Notify>,
    elsewhere: Arc<Notify>,
}

/// The channel of the notifications between processes.
const CHANNEL: &str = "visavis_job";
/// At most one notification in this time: every notification in a Postgres server takes the same
/// lock at its commit.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// A connection that received nothing for so long is checked.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The wait before a lost LISTEN connection is opened again.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

impl Wake {
    /// A job was committed.
    pub fn job_arrived(&self) {
        self.here.notify_one();
        self.elsewhere.notify_one();
    }

    /// What the workers of this process wait on.
    pub fn here(&self) -> &Arc<Notify> {
        &self.here
    }

    /// Notifies the other processes, outside the transactions that store jobs and not for each of
    /// them.
    pub async fn announce(self, db: PostgresDb, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = self.elsewhere.notified() => {}
                () = shutdown.requested() => return,
            }
            let notify = db.statement("notify", "SELECT pg_notify($1, '')").bind(CHANNEL);
            if let Err(error) = notify.run().await {
                tracing::warn!(%error, "notification not sent: other processes poll");
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }

    /// Receives the notifications of the other processes.
    pub async fn listen(self, db: PostgresDb, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                received = self.receive(&db) => {
                    let Err(error) = received;
                    tracing::warn!(%error, "LISTEN connection lost: polling until it is back");
                }
                () = shutdown.requested() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_DELAY) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    async fn receive(&self, db: &PostgresDb) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = db.listener(CHANNEL).await?;
        loop {
            // Poll once: notifications sent before LISTEN are lost.
            self.here.notify_one();
            match tokio::time::timeout(IDLE_CHECK_INTERVAL, listener.recv()).await {
                Ok(received) => drop(received?),
                // Idle or half-open; ping to find out which.
                Err(_) => db.check(&mut listener).await?,
            }
        }
    }
}

//! How workers hear of a job: at once in this process, and through Postgres in the others.
//!
//! A wake-up is a hint. Whoever misses it finds the job by polling, so nothing here has to be reliable.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{db::PostgresDb, shutdown::Shutdown};

/// Tells workers that a job has arrived; clones tell the same ones.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    here: Arc<Notify>,
    elsewhere: Arc<Notify>,
}

/// The channel on which processes tell each other.
const CHANNEL: &str = "visavis_job";
/// At most one message in this time: every message of a cluster takes the same lock at its commit.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// How long nothing may be heard before the connection is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(10);
/// How long to wait before a lost listener connects again.
const RECONNECT: Duration = Duration::from_secs(1);

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

    /// Tells the other processes, outside any transaction that stores a job and not for every one.
    pub async fn announce(self, db: PostgresDb, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = self.elsewhere.notified() => {}
                () = shutdown.requested() => return,
            }
            let notify = db.statement("notify", "SELECT pg_notify($1, '')").bind(CHANNEL);
            if let Err(error) = notify.run().await {
                tracing::warn!(%error, "other processes were not woken; they find the job by polling");
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }

    /// Hears the other processes.
    pub async fn listen(self, db: PostgresDb, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                heard = self.hear(&db) => {
                    let Err(error) = heard;
                    tracing::warn!(%error, "wake-ups of other processes are not heard; polling goes on");
                }
                () = shutdown.requested() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    async fn hear(&self, db: &PostgresDb) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = db.listener(CHANNEL).await?;
        loop {
            // What was said before there were ears.
            self.here.notify_one();
            match tokio::time::timeout(SILENCE, listener.recv()).await {
                Ok(heard) => drop(heard?),
                // A quiet night, or a connection whose other end is gone.
                Err(_) => db.check(&mut listener).await?,
            }
        }
    }
}

//! The job table: sealing pictures before they reach SQL, serialising outcomes, and every statement
//! on the table.
//!
//! On Postgres every statement is complete by itself at READ COMMITTED and may be run twice: the
//! connection may be lost between a commit and its response. Leases begin and end by the server's
//! clock there.

mod accept;
mod admin;
mod claims;
mod cleanup;
mod clock_watch;
mod erase;
mod lease_clock;
mod outcomes;
mod payload_cache;
mod rows;

use std::time::{Duration, Instant};

pub(crate) use self::outcomes::LISTED_AT_ONCE;
pub use self::{erase::Erasure, outcomes::History, payload_cache::PayloadCache};
use self::{
    lease_clock::LeaseClock,
    rows::{NewRow, PendingInserts},
};
use super::{
    error::QueueError,
    job::{ClientDepth, Depth, Job},
};
use crate::{
    clock::{Clock, UnixMillis},
    db::{Attempt, Db, Row},
    sealing::MasterKey,
};

/// The job table of one database; clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    db: Db,
    key: MasterKey,
    clock: Clock,
    lease_clock: LeaseClock,
    pending_inserts: PendingInserts,
    payload_cache: Option<PayloadCache>,
}

impl Store {
    /// The job table of a database. On Postgres leases end by the server's clock, not by `clock`,
    /// unless a test has set `clock`.
    pub fn new(db: impl Into<Db>, key: MasterKey, clock: Clock) -> Self {
        Self {
            db: db.into(),
            key,
            clock,
            lease_clock: LeaseClock::default(),
            pending_inserts: PendingInserts::default(),
            payload_cache: None,
        }
    }

    /// The same, with a cache of the pictures that are stored, so that a job that is claimed here
    /// need not read them back. For processes that store jobs and work on them.
    #[must_use]
    pub fn with_payload_cache(mut self, cache: PayloadCache) -> Self {
        self.payload_cache = Some(cache);
        self
    }

    /// Drops pictures that were cached for too long; to be called every few seconds.
    pub(crate) fn expire_payload_cache(&self) {
        if let Some(cache) = &self.payload_cache {
            cache.expire(Instant::now());
        }
    }

    /// Whether the database responds. Cheap.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn ping(&self) -> Result<(), QueueError> {
        self.db.read("ping", "SELECT 1").run().await?;
        if let Db::Sqlite(_) = &self.db {
            // A database that can be read and not written is not ready. Connections to Postgres
            // check this when opened.
            let begin = |attempt: Attempt| async move { attempt.begin().await?.rollback().await };
            self.db.once("begin", begin).await?;
        }
        Ok(())
    }

    /// Whether other processes use the database too.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// Connections to the database: used and idle.
    pub(crate) fn connections(&self) -> (u32, u32) {
        self.db.connections()
    }

    /// How long ago something happened, by the clock of this process.
    pub(crate) fn since(&self, then: UnixMillis) -> Duration {
        let age = self.clock.now().saturating_sub(then);
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }

    /// How long ago a job was accepted.
    pub(crate) fn age(&self, job: &Job) -> Duration {
        self.since(job.created_at)
    }

    /// How full the queue is.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(self.depth_by_client().await?.iter().map(|client| client.depth).sum())
    }

    /// The same for each client that has jobs in it.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn depth_by_client(&self) -> Result<Vec<ClientDepth>, QueueError> {
        let depth = self.db.read(
            "depth",
            "SELECT client_id, count(*) AS jobs, CAST(coalesce(sum(bytes), 0) AS bigint) AS bytes,
                 visavis_millis(min(created_at)) AS oldest
             FROM job WHERE finished_at IS NULL GROUP BY client_id",
        );
        let client_depth = |row: &Row| {
            let (jobs, bytes) = (row.get::<i64>("jobs")?, row.get::<i64>("bytes")?);
            let oldest = row.get("oldest")?;
            let depth = Depth { jobs: jobs.unsigned_abs(), bytes: bytes.unsigned_abs(), oldest };
            Ok(ClientDepth { client_id: row.get("client_id")?, depth })
        };
        Ok(depth.all(client_depth).await?)
    }
}

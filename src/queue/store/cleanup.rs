//! Deleting transactions that ended long ago, and clearing away what they leave behind.

use std::time::Duration;

use super::{Store, rows::millis};
use crate::{
    db::{Db, PostgresDb},
    queue::QueueError,
};

/// Room beside the live pictures that is not worth clearing.
const SPARE_BYTES: i64 = 64 << 20;
/// Any number that nobody else uses: "visavis" in ASCII.
const TIDY_LOCK: i64 = 0x0076_6973_6176_6973;

impl Store {
    /// Deletes up to `limit` transactions that ended more than `age` ago.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn purge(&self, age: Duration, limit: u32) -> Result<u64, QueueError> {
        let purged = self
            .db
            .write(
                "purge",
                "DELETE FROM job WHERE id IN (
                     SELECT id FROM job
                     WHERE state IN (2, 3) AND finished_at < visavis_now($1) - $2 * interval '1 millisecond'
                     ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED
                 )",
            )
            .bind(&self.clock)
            .bind(millis(age))
            .bind(i64::from(limit))
            .run()
            .await?;
        if let Db::Sqlite(db) = &self.db {
            // Gives the pages of deleted pictures back to the file system, a few at a time.
            db.statement("purge_vacuum", "PRAGMA incremental_vacuum(256)").run().await?;
        }
        Ok(purged)
    }

    /// Gives back the room of deleted pictures, where the database does not by itself. Returns
    /// whether there was much to do.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn tidy(&self) -> Result<bool, QueueError> {
        match &self.db {
            // Done with every purge, a few pages at a time.
            Db::Sqlite(_) => Ok(false),
            Db::Postgres(db) => Ok(clear_dead(db).await?),
        }
    }
}

/// Clears dead pictures at once if they take much more room than the live ones: the server's own
/// clearing cannot be told to look more often for one table. One process does it at a time.
async fn clear_dead(db: &PostgresDb) -> Result<bool, sqlx::Error> {
    let dead = db.statement(
        "tidy",
        "SELECT pg_total_relation_size('job_payload') > $1 + 4 * coalesce(sum(bytes), 0) AS crowded,
             (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'job_payload'::regclass) AS own
         FROM job WHERE state IN (0, 1)",
    );
    let (crowded, own): (bool, bool) =
        dead.bind(SPARE_BYTES).one(|row| Ok((row.get("crowded")?, row.get("own")?))).await?;
    if !crowded {
        return Ok(false);
    }
    if !own {
        static TOLD: std::sync::Once = std::sync::Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                "this role does not own job_payload and cannot clear dead pictures away; autovacuum has to do it alone"
            );
        });
        return Ok(false);
    }
    // A session of its own: it may take longer than any other statement, and the lock goes with it.
    let mut session = db.session().await?;
    let lock = session.statement("tidy_lock", "SELECT pg_try_advisory_lock($1) AS mine");
    let mine: bool = lock.bind(TIDY_LOCK).one(|row| row.get("mine")).await?;
    if mine {
        session.statement("tidy_vacuum", "VACUUM job_payload").run().await?;
    }
    session.close().await?;
    Ok(mine)
}

//! Deleting transactions that ended long ago, and returning their disk space.

use std::time::Duration;

use super::{Store, rows::millis};
use crate::{
    db::{Db, PostgresDb},
    queue::QueueError,
};

/// Space beside the live pictures that is not worth a VACUUM.
const SPARE_BYTES: i64 = 64 << 20;
/// Any number that no other program uses: "visavis" in ASCII.
const VACUUM_LOCK: i64 = 0x0076_6973_6176_6973;

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
                     WHERE finished_at < visavis_now($1) - $2 * interval '1 millisecond'
                     ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED
                 )",
            )
            .bind(&self.clock)
            .bind(millis(age))
            .bind(i64::from(limit))
            .run()
            .await?;
        if let Db::Sqlite(db) = &self.db {
            // Returns pages of deleted pictures to the file system.
            db.statement("purge_vacuum", "PRAGMA incremental_vacuum(256)").run().await?;
        }
        Ok(purged)
    }

    /// Vacuums deleted pictures if they use much space. Returns whether it did.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn vacuum_payloads(&self) -> Result<bool, QueueError> {
        match &self.db {
            // Every purge returns some pages.
            Db::Sqlite(_) => Ok(false),
            Db::Postgres(db) => Ok(clear_dead(db).await?),
        }
    }
}

/// Vacuums dead pictures if they use much more space than the live ones: autovacuum cannot check
/// one table more often than the others. One process does it at a time.
async fn clear_dead(db: &PostgresDb) -> Result<bool, sqlx::Error> {
    let dead = db.statement(
        "vacuum_check",
        "SELECT pg_total_relation_size('job_payload') > $1 + 4 * coalesce(sum(bytes), 0) AS crowded,
             (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
              WHERE oid = 'job_payload'::regclass) AS own
         FROM job WHERE finished_at IS NULL",
    );
    let (crowded, own): (bool, bool) =
        dead.bind(SPARE_BYTES).one(|row| Ok((row.get("crowded")?, row.get("own")?))).await?;
    if !crowded {
        return Ok(false);
    }
    if !own {
        static WARNED: std::sync::Once = std::sync::Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                "this role does not own job_payload and cannot vacuum it: \
                 only autovacuum removes the rows of deleted photos"
            );
        });
        return Ok(false);
    }
    // In a session of its own: it may take longer than other statements, and the end of the session
    // releases the lock.
    let mut session = db.session().await?;
    let lock = session.statement("vacuum_lock", "SELECT pg_try_advisory_lock($1) AS mine");
    let mine: bool = lock.bind(VACUUM_LOCK).one(|row| row.get("mine")).await?;
    if mine {
        session.statement("vacuum_payloads", "VACUUM job_payload").run().await?;
    }
    session.close().await?;
    Ok(mine)
}

//! Erasing transactions before their retention period ends.

use std::time::{Duration, Instant};

use super::Store;
use crate::{
    compare::{BizId, TransactionId},
    db::{Db, PostgresDb, SqliteDb, Statement},
    queue::QueueError,
};

/// Which transactions to erase: those that match all of the given values.
#[derive(Debug, Clone)]
pub struct Erasure {
    transaction: Option<TransactionId>,
    biz_id: Option<BizId>,
    client: Option<String>,
}

/// How many job numbers one DELETE covers.
const ERASED_AT_ONCE: i64 = 2_000;
/// How long to retry the removal of erased rows while another process reads them: by VACUUM on
/// Postgres, by a checkpoint of the log on `SQLite`.
const SCRUB_TIMEOUT: Duration = Duration::from_secs(5);
const SCRUB_INTERVAL: Duration = Duration::from_millis(100);

impl Store {
    /// How many transactions would be erased.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn would_erase(&self, which: &Erasure) -> Result<u64, QueueError> {
        let count = self.db.read(
            "erase_count",
            "SELECT count(*) AS jobs FROM job
             WHERE ($1 IS NULL OR transaction_id = $1) AND ($2 IS NULL OR biz_id = $2)
                 AND ($3 IS NULL OR client_id = $3)",
        );
        let count = which.bind_to(count).one(|row| row.get::<i64>("jobs")).await?;
        Ok(count.unsigned_abs())
    }

    /// Whether a client has this transaction, in whatever state.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn has(&self, client_id: &str, id: &TransactionId) -> Result<bool, QueueError> {
        let has = self
            .db
            .read("has", "SELECT 1 AS one FROM job WHERE transaction_id = $1 AND client_id = $2");
        let found = has.bind(id.as_str()).bind(client_id).optional(|_| Ok(())).await?;
        Ok(found.is_some())
    }

    /// Deletes one transaction of a client with its pictures and outcome, a running one included:
    /// its worker loses the lease. The database may keep copies of the row until it cleans up, as
    /// it does of transactions that are deleted at the end of their retention period.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn delete(&self, client_id: &str, id: &TransactionId) -> Result<(), QueueError> {
        let delete =
            self.db.write("delete", "DELETE FROM job WHERE transaction_id = $1 AND client_id = $2");
        delete.bind(id.as_str()).bind(client_id).run().await?;
        if let Some(cache) = &self.payload_cache {
            cache.take(id);
        }
        Ok(())
    }

    /// Deletes transactions with their pictures and outcomes, running ones included: their workers
    /// lose their leases. Returns how many there were, and whether no copy of them is left in the
    /// files of the database: while another process reads, the log of `SQLite` and the tables of
    /// Postgres keep copies.
    ///
    /// # Errors
    /// [`QueueError::Database`]; what was erased before stays erased.
    pub async fn erase(&self, which: &Erasure) -> Result<(u64, bool), QueueError> {
        let mut erased = 0;
        // In ranges: no statement may take long.
        let ids = self.db.read("erase_range", "SELECT min(id) AS first, max(id) AS last FROM job");
        let ids = ids.one(|row| Ok((row.get("first")?, row.get("last")?))).await?;
        if let (Some(first), Some(last)) = ids {
            let mut from: i64 = first;
            while from <= last {
                let to = from.saturating_add(ERASED_AT_ONCE);
                // A retry deletes the same rows; only the count may be too low.
                let erase = self.db.write(
                    "erase",
                    "DELETE FROM job
                     WHERE ($1 IS NULL OR transaction_id = $1) AND ($2 IS NULL OR biz_id = $2)
                         AND ($3 IS NULL OR client_id = $3) AND id >= $4 AND id < $5",
                );
                erased += which.bind_to(erase).bind(from).bind(to).run().await?;
                from = to;
            }
        }
        // The databases have different statements for it.
        let is_clean = match &self.db {
            Db::Sqlite(db) => scrub_sqlite(db).await?,
            Db::Postgres(db) => scrub_postgres(db).await?,
        };
        Ok((erased, is_clean))
    }
}

/// Returns free pages and empties the log. Returns whether no copy is left in the log. In the file
/// itself `SQLite` overwrites content as it deletes it.
async fn scrub_sqlite(db: &SqliteDb) -> Result<bool, sqlx::Error> {
    let free = "SELECT freelist_count FROM pragma_freelist_count()";
    while db.statement("free_pages", free).one(|row| row.get::<i64>("freelist_count")).await? > 0 {
        db.statement("erase_vacuum_sqlite", "PRAGMA incremental_vacuum(256)").run().await?;
    }
    let started = Instant::now();
    loop {
        let checkpoint = db.statement("checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)");
        if checkpoint.one(|row| row.get::<i64>("busy")).await? == 0 {
            return Ok(true);
        }
        if started.elapsed() >= SCRUB_TIMEOUT {
            return Ok(false);
        }
        tokio::time::sleep(SCRUB_INTERVAL).await;
    }
}

/// Vacuums dead rows. Returns whether none is left; one that another transaction may still see
/// stays.
async fn scrub_postgres(db: &PostgresDb) -> Result<bool, sqlx::Error> {
    let mut session = db.session().await?;
    let started = Instant::now();
    let is_clean = loop {
        session.statement("erase_vacuum_postgres", "VACUUM job, job_payload").run().await?;
        // The count of dead rows that VACUUM had to leave.
        let left = session.statement(
            "erase_left",
            "SELECT CAST(coalesce(sum(n_dead_tup), 0) AS bigint) AS dead FROM pg_stat_all_tables
             WHERE relid IN (SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class
                             WHERE oid IN ('job'::regclass, 'job_payload'::regclass))",
        );
        let left = left.one(|row| row.get::<i64>("dead")).await?;
        if left == 0 || started.elapsed() >= SCRUB_TIMEOUT {
            break left == 0;
        }
        tokio::time::sleep(SCRUB_INTERVAL).await;
    };
    session.close().await?;
    Ok(is_clean)
}

impl Erasure {
    /// By transaction id, by the client's own id, and by Client-Id. `None` if nothing is given:
    /// that would be all transactions.
    pub fn new(
        transaction: Option<TransactionId>,
        biz_id: Option<BizId>,
        client: Option<String>,
    ) -> Option<Self> {
        let is_anything = transaction.is_some() || biz_id.is_some() || client.is_some();
        is_anything.then_some(Self { transaction, biz_id, client })
    }

    /// What is erased, for the audit, which is never deleted. Without the bizId, which may be the
    /// name of a person.
    pub(crate) fn subject(&self) -> String {
        let transaction = self.transaction.as_ref().map(|id| format!("transaction {id}"));
        let biz_id = self.biz_id.as_ref().map(|_| "a bizId".to_owned());
        let client = self.client.as_ref().map(|id| format!("client {id}"));
        transaction.into_iter().chain(biz_id).chain(client).collect::<Vec<_>>().join(", ")
    }

    /// Binds $1 to $3 of the statements of an erasure.
    fn bind_to<'a>(&'a self, statement: Statement<'a>) -> Statement<'a> {
        statement
            .bind(self.transaction.as_ref().map(TransactionId::as_str))
            .bind(self.biz_id.as_ref().map(BizId::as_str))
            .bind(self.client.as_deref())
    }
}

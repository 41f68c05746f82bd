//! Erasing transactions before their time.

use std::time::{Duration, Instant};

use super::Store;
use crate::{
    compare::{BizId, TransactionId},
    db::{Db, PostgresDb, SqliteDb, Statement},
    queue::QueueError,
};

/// Which transactions are to be erased: those that have all of what is given.
#[derive(Debug, Clone)]
pub struct Erasure {
    transaction: Option<TransactionId>,
    biz_id: Option<BizId>,
    client: Option<String>,
}

/// How many numbers of jobs one statement of an erasure goes through.
const ERASED_AT_ONCE: i64 = 2_000;
/// How long to try to clear erased rows away while somebody reads them: on Postgres, and in the log of `SQLite`. A try
/// waits as long as a statement waits for a lock, unless somebody else is emptying it: then it returns at once.
const CHECKPOINT_FOR: Duration = Duration::from_secs(5);
const BETWEEN_CHECKPOINTS: Duration = Duration::from_millis(100);

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

    /// Erases transactions with their pictures and outcomes, running ones included: their workers find that
    /// they have nothing to write to. Returns how many there were, and whether nothing of them is left in the files of
    /// the database; a reader may keep a copy in `SQLite`'s log for a while.
    ///
    /// # Errors
    /// [`QueueError::Database`]; what was erased before stays erased.
    pub async fn erase(&self, which: &Erasure) -> Result<(u64, bool), QueueError> {
        let mut erased = 0;
        // A few at a time: others are waiting, and no statement may take long.
        let ids = self.db.read("erase_range", "SELECT min(id) AS first, max(id) AS last FROM job");
        let ids = ids.one(|row| Ok((row.get("first")?, row.get("last")?))).await?;
        if let (Some(first), Some(last)) = ids {
            let mut from: i64 = first;
            while from <= last {
                let to = from.saturating_add(ERASED_AT_ONCE);
                // Deleting twice is deleting once, but for the count.
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
        // Each database has statements of its own for it.
        let is_clean = match &self.db {
            Db::Sqlite(db) => scrub_sqlite(db).await?,
            Db::Postgres(db) => scrub_postgres(db).await?,
        };
        Ok((erased, is_clean))
    }
}

/// Gives back the room of what was deleted. Returns whether no copy is left in the log. Deleted content is overwritten as
/// it is deleted; what is left are copies in the log.
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
        if started.elapsed() >= CHECKPOINT_FOR {
            return Ok(false);
        }
        tokio::time::sleep(BETWEEN_CHECKPOINTS).await;
    }
}

/// Clears dead rows away. Returns whether none is left because somebody may still see it.
async fn scrub_postgres(db: &PostgresDb) -> Result<bool, sqlx::Error> {
    let mut session = db.session().await?;
    let started = Instant::now();
    let is_clean = loop {
        session.statement("erase_vacuum_postgres", "VACUUM job, job_payload").run().await?;
        // VACUUM notes here how many dead rows it had to leave.
        let left = session.statement(
            "erase_left",
            "SELECT CAST(coalesce(sum(n_dead_tup), 0) AS bigint) AS dead FROM pg_stat_all_tables
             WHERE relid IN (SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class
                             WHERE oid IN ('job'::regclass, 'job_payload'::regclass))",
        );
        let left = left.one(|row| row.get::<i64>("dead")).await?;
        if left == 0 || started.elapsed() >= CHECKPOINT_FOR {
            break left == 0;
        }
        tokio::time::sleep(BETWEEN_CHECKPOINTS).await;
    };
    session.close().await?;
    Ok(is_clean)
}

impl Erasure {
    /// The transaction with an id, those that a client called by an id of its own, those of the client with a Client-Id.
    /// `None` if nothing is given: that would be all transactions.
    pub fn new(
        transaction: Option<TransactionId>,
        biz_id: Option<BizId>,
        client: Option<String>,
    ) -> Option<Self> {
        let is_anything = transaction.is_some() || biz_id.is_some() || client.is_some();
        is_anything.then_some(Self { transaction, biz_id, client })
    }

    /// What is erased, for the audit, which is never deleted. A bizId may be the name of a person, so it is left out.
    pub fn subject(&self) -> String {
        let transaction = self.transaction.as_ref().map(|id| format!("transaction {id}"));
        let biz_id = self.biz_id.as_ref().map(|_| "a bizId".to_owned());
        let client = self.client.as_ref().map(|id| format!("client {id}"));
        transaction.into_iter().chain(biz_id).chain(client).collect::<Vec<_>>().join(", ")
    }

    /// Binds what the statements of an erasure take first: $1 to $3.
    fn bind_to<'a>(&'a self, statement: Statement<'a>) -> Statement<'a> {
        statement
            .bind(self.transaction.as_ref().map(TransactionId::as_str))
            .bind(self.biz_id.as_ref().map(BizId::as_str))
            .bind(self.client.as_deref())
    }
}

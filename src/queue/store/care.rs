//! What operators do with stored transactions, apart from what serves requests: erasing them before their time,
//! sealing them anew, and looking at the room they take.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgPool, QueryBuilder};

use super::{Store, payload_label};
use crate::{
    compare::{BizId, TransactionId},
    db::Db,
    queue::QueueError,
    sealing::MasterKey,
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
/// How long to try to clear erased rows away while somebody reads them: on Postgres, and in the log of `SQLite`. A try waits as long as a statement waits for a lock,
/// unless somebody else is emptying it: then it returns at once.
const CHECKPOINT_FOR: Duration = Duration::from_secs(5);
const BETWEEN_CHECKPOINTS: Duration = Duration::from_millis(100);
/// How many pictures are sealed anew at once.
const BATCH: i64 = 16;

/// Room beside the live pictures that is not worth clearing.
const SPARE_BYTES: i64 = 64 << 20;
/// Any number that nobody else uses: "visavis" in ASCII.
const TIDY_LOCK: i64 = 0x0076_6973_6176_6973;

/// The number of a job, what the client calls it, and its sealed pictures.
type Payload = (i64, String, Vec<u8>, Vec<u8>);

/// Runs the same text on both databases.
macro_rules! each {
    ($db:expr, $writer:ident, |$pool:ident| $query:expr) => {
        match $db {
            Db::Sqlite(db) => {
                let $pool = &db.$writer;
                $query
            }
            Db::Postgres(db) => {
                let $pool = &db.pool();
                $query
            }
        }
    };
}

impl Store {
    /// How many transactions would be erased.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn would_erase(&self, which: &Erasure) -> Result<u64, QueueError> {
        let count: i64 = each!(&self.db, readers, |pool| {
            let mut query = which.restrict("/* erase */ SELECT count(*) FROM job WHERE 1 = 1");
            query.build_query_scalar().fetch_one(pool).await?
        });
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
        if let (Some(first), Some(last)) = self.ids().await? {
            let mut from = first;
            while from <= last {
                let to = from.saturating_add(ERASED_AT_ONCE);
                erased += self.erase_between(which, from, to).await?;
                from = to;
            }
        }
        Ok((erased, self.scrub().await?))
    }

    /// The lowest and the highest number of a job.
    async fn ids(&self) -> Result<(Option<i64>, Option<i64>), QueueError> {
        let text = "/* erase */ SELECT min(id), max(id) FROM job";
        Ok(each!(&self.db, readers, |pool| sqlx::query_as(text).fetch_one(pool).await?))
    }

    /// Those of the jobs from `from` on and below `to`.
    async fn erase_between(&self, which: &Erasure, from: i64, to: i64) -> Result<u64, QueueError> {
        Ok(match &self.db {
            Db::Sqlite(db) => {
                which.deleting(from, to).build().execute(&db.writer).await?.rows_affected()
            }
            Db::Postgres(db) => {
                // Deleting twice is deleting once, but for the count.
                let erasing = |pool: PgPool, _| async move {
                    which
                        .deleting(from, to)
                        .build()
                        .execute(&pool)
                        .await
                        .map(|done| done.rows_affected())
                };
                db.retrying(erasing).await?
            }
        })
    }

    /// Gives back the room of what was deleted. Returns whether no copy is left in a log that is read by somebody.
    async fn scrub(&self) -> Result<bool, QueueError> {
        match &self.db {
            // Deleted content is overwritten as it is deleted; what is left are copies in the log.
            Db::Sqlite(db) => {
                loop {
                    let free = "SELECT freelist_count FROM pragma_freelist_count()";
                    let free: i64 = sqlx::query_scalar(free).fetch_one(&db.writer).await?;
                    if free == 0 {
                        break;
                    }
                    sqlx::query("PRAGMA incremental_vacuum(256)").execute(&db.writer).await?;
                }
                let started = Instant::now();
                loop {
                    let done = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)");
                    let (busy, ..): (i64, i64, i64) = done.fetch_one(&db.writer).await?;
                    if busy == 0 {
                        return Ok(true);
                    }
                    if started.elapsed() >= CHECKPOINT_FOR {
                        return Ok(false);
                    }
                    tokio::time::sleep(BETWEEN_CHECKPOINTS).await;
                }
            }
            Db::Postgres(db) => {
                let mut session = db.pool().acquire().await?.detach();
                sqlx::query("SET statement_timeout = '10min'").execute(&mut session).await?;
                let started = Instant::now();
                let is_clean = loop {
                    sqlx::query("VACUUM job, job_payload").execute(&mut session).await?;
                    // VACUUM notes here how many dead rows it had to leave, because somebody may still see them.
                    let left = sqlx::query_scalar(
                        "/* erase */
                         SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_all_tables
                         WHERE relid IN (SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class
                                         WHERE oid IN ('job'::regclass, 'job_payload'::regclass))",
                    );
                    let left: i64 = left.fetch_one(&mut session).await?;
                    if left == 0 || started.elapsed() >= CHECKPOINT_FOR {
                        break left == 0;
                    }
                    tokio::time::sleep(BETWEEN_CHECKPOINTS).await;
                };
                session.close().await?;
                Ok(is_clean)
            }
        }
    }

    /// Seals all pictures that wait under the current key; returns how many pairs there were. With `dry` it only
    /// tries whether all of them open with that key alone.
    ///
    /// # Errors
    /// [`QueueError::Database`], or [`QueueError::Seal`] when one does not open.
    pub async fn reseal(&self, dry: bool) -> Result<u64, QueueError> {
        let reading = if dry { self.key.current() } else { self.key.clone() };
        let (mut last, mut count) = (i64::MIN, 0);
        loop {
            let batch: Vec<Payload> = each!(&self.db, writer, |pool| {
                sqlx::query_as(
                    "/* reseal */
                     SELECT job_id, transaction_id, probe, reference
                     FROM job_payload JOIN job ON job.id = job_id
                     WHERE job_id > $1 ORDER BY job_id LIMIT $2",
                )
                .bind(last)
                .bind(BATCH)
                .fetch_all(pool)
                .await?
            });
            let Some((highest, ..)) = batch.last() else { return Ok(count) };
            last = *highest;
            for payload in batch {
                count += 1;
                self.reseal_one(payload, &reading, dry).await?;
            }
        }
    }

    async fn reseal_one(
        &self,
        (job, id, probe, reference): Payload,
        reading: &MasterKey,
        dry: bool,
    ) -> Result<(), QueueError> {
        let again = |side: &str, sealed: &[u8]| -> Result<Vec<u8>, QueueError> {
            let label = payload_label(&id, side);
            Ok(self.key.seal(&label, &reading.open(&label, sealed)?)?)
        };
        let (probe, reference) = (again("probe", &probe)?, again("reference", &reference)?);
        if dry {
            return Ok(());
        }
        // A job that has ended meanwhile has no row any more, and needs none.
        each!(&self.db, writer, |pool| {
            sqlx::query(
                "/* reseal */ UPDATE job_payload SET probe = $2, reference = $3 WHERE job_id = $1",
            )
            .bind(job)
            .bind(probe)
            .bind(reference)
            .execute(pool)
            .await?;
        });
        Ok(())
    }

    /// Gives back the room of pictures that are gone, where the database does not by itself. Returns
    /// whether there was much to do.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn tidy(&self) -> Result<bool, QueueError> {
        match &self.db {
            // Done with every purge, a few pages at a time.
            Db::Sqlite(_) => Ok(false),
            // Not cut off like the others: it may take long.
            Db::Postgres(db) => Ok(clear_dead(&db.pool()).await?),
        }
    }

    /// What is stored takes so much room: name and size, as the metrics have it.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn room(&self) -> Result<[(&'static str, f64); 2], QueueError> {
        let (names, text) = match &self.db {
            Db::Sqlite(_) => (
                ["visavis_database_bytes", "visavis_database_free_bytes"],
                "/* room */
                 SELECT page_count * page_size, freelist_count * page_size
                 FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
            ),
            Db::Postgres(_) => (
                ["visavis_payload_bytes", "visavis_dead_tuples"],
                "/* room */
                 SELECT pg_total_relation_size('job_payload'),
                     (SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables
                      WHERE relid IN ('job'::regclass, 'job_payload'::regclass))",
            ),
        };
        let (one, other): (i64, i64) =
            each!(&self.db, readers, |pool| sqlx::query_as(text).fetch_one(pool).await?);
        Ok([(names[0], one as f64), (names[1], other as f64)])
    }
}

/// Clears dead pictures at once if they take much more room than the live ones: the server's own
/// clearing cannot be told to look more often for one table. One process does it at a time.
async fn clear_dead(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let (crowded, own): (bool, bool) = sqlx::query_as(
        "/* tidy */
         SELECT pg_total_relation_size('job_payload') > $1 + 4 * coalesce(sum(bytes), 0),
             (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'job_payload'::regclass)
         FROM job WHERE state IN (0, 1)",
    )
    .bind(SPARE_BYTES)
    .fetch_one(pool)
    .await?;
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
    let mut session = pool.acquire().await?.detach();
    sqlx::query("SET statement_timeout = '10min'").execute(&mut session).await?;
    let mine: bool = sqlx::query_scalar("/* tidy */ SELECT pg_try_advisory_lock($1)")
        .bind(TIDY_LOCK)
        .fetch_one(&mut session)
        .await?;
    if mine {
        sqlx::query("VACUUM job_payload").execute(&mut session).await?;
    }
    session.close().await?;
    Ok(mine)
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

    /// The statement that deletes those with numbers from `from` on and below `to`.
    fn deleting<DB: sqlx::Database>(&self, from: i64, to: i64) -> QueryBuilder<DB>
    where
        String: sqlx::Type<DB> + for<'q> sqlx::Encode<'q, DB>,
        i64: sqlx::Type<DB> + for<'q> sqlx::Encode<'q, DB>,
    {
        let mut query = self.restrict("/* erase */ DELETE FROM job WHERE 1 = 1");
        query.push(" AND id >= ").push_bind(from).push(" AND id < ").push_bind(to);
        query
    }

    /// The statement, for those that are meant.
    fn restrict<DB: sqlx::Database>(&self, statement: &'static str) -> QueryBuilder<DB>
    where
        String: sqlx::Type<DB> + for<'q> sqlx::Encode<'q, DB>,
    {
        let mut query = QueryBuilder::new(statement);
        let parts = [
            (" AND transaction_id = ", self.transaction.as_ref().map(TransactionId::as_str)),
            (" AND biz_id = ", self.biz_id.as_ref().map(BizId::as_str)),
            (" AND client_id = ", self.client.as_deref()),
        ];
        for (column, value) in parts {
            if let Some(value) = value {
                query.push(column).push_bind(value.to_owned());
            }
        }
        query
    }
}

//! The job table on `SQLite`: one function per statement, each guarded by the fencing token where a
//! worker writes. Nothing but SQL and row mapping lives here.

use sqlx::{Row as _, sqlite::SqliteRow};

use super::rows::{Claimed, Row, client_depth};
use crate::{
    clock::{Clock, UnixMillis},
    db::SqliteDb,
    queue::{ClientDepth, JobId, QueueError},
};

/// Inserts job and pictures in one transaction; returns the transaction id of an earlier job with the
/// same dedupe digest instead, if there is one.
pub(super) async fn enqueue(
    db: &SqliteDb,
    row: &Row<'_>,
    probe: &[u8],
    reference: &[u8],
) -> Result<Option<String>, QueueError> {
    let mut tx = db.writer.begin_with("BEGIN IMMEDIATE").await?;
    let inserted: Option<JobId> = sqlx::query_scalar(
        "/* enqueue */
         INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes, options, created_at, turn)
         -- Due whatever the clock shows: it may be set back while the job waits.
         VALUES ($1, $2, $3, $4, 0, 0, $6, $7, $5, max(
             -- Behind the client's own jobs,
             coalesce((SELECT max(turn) + 1 FROM job WHERE client_id = $2 AND state IN (0, 1)), 0),
             -- and not before what is next, or was last.
             coalesce(
                 (SELECT turn FROM job WHERE state IN (0, 1) AND state = 0 AND due_at <= $5 ORDER BY turn, id LIMIT 1),
                 (SELECT max(turn) FROM job WHERE state IN (0, 1)),
                 0)))
         ON CONFLICT (dedupe) DO NOTHING
         RETURNING id",
    )
    .bind(row.transaction_id)
    .bind(row.client_id)
    .bind(row.biz_id)
    .bind(row.dedupe)
    .bind(row.clock.now())
    .bind(row.bytes)
    .bind(&row.options)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(id) = inserted else {
        drop(tx);
        return find_by_dedupe(db, row.dedupe).await;
    };
    sqlx::query(
        "/* enqueue */ INSERT INTO job_payload (job_id, probe, reference) VALUES ($1, $2, $3)",
    )
    .bind(id)
    .bind(probe)
    .bind(reference)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(None)
}

/// Inserts a finished transaction; as [`enqueue`] when it was stored before.
pub(super) async fn record(
    db: &SqliteDb,
    row: &Row<'_>,
    outcome: &str,
) -> Result<Option<String>, QueueError> {
    let inserted = sqlx::query(
        "/* record */
         INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes, options, outcome,
                          attempt, created_at, started_at, finished_at)
         VALUES ($1, $2, $3, $4, 2, $5, $6, $7, $8, 1, $5, $5, $5)
         ON CONFLICT (dedupe) DO NOTHING",
    )
    .bind(row.transaction_id)
    .bind(row.client_id)
    .bind(row.biz_id)
    .bind(row.dedupe)
    .bind(row.clock.now())
    .bind(row.bytes)
    .bind(&row.options)
    .bind(outcome)
    .execute(&db.writer)
    .await?;
    if inserted.rows_affected() == 1 { Ok(None) } else { find_by_dedupe(db, row.dedupe).await }
}

async fn find_by_dedupe(
    db: &SqliteDb,
    dedupe: Option<&[u8]>,
) -> Result<Option<String>, QueueError> {
    // On the writer: a reader's snapshot may be older than the row that was in the way.
    let found =
        sqlx::query_scalar("/* find_by_dedupe */ SELECT transaction_id FROM job WHERE dedupe = $1")
            .bind(dedupe)
            .fetch_optional(&db.writer)
            .await?;
    found.map(Some).ok_or_else(|| QueueError::Inconsistent("a conflict without a row".to_owned()))
}

pub(super) async fn ping(db: &SqliteDb) -> Result<(), QueueError> {
    sqlx::query("/* ping */ SELECT 1").execute(&db.readers).await?;
    // A store that can be read and takes no jobs is not ready.
    let transaction = db.writer.begin_with("BEGIN IMMEDIATE").await?;
    transaction.rollback().await?;
    Ok(())
}

pub(super) async fn find_duplicate(
    db: &SqliteDb,
    dedupe: &[u8; 32],
) -> Result<Option<String>, QueueError> {
    Ok(sqlx::query_scalar("/* find_duplicate */ SELECT transaction_id FROM job WHERE dedupe = $1")
        .bind(dedupe.as_slice())
        .fetch_optional(&db.readers)
        .await?)
}

pub(super) async fn claim(
    db: &SqliteDb,
    limit: u32,
    owner: &str,
    clock: &Clock,
    lease: i64,
    latest: Option<UnixMillis>,
) -> Result<Vec<Claimed>, QueueError> {
    let now = clock.now();
    let rows = sqlx::query(
        "/* claim */
         UPDATE job
         SET state = 1, token = token + 1, attempt = attempt + 1, owner = $2, due_from = $3, due_at = $4,
             started_at = coalesce(started_at, $3)
         WHERE id IN (
             -- New jobs, retries and expired leases alike.
             SELECT id FROM job WHERE state IN (0, 1) AND due_at <= $5 ORDER BY turn, id LIMIT $1
         )
         RETURNING id, transaction_id, client_id, options, token, attempt, turn, created_at,
             (SELECT name FROM client WHERE client.client_id = job.client_id) AS client_name",
    )
    .bind(limit)
    .bind(owner)
    .bind(now)
    .bind(now + lease)
    .bind(latest.map_or(now, |latest| latest.min(now)))
    .fetch_all(&db.writer)
    .await?;
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    // RETURNING promises no order.
    claimed.sort_by_key(|job| (job.turn, job.id));
    Ok(claimed)
}

fn claimed(row: &SqliteRow) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        id: row.try_get("id")?,
        transaction_id: row.try_get("transaction_id")?,
        client_id: row.try_get("client_id")?,
        client_name: row.try_get("client_name")?,
        options: row.try_get("options")?,
        token: row.try_get("token")?,
        attempt: row.try_get("attempt")?,
        turn: row.try_get("turn")?,
        created_at: row.try_get("created_at")?,
    })
}

/// The client's tracing id and the sealed pictures of a job.
pub(super) async fn payload(
    db: &SqliteDb,
    id: JobId,
) -> Result<Option<(String, Vec<u8>, Vec<u8>)>, QueueError> {
    Ok(sqlx::query_as(
        "/* payload */
         SELECT job.biz_id, job_payload.probe, job_payload.reference
         FROM job_payload JOIN job ON job.id = job_payload.job_id
         WHERE job_id = $1",
    )
    .bind(id)
    .fetch_optional(&db.readers)
    .await?)
}

pub(super) async fn renew(
    db: &SqliteDb,
    held: &[(JobId, i64)],
    clock: &Clock,
    lease: i64,
) -> Result<Vec<JobId>, QueueError> {
    let now = clock.now();
    let mut tx = db.writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut kept = Vec::with_capacity(held.len());
    for (id, token) in held {
        let renewed = sqlx::query(
            "/* renew */ UPDATE job SET due_from = $3, due_at = $4 WHERE id = $1 AND token = $2 AND state = 1",
        )
        .bind(id)
        .bind(token)
        .bind(now)
        .bind(now + lease)
        .execute(&mut *tx)
        .await?;
        if renewed.rows_affected() == 1 {
            kept.push(*id);
        }
    }
    tx.commit().await?;
    Ok(kept)
}

/// The trigger of the schema deletes the pictures in the same statement.
pub(super) async fn complete(
    db: &SqliteDb,
    id: JobId,
    token: i64,
    outcome: &str,
    clock: &Clock,
) -> Result<u64, QueueError> {
    let done = sqlx::query(
        "/* complete */
         UPDATE job SET state = 2, outcome = $3, finished_at = $4
         WHERE id = $1 AND token = $2 AND state = 1",
    )
    .bind(id)
    .bind(token)
    .bind(outcome)
    .bind(clock.now())
    .execute(&db.writer)
    .await?;
    Ok(done.rows_affected())
}

/// `uncounted` attempts (0 or 1) are taken off again; the token stays.
pub(super) async fn put_back(
    db: &SqliteDb,
    id: JobId,
    token: i64,
    clock: &Clock,
    delay: i64,
    uncounted: i64,
) -> Result<u64, QueueError> {
    let now = clock.now();
    let put = sqlx::query(
        "/* put_back */
         UPDATE job SET state = 0, due_from = $3, due_at = $4, attempt = attempt - $5
         WHERE id = $1 AND token = $2 AND state = 1",
    )
    .bind(id)
    .bind(token)
    .bind(now)
    .bind(if delay == 0 { 0 } else { now + delay })
    .bind(uncounted)
    .execute(&db.writer)
    .await?;
    Ok(put.rows_affected())
}

pub(super) async fn bury(
    db: &SqliteDb,
    id: JobId,
    token: i64,
    clock: &Clock,
) -> Result<u64, QueueError> {
    let buried = sqlx::query(
        "/* bury */ UPDATE job SET state = 3, finished_at = $3 WHERE id = $1 AND token = $2 AND state = 1",
    )
    .bind(id)
    .bind(token)
    .bind(clock.now())
    .execute(&db.writer)
    .await?;
    Ok(buried.rows_affected())
}

/// State and outcome of a transaction.
pub(super) async fn transaction(
    db: &SqliteDb,
    client_id: &str,
    transaction_id: &str,
) -> Result<Option<(i64, Option<String>)>, QueueError> {
    Ok(sqlx::query_as(
        "/* transaction */ SELECT state, outcome FROM job WHERE transaction_id = $1 AND client_id = $2",
    )
    .bind(transaction_id)
    .bind(client_id)
    .fetch_optional(&db.readers)
    .await?)
}

/// Id, state and outcome of those that have ended.
pub(super) async fn ended(
    db: &SqliteDb,
    ids: &[&str],
) -> Result<Vec<(String, i64, Option<String>)>, QueueError> {
    let ids = serde_json::to_string(ids).unwrap_or_default();
    Ok(sqlx::query_as(
        "/* ended */
         SELECT transaction_id, state, outcome FROM job
         WHERE transaction_id IN (SELECT value FROM json_each($1)) AND state IN (2, 3)",
    )
    .bind(ids)
    .fetch_all(&db.readers)
    .await?)
}

pub(super) async fn recover(db: &SqliteDb, clock: &Clock) -> Result<u64, QueueError> {
    let recovered =
        sqlx::query("/* recover */ UPDATE job SET due_at = 0 WHERE state = 1 AND due_at > $1")
            .bind(clock.now())
            .execute(&db.writer)
            .await?;
    Ok(recovered.rows_affected())
}

/// Dates leases and pauses again that begin in the future, because the clock was set back since: they end no later than they
/// would have. Returns how many there were and what the clock shows.
pub(super) async fn date_again(
    db: &SqliteDb,
    clock: &Clock,
) -> Result<(i64, UnixMillis), QueueError> {
    let now = clock.now();
    let dated = sqlx::query(
        "/* date_again */
         UPDATE job SET due_from = $1, due_at = $1 + due_at - due_from
         WHERE state IN (0, 1) AND due_from > $1 AND due_at > due_from",
    )
    .bind(now)
    .execute(&db.writer)
    .await?;
    Ok((i64::try_from(dated.rows_affected()).unwrap_or(i64::MAX), now))
}

pub(super) async fn purge(
    db: &SqliteDb,
    clock: &Clock,
    age: i64,
    limit: u32,
) -> Result<u64, QueueError> {
    let purged = sqlx::query(
        "/* purge */
         DELETE FROM job WHERE id IN (
             SELECT id FROM job WHERE state IN (2, 3) AND finished_at < $1 ORDER BY finished_at LIMIT $2
         )",
    )
    .bind(clock.now() - age)
    .bind(limit)
    .execute(&db.writer)
    .await?;
    // Gives the pages of deleted pictures back to the file system, a few at a time.
    sqlx::query("PRAGMA incremental_vacuum(256)").execute(&db.writer).await?;
    Ok(purged.rows_affected())
}

pub(super) async fn depth(db: &SqliteDb) -> Result<Vec<ClientDepth>, QueueError> {
    let rows = sqlx::query_as(
        "/* depth */
         SELECT client_id, count(*), coalesce(sum(bytes), 0), min(created_at)
         FROM job WHERE state IN (0, 1) GROUP BY client_id",
    )
    .fetch_all(&db.readers)
    .await?;
    Ok(rows.into_iter().map(client_depth).collect())
}

pub(super) async fn payload_rows(db: &SqliteDb) -> Result<u64, QueueError> {
    let rows: i64 = sqlx::query_scalar("/* payload_rows */ SELECT count(*) FROM job_payload")
        .fetch_one(&db.readers)
        .await?;
    Ok(rows.unsigned_abs())
}

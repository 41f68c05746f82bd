//! The job table on Postgres: one function per statement, each guarded by the fencing token where a worker
//! writes. Nothing but SQL and row mapping lives here.
//!
//! Every statement is whole by itself at READ COMMITTED and may be made twice: the connection may be lost
//! between a commit and its answer. Leases begin and end by the database's clock.

use sqlx::{Error, PgPool, Row as _, postgres::PgRow};

use super::rows::{Claimed, Row, client_depth};
use crate::{
    clock::{Clock, UnixMillis},
    queue::{ClientDepth, JobId},
};

/// Inserts job and pictures in one statement; returns the transaction id of an earlier job with the same
/// dedupe digest instead, if there is one.
pub(super) async fn enqueue(
    pool: PgPool,
    row: &Row<'_>,
    probe: &[u8],
    reference: &[u8],
) -> Result<Option<String>, Error> {
    let inserted: Option<JobId> = sqlx::query_scalar(
        "/* enqueue */
         WITH new AS (
             INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes, options, created_at,
                              turn)
             -- Due whatever the clock shows: it may be set back while the job waits.
             SELECT $1, $2, $3, $4, 0, 'epoch', $6, $7, now, $10 + greatest(
                 -- Behind the client's own jobs,
                 (SELECT max(turn) + 1 FROM job WHERE client_id = $2 AND state IN (0, 1)),
                 -- and not before what is next, or was last.
                 coalesce(
                     (SELECT turn FROM job WHERE state IN (0, 1) AND state = 0 AND due_at <= now
                      ORDER BY turn, id LIMIT 1),
                     (SELECT max(turn) FROM job WHERE state IN (0, 1)),
                     0))
             FROM visavis_now($5) AS now
             ON CONFLICT (dedupe) DO NOTHING
             RETURNING id
         ), pictures AS (
             INSERT INTO job_payload (job_id, probe, reference) SELECT id, $8, $9 FROM new
         )
         SELECT id FROM new",
    )
    .bind(row.transaction_id)
    .bind(row.client_id)
    .bind(row.biz_id)
    .bind(row.dedupe)
    .bind(row.clock.set_time())
    .bind(row.bytes)
    .bind(&row.options)
    .bind(probe)
    .bind(reference)
    // Others of the client that are being stored by this process, whose turns cannot be seen yet.
    .bind(row.before)
    .fetch_optional(&pool)
    .await?;
    if inserted.is_some() { Ok(None) } else { in_the_way(pool, row).await }
}

/// Inserts a finished transaction; as [`enqueue`] when it was stored before.
pub(super) async fn record(
    pool: PgPool,
    row: &Row<'_>,
    outcome: &str,
) -> Result<Option<String>, Error> {
    let inserted = sqlx::query(
        "/* record */
         INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes, options, outcome,
                          attempt, created_at, started_at, finished_at)
         SELECT $1, $2, $3, $4, 2, now, $6, $7, $8, 1, now, now, now FROM visavis_now($5) AS now
         ON CONFLICT (dedupe) DO NOTHING",
    )
    .bind(row.transaction_id)
    .bind(row.client_id)
    .bind(row.biz_id)
    .bind(row.dedupe)
    .bind(row.clock.set_time())
    .bind(row.bytes)
    .bind(&row.options)
    .bind(outcome)
    .execute(&pool)
    .await?;
    if inserted.rows_affected() == 1 { Ok(None) } else { in_the_way(pool, row).await }
}

/// The row that an insert met: an earlier one of the same signed request, or the very same one, whose
/// first commit was answered into a broken connection.
async fn in_the_way(pool: PgPool, row: &Row<'_>) -> Result<Option<String>, Error> {
    let found: String =
        sqlx::query_scalar("/* in_the_way */ SELECT transaction_id FROM job WHERE dedupe = $1")
            .bind(row.dedupe)
            .fetch_one(&pool)
            .await?;
    Ok(Some(found).filter(|id| id != row.transaction_id))
}

/// Whether an insert failed because its transaction id is there already: when it is made again, that is its
/// own first commit, which was answered into a broken connection.
pub(super) fn is_there_already(error: &Error) -> bool {
    let error = error.as_database_error();
    error.and_then(|error| error.constraint()) == Some("job_transaction_id_key")
}

pub(super) async fn ping(pool: PgPool) -> Result<(), Error> {
    sqlx::query("/* ping */ SELECT 1").execute(&pool).await.map(drop)
}

pub(super) async fn find_duplicate(
    pool: PgPool,
    dedupe: &[u8; 32],
) -> Result<Option<String>, Error> {
    sqlx::query_scalar("/* find_duplicate */ SELECT transaction_id FROM job WHERE dedupe = $1")
        .bind(dedupe.as_slice())
        .fetch_optional(&pool)
        .await
}

pub(super) async fn claim(
    pool: PgPool,
    limit: u32,
    owner: &str,
    clock: &Clock,
    lease: i64,
    latest: Option<UnixMillis>,
) -> Result<Vec<Claimed>, Error> {
    let rows = sqlx::query(
        "/* claim */
         WITH due AS MATERIALIZED (
             -- New jobs, retries and expired leases alike. Materialised: as a subquery the planner may take
             -- more rows than the limit.
             SELECT id FROM job
             WHERE state IN (0, 1) AND due_at <= least(visavis_now($3), to_timestamp($5 / 1000.0))
             ORDER BY turn, id LIMIT $1 FOR UPDATE SKIP LOCKED
         )
         UPDATE job
         SET state = 1, token = token + 1, attempt = attempt + 1, owner = $2, due_from = visavis_now($3),
             due_at = visavis_now($3) + $4 * interval '1 millisecond',
             started_at = coalesce(started_at, visavis_now($3))
         FROM due WHERE job.id = due.id AND job.state IN (0, 1)
         RETURNING job.id, transaction_id, client_id, options, token, attempt, turn,
             visavis_millis(created_at) AS created_at,
             (SELECT name FROM client WHERE client.client_id = job.client_id) AS client_name",
    )
    .bind(i64::from(limit))
    .bind(owner)
    .bind(clock.set_time())
    .bind(lease)
    .bind(latest)
    .fetch_all(&pool)
    .await?;
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    // RETURNING promises no order.
    claimed.sort_by_key(|job| (job.turn, job.id));
    Ok(claimed)
}

fn claimed(row: &PgRow) -> Result<Claimed, Error> {
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
    pool: PgPool,
    id: JobId,
) -> Result<Option<(String, Vec<u8>, Vec<u8>)>, Error> {
    sqlx::query_as(
        "/* payload */
         SELECT job.biz_id, job_payload.probe, job_payload.reference
         FROM job_payload JOIN job ON job.id = job_payload.job_id
         WHERE job_id = $1",
    )
    .bind(id)
    .fetch_optional(&pool)
    .await
}

pub(super) async fn renew(
    pool: PgPool,
    held: &[(JobId, i64)],
    clock: &Clock,
    lease: i64,
) -> Result<Vec<JobId>, Error> {
    let (ids, tokens): (Vec<JobId>, Vec<i64>) = held.iter().copied().unzip();
    sqlx::query_scalar(
        "/* renew */
         UPDATE job SET due_from = visavis_now($3), due_at = visavis_now($3) + $4 * interval '1 millisecond'
         FROM unnest($1::bigint[], $2::bigint[]) AS held (id, token)
         WHERE job.id = held.id AND job.token = held.token AND state = 1
         RETURNING job.id",
    )
    .bind(ids)
    .bind(tokens)
    .bind(clock.set_time())
    .bind(lease)
    .fetch_all(&pool)
    .await
}

/// The trigger of the schema deletes the pictures in the same statement.
pub(super) async fn complete(
    pool: PgPool,
    id: JobId,
    token: i64,
    outcome: &str,
    clock: &Clock,
) -> Result<u64, Error> {
    let done = sqlx::query(
        "/* complete */
         UPDATE job SET state = 2, outcome = $3, finished_at = visavis_now($4)
         WHERE id = $1 AND token = $2 AND state = 1",
    )
    .bind(id)
    .bind(token)
    .bind(outcome)
    .bind(clock.set_time())
    .execute(&pool)
    .await?;
    Ok(done.rows_affected())
}

/// `uncounted` attempts (0 or 1) are taken off again; the token stays.
pub(super) async fn put_back(
    pool: PgPool,
    id: JobId,
    token: i64,
    clock: &Clock,
    delay: i64,
    uncounted: i64,
) -> Result<u64, Error> {
    let put = sqlx::query(
        "/* put_back */
         UPDATE job SET state = 0, attempt = attempt - $5, due_from = visavis_now($3),
             due_at = CASE $4 WHEN 0 THEN 'epoch' ELSE visavis_now($3) + $4 * interval '1 millisecond' END
         WHERE id = $1 AND token = $2 AND state = 1",
    )
    .bind(id)
    .bind(token)
    .bind(clock.set_time())
    .bind(delay)
    .bind(uncounted)
    .execute(&pool)
    .await?;
    Ok(put.rows_affected())
}

pub(super) async fn bury(pool: PgPool, id: JobId, token: i64, clock: &Clock) -> Result<u64, Error> {
    let buried = sqlx::query(
        "/* bury */
         UPDATE job SET state = 3, finished_at = visavis_now($3) WHERE id = $1 AND token = $2 AND state = 1",
    )
    .bind(id)
    .bind(token)
    .bind(clock.set_time())
    .execute(&pool)
    .await?;
    Ok(buried.rows_affected())
}

/// 1 if a claim with this token left the job in this state, otherwise 0.
pub(super) async fn is_left(pool: PgPool, id: JobId, token: i64, state: i16) -> Result<u64, Error> {
    let left: i64 = sqlx::query_scalar(
        "/* is_left */ SELECT count(*) FROM job WHERE id = $1 AND token = $2 AND state = $3",
    )
    .bind(id)
    .bind(token)
    .bind(state)
    .fetch_one(&pool)
    .await?;
    Ok(left.unsigned_abs())
}

/// State and outcome of a transaction.
pub(super) async fn transaction(
    pool: PgPool,
    client_id: &str,
    transaction_id: &str,
) -> Result<Option<(i64, Option<String>)>, Error> {
    sqlx::query_as(
        "/* transaction */
         SELECT state::bigint, outcome FROM job WHERE transaction_id = $1 AND client_id = $2",
    )
    .bind(transaction_id)
    .bind(client_id)
    .fetch_optional(&pool)
    .await
}

/// Id, state and outcome of those that have ended.
pub(super) async fn ended(
    pool: PgPool,
    ids: &[&str],
) -> Result<Vec<(String, i64, Option<String>)>, Error> {
    sqlx::query_as(
        "/* ended */
         SELECT transaction_id, state::bigint, outcome FROM job
         WHERE transaction_id = ANY($1) AND state IN (2, 3)",
    )
    .bind(ids)
    .fetch_all(&pool)
    .await
}

pub(super) async fn recover(pool: PgPool, clock: &Clock) -> Result<u64, Error> {
    let recovered = sqlx::query(
        "/* recover */
         UPDATE job SET due_at = 'epoch' WHERE state = 1 AND due_at > visavis_now($1)",
    )
    .bind(clock.set_time())
    .execute(&pool)
    .await?;
    Ok(recovered.rows_affected())
}

/// Dates leases and pauses again that begin in the future, because the clock was set back since: they end no later than they
/// would have. Returns how many there were and what the clock shows.
pub(super) async fn date_again(pool: PgPool, clock: &Clock) -> Result<(i64, UnixMillis), Error> {
    sqlx::query_as(
        "/* date_again */
         WITH future AS (
             UPDATE job SET due_from = visavis_now($1), due_at = visavis_now($1) + (due_at - due_from)
             WHERE state IN (0, 1) AND due_from > visavis_now($1) AND due_at > due_from
             RETURNING 1
         )
         SELECT count(*), visavis_millis(visavis_now($1)) FROM future",
    )
    .bind(clock.set_time())
    .fetch_one(&pool)
    .await
}

pub(super) async fn purge(pool: PgPool, clock: &Clock, age: i64, limit: u32) -> Result<u64, Error> {
    let purged = sqlx::query(
        "/* purge */
         DELETE FROM job WHERE id IN (
             SELECT id FROM job
             WHERE state IN (2, 3) AND finished_at < visavis_now($1) - $2 * interval '1 millisecond'
             ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED
         )",
    )
    .bind(clock.set_time())
    .bind(age)
    .bind(i64::from(limit))
    .execute(&pool)
    .await?;
    Ok(purged.rows_affected())
}

pub(super) async fn depth(pool: PgPool) -> Result<Vec<ClientDepth>, Error> {
    let rows = sqlx::query_as(
        "/* depth */
         SELECT client_id, count(*), coalesce(sum(bytes), 0)::bigint, visavis_millis(min(created_at))
         FROM job WHERE state IN (0, 1) GROUP BY client_id",
    )
    .fetch_all(&pool)
    .await?;
    Ok(rows.into_iter().map(client_depth).collect())
}

pub(super) async fn payload_rows(pool: PgPool) -> Result<u64, Error> {
    let rows: i64 = sqlx::query_scalar("/* payload_rows */ SELECT count(*) FROM job_payload")
        .fetch_one(&pool)
        .await?;
    Ok(rows.unsigned_abs())
}

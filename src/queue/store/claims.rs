//! What workers do with jobs. Every write of a worker is guarded by the fencing token of its claim.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Store,
    rows::{Claimed, lease, millis, payload_label, to_json},
};
use crate::{
    compare::{BizId, Outcome, PictureData, Request},
    db::{Sql, Value},
    queue::{
        error::QueueError,
        job::{JobId, Lease},
    },
};

/// States of a job in the database.
const QUEUED: i64 = 0;
const DONE: i64 = 2;
const DEAD: i64 = 3;

/// Returns a job to the queue, to be claimed again after the delay $4. $5 is subtracted from the
/// attempts; the token stays.
const PUT_BACK: &str = "\
    UPDATE job SET state = 0, attempt = attempt - $5, due_from = visavis_now($3),
        due_at = CASE $4
            WHEN 0 THEN visavis_now(0)
            ELSE visavis_now($3) + $4 * interval '1 millisecond' END
    WHERE id = $1 AND token = $2 AND state = 1";

impl Store {
    /// Claims up to `limit` due jobs for `length`: the jobs of one client in their order, the
    /// clients in turn. A job of a dead worker is due again when its lease ends.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn claim(
        &self,
        limit: u32,
        owner: &str,
        length: Duration,
    ) -> Result<Vec<Lease>, QueueError> {
        self.lease_clock.has_lease(millis(length));
        let latest = self.lease_clock.latest(&self.clock);
        let mut claimed = self
            .db
            .write(
                "claim",
                "WITH due AS MATERIALIZED (
                     -- New jobs, retries and expired leases alike. Materialised: as a subquery the
                     -- planner may take more rows than the limit.
                     SELECT id FROM job
                     WHERE finished_at IS NULL
                         AND due_at <= visavis_now($3) AND due_at <= visavis_now($5)
                     ORDER BY turn, id LIMIT $1 FOR UPDATE SKIP LOCKED
                 )
                 UPDATE job
                 SET state = 1, token = token + 1, attempt = attempt + 1, owner = $2,
                     due_from = visavis_now($3),
                     due_at = visavis_now($3) + $4 * interval '1 millisecond',
                     started_at = coalesce(started_at, visavis_now($3))
                 FROM due WHERE job.id = due.id AND job.finished_at IS NULL
                 RETURNING job.id AS id, transaction_id, client_id, options, token, attempt, turn,
                     visavis_millis(created_at) AS created_at,
                     (SELECT name FROM client
                      WHERE client.client_id = job.client_id) AS client_name",
            )
            .bind(i64::from(limit))
            .bind(owner)
            .bind(&self.clock)
            .bind(millis(length))
            .bind(latest.map_or(Value::from(&self.clock), Value::from))
            .all(Claimed::read)
            .await?;
        // RETURNING promises no order.
        claimed.sort_by_key(|job| (job.position, job.id));
        let mut leases = Vec::with_capacity(claimed.len());
        for row in claimed {
            match lease(&row) {
                Ok(lease) => leases.push(lease),
                // An unreadable row would otherwise fail every claim that it is part of.
                Err(error) => {
                    tracing::error!(job = row.id, %error, "job given up");
                    if let Err(error) = self.bury(row.id, row.token).await {
                        let job = row.id;
                        tracing::warn!(job, %error, "cannot give the job up: it waits for its \
                            lease");
                    }
                }
            }
        }
        Ok(leases)
    }

    /// The pictures of a claimed job; `None` when the lease was lost and the job has ended, unless
    /// they were cached: then that shows when the outcome is written.
    ///
    /// # Errors
    /// [`QueueError::Database`], or [`QueueError::Seal`] when the master key is another one.
    pub async fn payload(&self, lease: &Lease) -> Result<Option<Request>, QueueError> {
        let job = &lease.job;
        if let Some(request) =
            self.payload_cache.as_ref().and_then(|cache| cache.take(&job.transaction_id))
        {
            return Ok(Some(Request { options: job.options, ..request }));
        }
        let payload = self
            .db
            .read(
                "payload",
                "SELECT job.biz_id AS biz_id, job_payload.probe AS probe,
                     job_payload.reference AS reference
                 FROM job_payload JOIN job ON job.id = job_payload.job_id
                 WHERE job_id = $1",
            )
            .bind(job.id)
            .optional(|row| {
                let biz_id: String = row.get("biz_id")?;
                let (probe, reference): (Vec<u8>, Vec<u8>) =
                    (row.get("probe")?, row.get("reference")?);
                Ok((biz_id, probe, reference))
            });
        let Some((biz_id, probe, reference)) = payload.await? else { return Ok(None) };
        let open = |side, sealed: &[u8]| -> Result<Zeroizing<Vec<u8>>, QueueError> {
            Ok(self.key.open(&payload_label(job.transaction_id.as_str(), side), sealed)?)
        };
        Ok(Some(Request {
            biz_id: BizId::new(&biz_id)
                .ok_or_else(|| QueueError::Inconsistent("biz_id".to_owned()))?,
            probe: PictureData::stored(open("probe", &probe)?),
            reference: PictureData::stored(open("reference", &reference)?),
            options: job.options,
        }))
    }

    /// Moves the end of the given leases to `length` from now and returns the jobs that are still
    /// held; for the others the work is to be dropped.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn renew(
        &self,
        held: &[(JobId, i64)],
        length: Duration,
    ) -> Result<Vec<JobId>, QueueError> {
        let (ids, tokens): (Vec<JobId>, Vec<i64>) = held.iter().copied().unzip();
        // The databases have different functions for lists.
        let renew = Sql::Each {
            sqlite: "UPDATE job SET due_from = $3, due_at = $3 + $4
                     FROM json_each($1) AS held
                     WHERE job.id = held.value AND job.token = $2 ->> held.key AND state = 1
                     RETURNING job.id AS id",
            postgres: "UPDATE job SET due_from = visavis_now($3),
                           due_at = visavis_now($3) + $4 * interval '1 millisecond'
                       FROM unnest($1::bigint[], $2::bigint[]) AS held (id, token)
                       WHERE job.id = held.id AND job.token = held.token AND state = 1
                       RETURNING job.id AS id",
        };
        let renewed = self.db.write("renew", renew).bind(ids.as_slice()).bind(tokens.as_slice());
        let renewed = renewed.bind(&self.clock).bind(millis(length));
        Ok(renewed.all(|row| row.get("id")).await?)
    }

    /// Ends a job with its outcome and deletes its pictures, in one statement.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest; then nothing was written.
    pub async fn complete(
        &self,
        id: JobId,
        token: i64,
        outcome: &Outcome,
    ) -> Result<(), QueueError> {
        let outcome = to_json(outcome)?;
        // The trigger of the schema deletes the pictures.
        let complete = "UPDATE job SET state = 2, outcome = $3, finished_at = visavis_now($4)
                        WHERE id = $1 AND token = $2 AND state = 1";
        let values = [outcome.as_str().into(), (&self.clock).into()];
        self.end("complete", complete, (id, token, DONE), &values).await
    }

    /// Returns a job to the queue, to be claimed again after `delay`.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn retry(&self, id: JobId, token: i64, delay: Duration) -> Result<(), QueueError> {
        let values = [(&self.clock).into(), millis(delay).into(), 0_i64.into()];
        self.end("retry", PUT_BACK, (id, token, QUEUED), &values).await
    }

    /// Returns a job that was not started, to be claimed again after `delay`; the attempt does not
    /// count.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn postpone(&self, id: JobId, token: i64, delay: Duration) -> Result<(), QueueError> {
        let values = [(&self.clock).into(), millis(delay).into(), 1_i64.into()];
        self.end("postpone", PUT_BACK, (id, token, QUEUED), &values).await
    }

    /// Gives a job up and deletes its pictures.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn bury(&self, id: JobId, token: i64) -> Result<(), QueueError> {
        let bury = "UPDATE job SET state = 3, finished_at = visavis_now($3)
                    WHERE id = $1 AND token = $2 AND state = 1";
        self.end("bury", bury, (id, token, DEAD), &[(&self.clock).into()]).await
    }

    /// Ends a claim by a statement that takes the job's id, the token and `values`. A retry that
    /// finds no such claim asks whether the first try left the job in `state`.
    async fn end(
        &self,
        name: &'static str,
        sql: &'static str,
        (id, token, state): (JobId, i64, i64),
        values: &[Value<'_>],
    ) -> Result<(), QueueError> {
        let ended = self.db.retrying(name, |attempt| async move {
            let ending = attempt.statement(name, sql).bind(id).bind(token);
            match values.iter().fold(ending, |ending, value| ending.bind(*value)).run().await? {
                0 if attempt.again => {
                    attempt
                        .statement(
                            "is_left",
                            "SELECT count(*) AS jobs FROM job
                             WHERE id = $1 AND token = $2 AND state = $3",
                        )
                        .bind(id)
                        .bind(token)
                        .bind(state)
                        .one(|row| row.get::<i64>("jobs"))
                        .await
                }
                rows => Ok(rows.cast_signed()),
            }
        });
        if ended.await? == 1 { Ok(()) } else { Err(QueueError::LeaseLost) }
    }

    /// Makes running jobs claimable at once. Only for a database that no other process uses, before
    /// the first claim: the worker that ran them is dead.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn recover(&self) -> Result<u64, QueueError> {
        let recover = self.db.write(
            "recover",
            "UPDATE job SET due_at = visavis_now(0) WHERE state = 1 AND due_at > visavis_now($1)",
        );
        Ok(recover.bind(&self.clock).run().await?)
    }
}

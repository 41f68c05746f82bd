//! Storing transactions: jobs with their pictures, and comparisons that are finished already.

use super::{
    NewRow, Store,
    rows::{own_id, payload_label, to_json},
};
use crate::{
    compare::{Outcome, TransactionId},
    db::Attempt,
    queue::{
        error::QueueError,
        job::{Accepted, JobId, NewJob},
    },
};

impl Store {
    /// Stores a job with its pictures. When this returns the job is on disk; only then may it be
    /// acknowledged.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Seal`]; then nothing is stored.
    pub async fn enqueue(&self, new: &NewJob<'_>) -> Result<Accepted, QueueError> {
        let label = |side| payload_label(new.transaction_id.as_str(), side);
        let probe = self.key.seal(&label("probe"), new.request.probe.as_bytes())?;
        let reference = self.key.seal(&label("reference"), new.request.reference.as_bytes())?;
        let pending_insert = self.pending_inserts.begin(new.client_id);
        let row = self.row(new, pending_insert.ahead)?;
        // Before any worker can claim it.
        let pending =
            self.payload_cache.as_ref().map(|cache| cache.insert(&new.transaction_id, new.request));
        let insert = |attempt| insert_job(attempt, &row, &probe, &reference);
        let accepted = self.insert("enqueue", new, insert).await?;
        if let (Some(pending), Accepted::New(_)) = (pending, &accepted) {
            pending.commit();
        }
        Ok(accepted)
    }

    /// Stores a finished transaction, so that the client can ask for it later. No picture
    /// reaches the database.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn record(
        &self,
        new: &NewJob<'_>,
        outcome: &Outcome,
    ) -> Result<Accepted, QueueError> {
        let outcome = to_json(outcome)?;
        let row = self.row(new, 0)?;
        self.insert("record", new, |attempt| insert_finished(attempt, &row, &outcome)).await
    }

    /// The transaction that the same signed request was stored as.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn find_duplicate(
        &self,
        dedupe: &[u8; 32],
    ) -> Result<Option<TransactionId>, QueueError> {
        let id: Option<String> = self
            .db
            .read("find_duplicate", "SELECT transaction_id FROM job WHERE dedupe = $1")
            .bind(dedupe.as_slice())
            .optional(|row| row.get("transaction_id"))
            .await?;
        id.as_deref().map(own_id).transpose()
    }

    fn row<'a>(&'a self, new: &'a NewJob<'_>, ahead: i64) -> Result<NewRow<'a>, QueueError> {
        Ok(NewRow {
            transaction_id: new.transaction_id.as_str(),
            client_id: new.client_id,
            biz_id: new.request.biz_id.as_str(),
            dedupe: new.dedupe.as_ref().map(<[u8; 32]>::as_slice),
            bytes: i64::try_from(new.request.bytes()).unwrap_or(i64::MAX),
            options: to_json(&new.request.options)?,
            ahead,
            clock: &self.clock,
        })
    }

    /// Runs an insert that returns whether it inserted anything. A retry may conflict with its own
    /// first try.
    async fn insert<F>(
        &self,
        name: &'static str,
        new: &NewJob<'_>,
        insert: impl Fn(Attempt) -> F + Send + Sync,
    ) -> Result<Accepted, QueueError>
    where
        F: Future<Output = Result<bool, sqlx::Error>> + Send,
    {
        let existing = self.db.retrying(name, |attempt| {
            let inserting = insert(attempt.clone());
            async move {
                match inserting.await {
                    Ok(true) => Ok(None),
                    Ok(false) => existing_transaction_id(&attempt, new).await,
                    Err(error) if attempt.again && is_own_retry(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        Ok(match existing.await? {
            None => Accepted::New(new.transaction_id.clone()),
            Some(id) => Accepted::Duplicate(own_id(&id)?),
        })
    }
}

/// Inserts a job and its pictures, unless a job with the same dedupe digest exists.
async fn insert_job(
    attempt: Attempt,
    row: &NewRow<'_>,
    probe: &[u8],
    reference: &[u8],
) -> Result<bool, sqlx::Error> {
    // On Postgres one statement, because each is a round trip. SQLite has no INSERT inside another
    // statement, and its `max` is NULL if one of the values is, which `greatest` ignores.
    if attempt.is_on_postgres() {
        let inserted = attempt.statement(
            "enqueue",
            "WITH new AS (
                 INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes,
                                  options, created_at, turn)
                 -- Due whatever the clock shows: it may be set back while the job waits.
                 SELECT $1, $2, $3, $4, 0, 'epoch', $6, $7, now, $10 + greatest(
                     -- Behind the client's own jobs,
                     (SELECT max(turn) + 1 FROM job
                      WHERE client_id = $2 AND finished_at IS NULL),
                     -- and not before what is next, or was last.
                     coalesce(
                         (SELECT turn FROM job
                          WHERE finished_at IS NULL AND state = 0 AND due_at <= now
                          ORDER BY turn, id LIMIT 1),
                         (SELECT max(turn) FROM job WHERE finished_at IS NULL),
                         0))
                 FROM visavis_now($5) AS now
                 ON CONFLICT (dedupe) DO NOTHING
                 RETURNING id
             ), photos AS (
                 INSERT INTO job_payload (job_id, probe, reference) SELECT id, $8, $9 FROM new
             )
             SELECT id FROM new",
        );
        let inserted = row.bind_to(inserted).bind(probe).bind(reference);
        // Jobs of the client that this process is inserting: other statements do not see their
        // positions yet.
        return Ok(inserted
            .bind(row.ahead)
            .optional(|row| row.get::<JobId>("id"))
            .await?
            .is_some());
    }
    let mut tx = attempt.begin().await?;
    let inserted = tx.statement(
        "enqueue_job",
        "INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes, options,
                          created_at, turn)
         -- Due whatever the clock shows: it may be set back while the job waits.
         VALUES ($1, $2, $3, $4, 0, 0, $6, $7, $5, max(
             -- Behind the client's own jobs,
             coalesce((SELECT max(turn) + 1 FROM job
                       WHERE client_id = $2 AND finished_at IS NULL), 0),
             -- and not before what is next, or was last.
             coalesce(
                 (SELECT turn FROM job
                  WHERE finished_at IS NULL AND state = 0 AND due_at <= $5
                  ORDER BY turn, id LIMIT 1),
                 (SELECT max(turn) FROM job WHERE finished_at IS NULL),
                 0)))
         ON CONFLICT (dedupe) DO NOTHING
         RETURNING id",
    );
    let inserted = row.bind_to(inserted).optional(|row| row.get::<JobId>("id")).await?;
    let Some(id) = inserted else { return Ok(false) };
    tx.statement(
        "enqueue_pictures",
        "INSERT INTO job_payload (job_id, probe, reference) VALUES ($1, $2, $3)",
    )
    .bind(id)
    .bind(probe)
    .bind(reference)
    .run()
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// Inserts a finished transaction, unless one with the same dedupe digest exists.
async fn insert_finished(
    attempt: Attempt,
    row: &NewRow<'_>,
    outcome: &str,
) -> Result<bool, sqlx::Error> {
    let inserted = attempt.statement(
        "record",
        "INSERT INTO job (transaction_id, client_id, biz_id, dedupe, state, due_at, bytes, options,
                          outcome, attempt, created_at, started_at, finished_at)
         VALUES ($1, $2, $3, $4, 2, visavis_now($5), $6, $7, $8, 1,
                 visavis_now($5), visavis_now($5), visavis_now($5))
         ON CONFLICT (dedupe) DO NOTHING",
    );
    Ok(row.bind_to(inserted).bind(outcome).run().await? == 1)
}

/// The row that an insert conflicts with: an earlier one of the same signed request, or its own, if
/// the connection was lost after the commit.
async fn existing_transaction_id(
    attempt: &Attempt,
    new: &NewJob<'_>,
) -> Result<Option<String>, sqlx::Error> {
    let found: String = attempt
        .statement("existing_transaction_id", "SELECT transaction_id FROM job WHERE dedupe = $1")
        .bind(new.dedupe.as_ref().map(<[u8; 32]>::as_slice))
        .one(|row| row.get("transaction_id"))
        .await?;
    Ok(Some(found).filter(|id| id != new.transaction_id.as_str()))
}

/// Whether an insert failed because its transaction id exists: in a retry that is its own first
/// try, whose connection was lost after the commit.
fn is_own_retry(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.and_then(|error| error.constraint()) == Some("job_transaction_id_key")
}

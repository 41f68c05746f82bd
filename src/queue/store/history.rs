//! All that is known of one transaction, for operators: whose it is does not matter, and its pictures are not
//! touched.

use sqlx::PgPool;

use super::{Store, rows::transaction_state};
use crate::{
    clock::UnixMillis,
    compare::TransactionId,
    db::Db,
    queue::{error::QueueError, job::TransactionState},
};

/// A transaction as an operator may see it. The client's tracing id is not part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Whose it is.
    pub client_id: String,
    /// Where it stands.
    pub state: TransactionState,
    /// Whether a worker has it; otherwise one that is not finished is queued.
    pub running: bool,
    /// Claims so far; 1 for one that was compared while its client waited.
    pub attempts: u32,
    /// When it was accepted.
    pub created_at: UnixMillis,
    /// When it was first claimed.
    pub started_at: Option<UnixMillis>,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
}

/// Client, state, attempts, the three times, outcome.
type Found = (String, i64, i64, UnixMillis, Option<UnixMillis>, Option<UnixMillis>, Option<String>);

impl Store {
    /// What is known of a transaction, whoever its client is.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn history(&self, id: &TransactionId) -> Result<Option<History>, QueueError> {
        let found: Option<Found> = match &self.db {
            Db::Sqlite(db) => {
                sqlx::query_as(
                    "/* history */
                     SELECT client_id, state, attempt, created_at, started_at, finished_at, outcome
                     FROM job WHERE transaction_id = $1",
                )
                .bind(id.as_str())
                .fetch_optional(&db.readers)
                .await?
            }
            Db::Postgres(db) => {
                let look = |pool: PgPool, _| async move {
                    sqlx::query_as(
                        "/* history */
                         SELECT client_id, state::bigint, attempt, visavis_millis(created_at),
                                visavis_millis(started_at), visavis_millis(finished_at), outcome
                         FROM job WHERE transaction_id = $1",
                    )
                    .bind(id.as_str())
                    .fetch_optional(&pool)
                    .await
                };
                db.retrying(look).await?
            }
        };
        let Some((client_id, state, attempt, created_at, started_at, finished_at, outcome)) = found
        else {
            return Ok(None);
        };
        Ok(Some(History {
            client_id,
            running: state == 1,
            state: transaction_state(state, outcome)?,
            attempts: u32::try_from(attempt).unwrap_or_default(),
            created_at,
            started_at,
            finished_at,
        }))
    }
}

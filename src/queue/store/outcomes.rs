//! Reading transactions and their outcomes: for clients, for callers that wait, and for operators.

use std::ops::Range;

use super::{
    Store,
    rows::{own_id, transaction_state},
};
use crate::{
    clock::UnixMillis,
    compare::{BizId, PictureKind, Place, RequestOptions, TransactionId},
    db::{Row, Sql, Statement},
    queue::{
        error::QueueError,
        job::{Transaction, TransactionState},
    },
};

/// A transaction as an operator may see it. The client's tracing id is not part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its client.
    pub client_id: String,
    /// What the reference is a picture of.
    pub reference_kind: PictureKind,
    /// Its state.
    pub state: TransactionState,
    /// Whether a worker runs it; otherwise a transaction in process is queued.
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

/// Transactions that one statement lists at most.
pub(crate) const LISTED_AT_ONCE: u16 = 500;

/// Columns of a history, and what one is taken from.
macro_rules! histories {
    ($rest:literal) => {
        concat!(
            "SELECT transaction_id, client_id, CAST(state AS bigint) AS state, attempt, options,
                 visavis_millis(created_at) AS created_at,
                 visavis_millis(started_at) AS started_at,
                 visavis_millis(finished_at) AS finished_at, outcome
             FROM job ",
            $rest
        )
    };
}

/// State and outcome.
type Stored = (i64, Option<String>);

fn stored(row: &Row) -> Result<Stored, sqlx::Error> {
    Ok((row.get("state")?, row.get("outcome")?))
}

impl Store {
    /// A transaction of this client; `None` for one of another client.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn transaction(
        &self,
        client_id: &str,
        id: &TransactionId,
    ) -> Result<Option<Transaction>, QueueError> {
        let found = self
            .db
            .read(
                "transaction",
                "SELECT CAST(state AS bigint) AS state, outcome FROM job
                 WHERE transaction_id = $1 AND client_id = $2",
            )
            .bind(id.as_str())
            .bind(client_id)
            .optional(stored)
            .await?;
        let Some((state, outcome)) = found else { return Ok(None) };
        let state = transaction_state(state, outcome)?;
        Ok(Some(Transaction { transaction_id: id.clone(), state }))
    }

    /// The given transactions that have ended, with their outcomes. It does not check whose they
    /// are.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn ended(
        &self,
        ids: &[TransactionId],
    ) -> Result<Vec<(TransactionId, TransactionState)>, QueueError> {
        let ids: Vec<_> = ids.iter().map(TransactionId::as_str).collect();
        // The databases have different functions for lists.
        let ended = Sql::Each {
            sqlite: "SELECT transaction_id, state, outcome FROM job
                     WHERE transaction_id IN (SELECT value FROM json_each($1)) AND state IN (2, 3)",
            postgres: "SELECT transaction_id, CAST(state AS bigint) AS state, outcome FROM job
                       WHERE transaction_id = ANY($1) AND state IN (2, 3)",
        };
        let ended = self.db.read("ended", ended).bind(ids.as_slice());
        let ended =
            ended.all(|row| Ok((row.get::<String>("transaction_id")?, stored(row)?))).await?;
        let read = |(id, (state, outcome)): (String, Stored)| {
            Ok::<_, QueueError>((own_id(&id)?, transaction_state(state, outcome)?))
        };
        let read = ended.into_iter().map(read);
        // An unreadable outcome must not delay the others.
        Ok(read
            .filter_map(|row| {
                row.inspect_err(|e| tracing::error!(%e, "cannot read a stored outcome")).ok()
            })
            .collect())
    }

    /// The history of a transaction of any client, without its pictures.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn history(&self, id: &TransactionId) -> Result<Option<History>, QueueError> {
        let found = self
            .db
            .read("history", histories!("WHERE transaction_id = $1"))
            .bind(id.as_str())
            .optional(StoredHistory::read)
            .await?;
        found.map(StoredHistory::parse).transpose()
    }

    /// The latest transactions in a range of time, the newest first, at most
    /// [`LISTED_AT_ONCE`]; with `biz_id`, those of that tracing id.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn list(
        &self,
        shard: u32,
        range: Range<&Place>,
        biz_id: Option<&BizId>,
    ) -> Result<Vec<(TransactionId, History)>, QueueError> {
        let from = TransactionId::at(shard, range.start);
        let before = TransactionId::at(shard, range.end);
        // Two texts, each served by an index of its own.
        let list = match biz_id {
            None => self.db.read(
                "list",
                histories!(
                    "WHERE transaction_id >= $1 AND transaction_id < $2
                     ORDER BY transaction_id DESC LIMIT $3"
                ),
            ),
            Some(_) => self.db.read(
                "list_biz_id",
                histories!(
                    "WHERE transaction_id >= $1 AND transaction_id < $2 AND biz_id = $4
                     ORDER BY transaction_id DESC LIMIT $3"
                ),
            ),
        };
        let list = list.bind(from.as_str()).bind(before.as_str()).bind(i64::from(LISTED_AT_ONCE));
        let list = biz_id.map(BizId::as_str).into_iter().fold(list, Statement::bind);
        let found =
            list.all(|row| Ok((row.get::<String>("transaction_id")?, StoredHistory::read(row)?)));
        let found = found.await?.into_iter();
        found.map(|(id, history)| Ok((own_id(&id)?, history.parse()?))).collect()
    }
}

/// A history as the database returns it.
struct StoredHistory {
    history: History,
    options: String,
    stored: Stored,
}

impl StoredHistory {
    fn read(row: &Row) -> Result<Self, sqlx::Error> {
        let history = History {
            client_id: row.get("client_id")?,
            reference_kind: PictureKind::Selfie,
            state: TransactionState::Processing,
            running: false,
            attempts: u32::try_from(row.get::<i64>("attempt")?).unwrap_or_default(),
            created_at: row.get("created_at")?,
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
        };
        Ok(Self { history, options: row.get("options")?, stored: stored(row)? })
    }

    fn parse(self) -> Result<History, QueueError> {
        let (state, outcome) = self.stored;
        let options: RequestOptions = serde_json::from_str(&self.options)
            .map_err(|e| QueueError::Inconsistent(format!("options: {e}")))?;
        Ok(History {
            reference_kind: options.reference_kind,
            running: state == 1,
            state: transaction_state(state, outcome)?,
            ..self.history
        })
    }
}

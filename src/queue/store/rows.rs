//! Rows as they are inserted and read, and their meaning.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::{Clock, UnixMillis},
    compare::TransactionId,
    db::{Row, Statement},
    queue::{
        error::QueueError,
        job::{Job, JobId, Lease, TransactionState},
    },
};

/// A row to be inserted, ready for SQL.
pub(super) struct NewRow<'a> {
    pub(super) transaction_id: &'a str,
    pub(super) client_id: &'a str,
    pub(super) biz_id: &'a str,
    pub(super) dedupe: Option<&'a [u8]>,
    pub(super) bytes: i64,
    pub(super) options: String,
    /// Jobs of the client that this process was inserting before.
    pub(super) ahead: i64,
    pub(super) clock: &'a Clock,
}

impl<'a> NewRow<'a> {
    /// Binds $1 to $7 of every insert.
    pub(super) fn bind_to(&'a self, insert: Statement<'a>) -> Statement<'a> {
        insert
            .bind(self.transaction_id)
            .bind(self.client_id)
            .bind(self.biz_id)
            .bind(self.dedupe)
            .bind(self.clock)
            .bind(self.bytes)
            .bind(self.options.as_str())
    }
}

/// The job row of a claim as the database returns it.
pub(super) struct Claimed {
    pub(super) id: JobId,
    pub(super) transaction_id: String,
    pub(super) client_id: String,
    pub(super) client_name: Option<String>,
    pub(super) options: String,
    pub(super) token: i64,
    pub(super) attempt: i64,
    /// In the fair queue: lower is earlier.
    pub(super) position: i64,
    pub(super) created_at: UnixMillis,
}

impl Claimed {
    pub(super) fn read(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.get("id")?,
            transaction_id: row.get("transaction_id")?,
            client_id: row.get("client_id")?,
            client_name: row.get("client_name")?,
            options: row.get("options")?,
            token: row.get("token")?,
            attempt: row.get("attempt")?,
            position: row.get("turn")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// How many jobs of each client this process is inserting. Their statements do not see one another
/// in the database, and without this all of them would get the same position in the fair queue.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingInserts(Arc<Mutex<HashMap<String, i64>>>);

/// One of them; it ends when it is dropped.
pub(super) struct PendingInsert {
    all: PendingInserts,
    client_id: String,
    /// How many of its client were being inserted before it.
    pub(super) ahead: i64,
}

impl PendingInserts {
    pub(super) fn begin(&self, client_id: &str) -> PendingInsert {
        let mut clients = self.clients();
        let pending = clients.entry(client_id.to_owned()).or_insert(0);
        let ahead = *pending;
        *pending += 1;
        PendingInsert { all: self.clone(), client_id: client_id.to_owned(), ahead }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingInsert {
    fn drop(&mut self) {
        let mut clients = self.all.clients();
        if let Some(pending) = clients.get_mut(&self.client_id) {
            *pending -= 1;
            if *pending == 0 {
                clients.remove(&self.client_id);
            }
        }
    }
}

/// Binds a sealed picture to its transaction and its side.
pub(super) fn payload_label(transaction_id: &str, side: &str) -> String {
    format!("job-payload/{transaction_id}/{side}")
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, QueueError> {
    serde_json::to_string(value).map_err(|e| QueueError::Inconsistent(e.to_string()))
}

pub(super) fn own_id(text: &str) -> Result<TransactionId, QueueError> {
    TransactionId::parse(text).ok_or_else(|| QueueError::Inconsistent("transaction_id".to_owned()))
}

pub(super) fn transaction_state(
    state: i64,
    outcome: Option<String>,
) -> Result<TransactionState, QueueError> {
    match (state, outcome) {
        (0 | 1, _) => Ok(TransactionState::Processing),
        (2, Some(text)) => {
            let outcome = serde_json::from_str(&text);
            outcome.map(TransactionState::Done).map_err(|e| QueueError::Inconsistent(e.to_string()))
        }
        (3, _) => Ok(TransactionState::Dead),
        other => Err(QueueError::Inconsistent(format!("state {}", other.0))),
    }
}

pub(super) fn lease(row: &Claimed) -> Result<Lease, QueueError> {
    let wrong = |e: serde_json::Error| QueueError::Inconsistent(format!("options: {e}"));
    let job = Job {
        id: row.id,
        transaction_id: own_id(&row.transaction_id)?,
        client_id: row.client_id.clone(),
        client_name: row.client_name.clone(),
        options: serde_json::from_str(&row.options).map_err(wrong)?,
        attempt: u32::try_from(row.attempt).unwrap_or(u32::MAX),
        created_at: row.created_at,
    };
    Ok(Lease { job, token: row.token })
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_a_client_that_are_inserted_at_once_get_positions_one_behind_the_other() {
        let all = PendingInserts::default();
        let (first, second, of_another) = (all.begin("a"), all.begin("a"), all.begin("b"));
        assert_eq!((first.ahead, second.ahead, of_another.ahead), (0, 1, 0));
        drop(first);
        assert_eq!(all.begin("a").ahead, 1);
        drop((second, of_another));
        assert!(all.clients().is_empty());
    }
}

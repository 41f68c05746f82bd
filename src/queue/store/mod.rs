//! Where jobs live. One enum over the databases, with what is the same for all of them: sealing the
//! pictures before they reach SQL, and serialising outcomes.
//!
//! An enum and not a trait: the set of databases is closed, and neither callers nor futures need to be
//! generic.

mod postgres;
mod sqlite;

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{
    error::QueueError,
    job::{Accepted, ClientDepth, Depth, Job, JobId, Lease, NewJob, Transaction, TransactionState},
};
use crate::{
    clock::Clock,
    compare::{BizId, Outcome, PictureData, Request, TransactionId},
    db::{Db, PostgresDb, SqliteDb},
    sealing::MasterKey,
};

/// The job table of one database; clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    db: Db,
    key: MasterKey,
    clock: Clock,
}

/// A row to be inserted, ready for SQL.
struct Row<'a> {
    transaction_id: &'a str,
    client_id: &'a str,
    biz_id: &'a str,
    dedupe: Option<&'a [u8]>,
    bytes: i64,
    options: String,
    clock: &'a Clock,
}

/// The job row of a claim as the database returns it.
struct Claimed {
    id: JobId,
    transaction_id: String,
    options: String,
    token: i64,
    attempt: i64,
    turn: i64,
    created_at: crate::clock::UnixMillis,
}

/// Runs the statement of that name in the module of the backend at hand.
macro_rules! on {
    ($store:expr, $function:ident ( $($argument:expr),* )) => {
        match &$store.db {
            Db::Sqlite(db) => sqlite::$function(db, $($argument),*).await,
            Db::Postgres(db) => {
                let call = || postgres::$function(&db.pool, $($argument),*);
                db.retrying(call).await.map_err(QueueError::from)
            }
        }
    };
}

impl Store {
    /// The job table of a database.
    pub fn new(db: Db, key: MasterKey, clock: Clock) -> Self {
        Self { db, key, clock }
    }

    /// The job table of an embedded database.
    pub fn sqlite(db: SqliteDb, key: MasterKey, clock: Clock) -> Self {
        Self::new(db.into(), key, clock)
    }

    /// The job table of a Postgres. Leases end by its clock, not by `clock`, unless `clock` was set.
    pub fn postgres(db: PostgresDb, key: MasterKey, clock: Clock) -> Self {
        Self::new(db.into(), key, clock)
    }

    /// Stores a job with its pictures. When this returns the job is on the disk; only then may it be
    /// acknowledged.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Seal`]; then nothing is stored.
    pub async fn enqueue(&self, new: &NewJob<'_>) -> Result<Accepted, QueueError> {
        let label = |side| payload_label(new.transaction_id.as_str(), side);
        let probe = self.key.seal(&label("probe"), new.request.probe.as_bytes())?;
        let reference = self.key.seal(&label("reference"), new.request.reference.as_bytes())?;
        let row = self.row(new)?;
        accepted(new, on!(self, enqueue(&row, &probe, &reference))?)
    }

    /// Stores a transaction that is finished already, so that it can be asked for later. No picture
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
        let row = self.row(new)?;
        accepted(new, on!(self, record(&row, &outcome))?)
    }

    /// The transaction that the same signed request was stored as.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn find_duplicate(
        &self,
        dedupe: &[u8; 32],
    ) -> Result<Option<TransactionId>, QueueError> {
        on!(self, find_duplicate(dedupe))?.as_deref().map(own_id).transpose()
    }

    /// Takes up to `limit` due jobs for `length`: those of one client as they came, the clients in turn. Jobs
    /// of dead workers come back here when their lease is over.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn claim(
        &self,
        limit: u32,
        owner: &str,
        length: Duration,
    ) -> Result<Vec<Lease>, QueueError> {
        let asked = Instant::now();
        let claimed = on!(self, claim(limit, owner, &self.clock, millis(length)))?;
        let mut leases = Vec::with_capacity(claimed.len());
        for row in claimed {
            match lease(&row, asked, length) {
                Ok(lease) => leases.push(lease),
                // A row that nobody can read would otherwise take its neighbours along for ever.
                Err(error) => {
                    tracing::error!(job = row.id, %error, "job given up");
                    self.bury(row.id, row.token).await?;
                }
            }
        }
        Ok(leases)
    }

    /// The pictures of a claimed job; `None` when the lease was lost and the job has ended.
    ///
    /// # Errors
    /// [`QueueError::Database`], or [`QueueError::Seal`] when the master key is another one.
    pub async fn payload(&self, lease: &Lease) -> Result<Option<Request>, QueueError> {
        let job = &lease.job;
        let Some((biz_id, probe, reference)) = on!(self, payload(job.id))? else { return Ok(None) };
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
        on!(self, renew(held, &self.clock, millis(length)))
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
        exactly_one(on!(self, complete(id, token, &outcome, &self.clock))?)
    }

    /// Puts a job back, to be claimed again after `delay`.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn retry(&self, id: JobId, token: i64, delay: Duration) -> Result<(), QueueError> {
        exactly_one(on!(self, put_back(id, token, &self.clock, millis(delay), 0))?)
    }

    /// Puts back a job that was not worked on; the attempt does not count.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn hand_back(&self, id: JobId, token: i64) -> Result<(), QueueError> {
        exactly_one(on!(self, put_back(id, token, &self.clock, 0, 1))?)
    }

    /// Gives a job up and deletes its pictures.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn bury(&self, id: JobId, token: i64) -> Result<(), QueueError> {
        exactly_one(on!(self, bury(id, token, &self.clock))?)
    }

    /// A transaction of this client; another client's is as good as absent.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn transaction(
        &self,
        client_id: &str,
        id: &TransactionId,
    ) -> Result<Option<Transaction>, QueueError> {
        let Some((state, outcome)) = on!(self, transaction(client_id, id.as_str()))? else {
            return Ok(None);
        };
        let state = transaction_state(state, outcome)?;
        Ok(Some(Transaction { transaction_id: id.clone(), state }))
    }

    /// Those of the given transactions that have ended, with their ends. For callers who know whose they
    /// are.
    ///
    /// # Errors
    /// [`QueueError::Database`] or [`QueueError::Inconsistent`].
    pub async fn ended(
        &self,
        ids: &[TransactionId],
    ) -> Result<Vec<(TransactionId, TransactionState)>, QueueError> {
        let ids: Vec<_> = ids.iter().map(TransactionId::as_str).collect();
        let ended = on!(self, ended(&ids))?;
        let read = |(id, state, outcome): (String, i64, Option<String>)| {
            Ok((own_id(&id)?, transaction_state(state, outcome)?))
        };
        ended.into_iter().map(read).collect()
    }

    /// Makes jobs that were running claimable at once. Only for a database that belongs to this process
    /// alone, before it claims anything: whoever ran them is dead.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn recover(&self) -> Result<u64, QueueError> {
        on!(self, recover(&self.clock))
    }

    /// Deletes up to `limit` transactions that ended more than `age` ago.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn purge(&self, age: Duration, limit: u32) -> Result<u64, QueueError> {
        on!(self, purge(&self.clock, millis(age), limit))
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
            Db::Postgres(db) => Ok(db.retrying(|| postgres::tidy(&db.pool)).await?),
        }
    }

    /// How full the queue is.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(self.depth_by_client().await?.iter().map(|client| client.depth).sum())
    }

    /// The same for each client that has jobs in it.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn depth_by_client(&self) -> Result<Vec<ClientDepth>, QueueError> {
        on!(self, depth())
    }

    /// How many pictures are in the database; 0 when every job has ended.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn payload_rows(&self) -> Result<u64, QueueError> {
        on!(self, payload_rows())
    }

    fn row<'a>(&'a self, new: &'a NewJob<'_>) -> Result<Row<'a>, QueueError> {
        Ok(Row {
            transaction_id: new.transaction_id.as_str(),
            client_id: new.client_id,
            biz_id: new.request.biz_id.as_str(),
            dedupe: new.dedupe.as_ref().map(<[u8; 32]>::as_slice),
            bytes: i64::try_from(new.request.bytes()).unwrap_or(i64::MAX),
            options: to_json(&new.request.options)?,
            clock: &self.clock,
        })
    }
}

/// Binds a sealed picture to its transaction and its side.
fn payload_label(transaction_id: &str, side: &str) -> String {
    format!("job-payload/{transaction_id}/{side}")
}

fn to_json(value: &impl serde::Serialize) -> Result<String, QueueError> {
    serde_json::to_string(value).map_err(|e| QueueError::Inconsistent(e.to_string()))
}

fn own_id(text: &str) -> Result<TransactionId, QueueError> {
    TransactionId::parse(text).ok_or_else(|| QueueError::Inconsistent("transaction_id".to_owned()))
}

fn transaction_state(state: i64, outcome: Option<String>) -> Result<TransactionState, QueueError> {
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

/// `existing` is the id under which the same signed request was stored before.
fn accepted(new: &NewJob<'_>, existing: Option<String>) -> Result<Accepted, QueueError> {
    Ok(match existing {
        None => Accepted::New(new.transaction_id.clone()),
        Some(id) => Accepted::Duplicate(own_id(&id)?),
    })
}

fn lease(row: &Claimed, asked: Instant, length: Duration) -> Result<Lease, QueueError> {
    let wrong = |e: serde_json::Error| QueueError::Inconsistent(format!("options: {e}"));
    let job = Job {
        id: row.id,
        transaction_id: own_id(&row.transaction_id)?,
        options: serde_json::from_str(&row.options).map_err(wrong)?,
        attempt: u32::try_from(row.attempt).unwrap_or(u32::MAX),
        created_at: row.created_at,
    };
    Ok(Lease::new(job, row.token, asked, length))
}

/// From a row of client, jobs, bytes and age.
fn client_depth((client_id, jobs, bytes, oldest): (String, i64, i64, Option<i64>)) -> ClientDepth {
    let depth = Depth { jobs: jobs.unsigned_abs(), bytes: bytes.unsigned_abs(), oldest };
    ClientDepth { client_id, depth }
}

fn exactly_one(rows: u64) -> Result<(), QueueError> {
    if rows == 1 { Ok(()) } else { Err(QueueError::LeaseLost) }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

//! Where jobs live. One enum over the databases, with what is the same for all of them: sealing the
//! pictures before they reach SQL, and serialising outcomes.
//!
//! An enum and not a trait: the set of databases is closed, and neither callers nor futures need to be
//! generic.

#[macro_use]
mod statements;

mod care;
mod history;
mod kept;
mod lease_clock;
mod postgres;
mod rows;
mod sqlite;

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tracing::Instrument as _;
use zeroize::Zeroizing;

pub use self::{care::Erasure, history::History, kept::Kept};
use self::{
    lease_clock::LeaseClock,
    rows::{
        Row, Storing, accepted, exactly_one, lease, millis, own_id, payload_label, to_json,
        transaction_state,
    },
    statements::{DEAD, DONE, QUEUED},
};
use super::{
    error::QueueError,
    job::{Accepted, ClientDepth, Depth, Job, JobId, Lease, NewJob, Transaction, TransactionState},
};
use crate::{
    clock::{Clock, UnixMillis},
    compare::{BizId, Outcome, PictureData, Request, TransactionId},
    db::{Db, PostgresDb, SqliteDb, statement_span},
    sealing::MasterKey,
};

/// The job table of one database; clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    db: Db,
    key: MasterKey,
    clock: Clock,
    lease_clock: LeaseClock,
    storing: Storing,
    kept: Option<Kept>,
}

impl Store {
    /// The job table of a database.
    pub fn new(db: Db, key: MasterKey, clock: Clock) -> Self {
        Self {
            db,
            key,
            clock,
            lease_clock: LeaseClock::default(),
            storing: Storing::default(),
            kept: None,
        }
    }

    /// The job table of an embedded database.
    pub fn sqlite(db: SqliteDb, key: MasterKey, clock: Clock) -> Self {
        Self::new(db.into(), key, clock)
    }

    /// The job table of a Postgres. Leases end by its clock, not by `clock`, unless `clock` was set.
    pub fn postgres(db: PostgresDb, key: MasterKey, clock: Clock) -> Self {
        Self::new(db.into(), key, clock)
    }

    /// The same, with the pictures that are stored kept until their jobs are claimed here: they need not be read back
    /// then. For processes that store jobs and work on them.
    #[must_use]
    pub fn keeping(mut self, kept: Kept) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Drops pictures that were kept for too long; to be called now and then.
    pub fn forget_kept(&self) {
        if let Some(kept) = &self.kept {
            kept.forget(Instant::now());
        }
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
        let place = self.storing.begin(new.client_id);
        let row = self.row(new, place.before)?;
        // Before anybody can claim it.
        let keeping = self.kept.as_ref().map(|kept| kept.keep(&new.transaction_id, new.request));
        let accepted = accepted(new, insert!(self, enqueue(&row, &probe, &reference))?)?;
        if let (Some(keeping), Accepted::New(_)) = (keeping, &accepted) {
            keeping.stays();
        }
        Ok(accepted)
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
        let row = self.row(new, 0)?;
        accepted(new, insert!(self, record(&row, &outcome))?)
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
        self.lease_clock.has_lease(millis(length));
        let latest = self.lease_clock.latest(&self.clock);
        let claimed = on!(self, claim(limit, owner, &self.clock, millis(length), latest))?;
        let mut leases = Vec::with_capacity(claimed.len());
        for row in claimed {
            match lease(&row, asked, length) {
                Ok(lease) => leases.push(lease),
                // A row that nobody can read would otherwise take its neighbours along for ever.
                Err(error) => {
                    tracing::error!(job = row.id, %error, "job given up");
                    if let Err(error) = self.bury(row.id, row.token).await {
                        tracing::warn!(job = row.id, %error, "it comes again when its lease is over");
                    }
                }
            }
        }
        Ok(leases)
    }

    /// The pictures of a claimed job; `None` when the lease was lost and the job has ended, unless they were kept: then
    /// that shows when the outcome is written.
    ///
    /// # Errors
    /// [`QueueError::Database`], or [`QueueError::Seal`] when the master key is another one.
    pub async fn payload(&self, lease: &Lease) -> Result<Option<Request>, QueueError> {
        let job = &lease.job;
        if let Some(request) = self.kept.as_ref().and_then(|kept| kept.take(&job.transaction_id)) {
            return Ok(Some(Request { options: job.options, ..request }));
        }
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
        end!(self, DONE, complete(id, token, &outcome, &self.clock))
    }

    /// Puts a job back, to be claimed again after `delay`.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn retry(&self, id: JobId, token: i64, delay: Duration) -> Result<(), QueueError> {
        end!(self, QUEUED, put_back(id, token, &self.clock, millis(delay), 0))
    }

    /// Puts back a job that was not worked on, to be claimed again after `delay`; the attempt does not count.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn postpone(&self, id: JobId, token: i64, delay: Duration) -> Result<(), QueueError> {
        end!(self, QUEUED, put_back(id, token, &self.clock, millis(delay), 1))
    }

    /// Gives a job up and deletes its pictures.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when the token is not the latest.
    pub async fn bury(&self, id: JobId, token: i64) -> Result<(), QueueError> {
        end!(self, DEAD, bury(id, token, &self.clock))
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
    /// [`QueueError::Database`].
    pub async fn ended(
        &self,
        ids: &[TransactionId],
    ) -> Result<Vec<(TransactionId, TransactionState)>, QueueError> {
        let ids: Vec<_> = ids.iter().map(TransactionId::as_str).collect();
        let ended = on!(self, ended(&ids))?;
        let read = |(id, state, outcome): (String, i64, Option<String>)| {
            Ok::<_, QueueError>((own_id(&id)?, transaction_state(state, outcome)?))
        };
        let read = ended.into_iter().map(read);
        // One that cannot be read must not keep the others waiting.
        Ok(read
            .filter_map(|row| {
                row.inspect_err(|e| tracing::error!(%e, "an outcome is unreadable")).ok()
            })
            .collect())
    }

    /// Whether the database answers. Cheap.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn ping(&self) -> Result<(), QueueError> {
        on!(self, ping())
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

    /// Connections to the database: used and idle.
    pub fn connections(&self) -> (u32, u32) {
        self.db.connections()
    }

    /// How long ago something happened, by the clock of this process.
    pub fn since(&self, then: UnixMillis) -> Duration {
        let age = self.clock.now().saturating_sub(then);
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }

    /// How long ago a job was accepted.
    pub fn age(&self, job: &Job) -> Duration {
        self.since(job.created_at)
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

    fn row<'a>(&'a self, new: &'a NewJob<'_>, before: i64) -> Result<Row<'a>, QueueError> {
        Ok(Row {
            transaction_id: new.transaction_id.as_str(),
            client_id: new.client_id,
            biz_id: new.request.biz_id.as_str(),
            dedupe: new.dedupe.as_ref().map(<[u8; 32]>::as_slice),
            bytes: i64::try_from(new.request.bytes()).unwrap_or(i64::MAX),
            options: to_json(&new.request.options)?,
            before,
            clock: &self.clock,
        })
    }
}

//! Jobs, leases and transactions as values.

use crate::{
    clock::UnixMillis,
    compare::{Outcome, Request, RequestOptions, TransactionId},
};

/// Number of a job in its store.
pub type JobId = i64;

/// A transaction to be stored.
#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    /// Its id, which the client gets.
    pub transaction_id: TransactionId,
    /// Its client.
    pub client_id: &'a str,
    /// Digest of client and request signature; `None` turns deduplication off.
    pub dedupe: Option<[u8; 32]>,
    /// What is to be compared.
    pub request: &'a Request,
}

/// The result of storing a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored under its own id.
    New(TransactionId),
    /// The same signed request was stored before, under this id.
    Duplicate(TransactionId),
}

impl Accepted {
    /// The id to respond with.
    pub fn transaction_id(&self) -> &TransactionId {
        match self {
            Self::New(id) | Self::Duplicate(id) => id,
        }
    }
}

/// A claimed job, without its pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number in the store.
    pub id: JobId,
    /// Its id, which the client has.
    pub transaction_id: TransactionId,
    /// The Client-Id of its client.
    pub(crate) client_id: String,
    /// The name of that client; `None` if it was deleted.
    pub(crate) client_name: Option<String>,
    /// The options of the request.
    pub options: RequestOptions,
    /// Which claim this is, from 1.
    pub attempt: u32,
    /// When it was accepted.
    pub created_at: UnixMillis,
}

/// A time-limited right to finish a job.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// Proves that this claim is the latest.
    pub token: i64,
}

/// The state of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum TransactionState {
    /// Queued or running.
    Processing,
    /// Finished with an outcome.
    Done(Box<Outcome>),
    /// Given up.
    Dead,
}

/// A transaction as its client may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// Its id.
    pub transaction_id: TransactionId,
    /// Its state.
    pub state: TransactionState,
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Jobs queued or running.
    pub jobs: u64,
    /// Bytes of their pictures.
    pub bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<UnixMillis>,
}

impl std::iter::Sum for Depth {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |all, part| Self {
            jobs: all.jobs + part.jobs,
            bytes: all.bytes + part.bytes,
            oldest: all.oldest.into_iter().chain(part.oldest).min(),
        })
    }
}

/// How many jobs in the queue belong to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDepth {
    /// The client.
    pub client_id: String,
    /// Its jobs.
    pub depth: Depth,
}

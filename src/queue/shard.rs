//! The databases of an installation side by side. One of them has a client and its jobs; its number
//! is in every transaction id, so that an outcome is looked up in the right database.

use std::sync::Arc;

use super::{admission::QueueAdmission, store::Store, waiting::WaitingRoom, wake::Wake};

/// One database of jobs and its state in this process; clones share it.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its number in transaction ids.
    pub number: u32,
    /// Its jobs.
    pub store: Store,
    /// Whether another job fits.
    pub admission: QueueAdmission,
    /// Notifies its workers.
    pub wake: Wake,
    /// Callers that wait for outcomes.
    pub waiting: WaitingRoom,
}

/// The databases that this process serves.
#[derive(Debug, Clone)]
pub struct Shards {
    served: Arc<[Shard]>,
    configured: u32,
}

/// The database with a number.
#[derive(Debug)]
pub enum ShardLookup<'a> {
    /// Served by this process.
    Here(&'a Shard),
    /// Served by other processes.
    Elsewhere,
    /// No database has this number.
    Unknown,
}

impl Shard {
    /// The database with this number.
    pub fn new(number: u32, store: Store) -> Self {
        let admission = QueueAdmission::default();
        let (wake, waiting) = (Wake::default(), WaitingRoom::default());
        Self { number, store, admission, wake, waiting }
    }
}

impl Shards {
    /// Those of `configured` databases that this process serves; at least one.
    pub fn new(served: Vec<Shard>, configured: u32) -> Self {
        Self { served: served.into(), configured }
    }

    /// The database with this number.
    pub fn find(&self, number: u32) -> ShardLookup<'_> {
        match self.served.iter().find(|shard| shard.number == number) {
            Some(shard) => ShardLookup::Here(shard),
            None if number < self.configured => ShardLookup::Elsewhere,
            None => ShardLookup::Unknown,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.served.iter()
    }
}

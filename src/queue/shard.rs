//! The databases of an installation side by side. A client lives in one of them and so do its jobs; the
//! number of it stands in every transaction id, so that an outcome is looked for in the right one.

use std::sync::Arc;

use super::{gauge::Gauge, store::Store, waiting::WaitingRoom, wake::Wake};

/// One database of jobs, and what this process knows of it; clones share it.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its number in transaction ids.
    pub number: u32,
    /// Its jobs.
    pub store: Store,
    /// How full it is.
    pub gauge: Gauge,
    /// Wakes whoever works on it.
    pub wake: Wake,
    /// Callers that wait for an outcome.
    pub waiting: WaitingRoom,
}

/// The databases that this process serves.
#[derive(Debug, Clone)]
pub struct Shards {
    served: Arc<[Shard]>,
    configured: u32,
}

/// Where a number leads.
#[derive(Debug)]
pub enum Found<'a> {
    /// To this database.
    Here(&'a Shard),
    /// To one that other processes serve.
    Elsewhere,
    /// Nowhere.
    Nowhere,
}

impl Shard {
    /// The database with this number.
    pub fn new(number: u32, store: Store) -> Self {
        let (gauge, wake, waiting) = (Gauge::default(), Wake::default(), WaitingRoom::default());
        Self { number, store, gauge, wake, waiting }
    }
}

impl Shards {
    /// Those of `configured` databases that this process serves; at least one.
    pub fn new(served: Vec<Shard>, configured: u32) -> Self {
        Self { served: served.into(), configured }
    }

    /// The database with this number.
    pub fn find(&self, number: u32) -> Found<'_> {
        match self.served.iter().find(|shard| shard.number == number) {
            Some(shard) => Found::Here(shard),
            None if number < self.configured => Found::Elsewhere,
            None => Found::Nowhere,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.served.iter()
    }
}

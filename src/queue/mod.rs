//! The job table and nothing else: it knows no nets and no HTTP.
//!
//! ```text
//!            claim (token + 1, attempt + 1)
//!   queued ───────────────────────────────▶ running ──complete──▶ done
//!     ▲                                     │  │  │
//!     ├──────────── retry, hand back ───────┘  │  └─────bury────▶ dead
//!     └ · · · · lease over: claimable again · ─┘
//! ```
//!
//! One condition, `due_at <= now`, covers new jobs, retries and expired leases alike, so there is
//! no rescuer to get wrong. A worker may write to a job only with the token of its own claim: one
//! that was stopped for too long finds its token outdated and its result dropped. Execution is at
//! least once, the guarded write makes it effectively once. The pictures go in the statement that
//! ends the job.

mod admission;
mod error;
mod job;
mod outcome_poller;
mod retry;
mod shard;
pub mod store;
mod wake;

pub use admission::{QueueAdmission, QueueLimits};
pub use error::QueueError;
pub use job::{
    Accepted, ClientDepth, Depth, Job, JobId, Lease, NewJob, Transaction, TransactionState,
};
pub use outcome_poller::OutcomePoller;
pub use retry::RetryPolicy;
pub use shard::{Shard, ShardLookup, Shards};
pub(crate) use store::LISTED_AT_ONCE;
pub use store::{Erasure, History, PayloadCache, Store};
pub use wake::Wake;

//! Where the queue meets the model: compute threads, the loop that feeds them, and housekeeping.
//!
//! ```text
//! LocalComparer ──slot──▶ ComputePool: N threads, each with an engine of its own
//! Runner: slot ─ claim ─▶      │
//!   ▲ woken by enqueue,        ▼
//!   └ or a jittered poll   outcome ─ complete (guarded by the fencing token)
//! ```
//!
//! A slot is taken *before* a job is claimed, so a claimed job starts at once and none waits in
//! this process while another one is idle. A job that is tried again runs alone in its process.

mod compare_job;
mod config;
mod local;
mod maintenance;
mod outcome_metrics;
mod pool;
mod runner;
mod watchdog;

pub use config::RunnerConfig;
pub use local::{CompareFailure, LocalComparer};
pub use maintenance::{Maintenance, MaintenanceConfig};
pub use pool::{ComputePool, EngineFactory, PoolFailure};
pub use runner::Runner;
pub use watchdog::watch;

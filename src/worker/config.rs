//! The times of a worker.

use std::time::Duration;

use crate::queue::RetryPolicy;

/// Times of the loop.
#[derive(Debug, Clone, Copy)]
pub struct RunnerConfig {
    /// How long a claim is valid without a heartbeat.
    pub lease: Duration,
    /// How long one job may take; less than the lease.
    pub job_deadline: Duration,
    /// How long to wait for a wake-up before looking anyway.
    pub poll: Duration,
    /// How long running jobs may take when the process is to stop.
    pub drain: Duration,
    /// What happens to failed jobs.
    pub retry: RetryPolicy,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            job_deadline: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(25),
            retry: RetryPolicy::default(),
        }
    }
}

//! When a failed job is tried again.

use std::time::Duration;

/// How often, and how long to wait before each further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Claims of a job before it is given up.
    pub max_attempts: u32,
    /// Wait after the first failed attempt; five times as long after each further one.
    pub first_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 3, first_delay: Duration::from_secs(1) }
    }
}

impl RetryPolicy {
    /// The wait after failed attempt number `attempt` (from 1), stretched by `jitter` (0 to 1) of
    /// itself so that jobs that failed together do not come back together; `None` to give up.
    pub(crate) fn delay(&self, attempt: u32, jitter: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let base = self.first_delay * 5_u32.saturating_pow(attempt.saturating_sub(1).min(6));
        Some(base.mul_f64(1.0 + jitter.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_tried_three_times_with_growing_waits() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(1, 0.0), Some(Duration::from_secs(1)));
        assert_eq!(policy.delay(2, 0.0), Some(Duration::from_secs(5)));
        assert_eq!(policy.delay(2, 1.0), Some(Duration::from_secs(10)));
        assert_eq!(policy.delay(3, 0.0), None);
        assert_eq!(policy.delay(4, 0.0), None);
    }
}

//! A thread that hangs in a comparison cannot be stopped, and a device that has failed cannot be
//! repaired from inside: only a new process can.

use std::time::Duration;

use super::pool::ComputePool;
use crate::{shutdown::Shutdown, supervisor::TaskHealth};

/// How often to look; a part of the limit where that is short.
const EVERY: Duration = Duration::from_secs(1);

/// Ends the process when a thread has been at one comparison for longer than `limit`, or when
/// `broken` says that the device has failed. Returns when the process is to stop.
pub async fn watch(
    pool: ComputePool,
    limit: Duration,
    broken: impl Fn() -> bool,
    health: TaskHealth,
    mut shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY.min(limit / 4)) => {}
            () = shutdown.requested() => return,
        }
        if broken() {
            health.fail("the compute device has failed");
        }
        let slowest = pool.slowest();
        if slowest > limit {
            health.fail(format!("a compute thread has hung for {} ms", slowest.as_millis()));
        }
    }
}

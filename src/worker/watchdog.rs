//! A thread that does not come back from a comparison cannot be stopped, and a device that runs nothing any more is
//! not mended from inside: the process has to go.

use std::time::Duration;

use super::pool::ComputePool;
use crate::shutdown::Shutdown;

/// How often to look; a part of the limit where that is short.
const EVERY: Duration = Duration::from_secs(1);

/// Returns when a thread has been at one comparison for longer than `limit`, or when `broken` says that no comparison
/// can be made any more: true. Or when the process is to stop anyway: false.
pub async fn watch(
    pool: ComputePool,
    limit: Duration,
    broken: impl Fn() -> bool,
    mut shutdown: Shutdown,
) -> bool {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY.min(limit / 4)) => {}
            () = shutdown.wished() => return false,
        }
        if broken() {
            tracing::error!(
                "nothing can be compared any more; the process has to be started again"
            );
            return true;
        }
        let slowest = pool.slowest();
        if slowest > limit {
            tracing::error!(
                ?slowest,
                "a compute thread does not come back; the process has to be started again"
            );
            return true;
        }
    }
}

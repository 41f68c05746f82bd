//! Windows of time in which something is counted.

use std::time::Duration;

use crate::clock::UnixMillis;

/// Most limits are per minute.
pub(super) const MINUTE: Duration = Duration::from_mins(1);

/// How much is left of the window that began then; `None` when `now` is not in it, also because the
/// clock was set back.
pub(super) fn left(began: UnixMillis, length: Duration, now: UnixMillis) -> Option<Duration> {
    let passed = u64::try_from(now.saturating_sub(began)).ok()?;
    length.checked_sub(Duration::from_millis(passed)).filter(|left| !left.is_zero())
}

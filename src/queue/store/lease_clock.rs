//! The time by which leases and pauses end: the clock of the database, without the steps that
//! an operator sets it to.
//!
//! A lease is a date in the database, so that every process sees it end. If that clock is set
//! forward, every lease seems to be over, and jobs would run twice. So a process trusts a step
//! forward only after every live owner has had the time to renew its leases by the new date. If the
//! clock is set back, no lease ends early; those that begin in the future are dated again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, UnixMillis};

/// A reading that took longer says too little.
const SLOW_MS: i64 = 1_000;
/// A smaller difference is a correction, or the time that a reading took.
const STEP_MS: i64 = 2_000;

/// The time of one database; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LeaseClock(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    trusted: Option<Reading>,
    /// When a step forward was first seen, on the steady clock.
    ahead_since: Option<i64>,
    /// The longest lease that was seen, milliseconds.
    longest_lease: i64,
}

/// What the database's clock showed, and the steady clock of this process at the same moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    date: UnixMillis,
    steady: i64,
}

impl Reading {
    fn date_at(self, steady: i64) -> UnixMillis {
        self.date.saturating_add(steady.saturating_sub(self.steady))
    }
}

impl LeaseClock {
    /// The latest that it can be, if the clock was not set since it was read. `None` before it was
    /// read.
    pub(super) fn latest(&self, clock: &Clock) -> Option<UnixMillis> {
        self.known().trusted.map(|trusted| trusted.date_at(clock.steady()))
    }

    /// Remembers how long leases are.
    pub(super) fn has_lease(&self, millis: i64) {
        let mut known = self.known();
        known.longest_lease = known.longest_lease.max(millis);
    }

    /// The database's clock showed `date` at some moment from `asked` until now, both on the steady
    /// clock. Returns by how much it was set forward or back since, milliseconds, when that is
    /// first seen.
    pub(super) fn read(&self, date: UnixMillis, asked: i64, clock: &Clock) -> Option<i64> {
        let now = clock.steady();
        if now - asked > SLOW_MS {
            return None;
        }
        let mut known = self.known();
        let reading = Reading { date, steady: now };
        let Some(trusted) = known.trusted else {
            known.trusted = Some(reading);
            return None;
        };
        let step = date - trusted.date_at(now);
        if step <= STEP_MS {
            known.trusted = Some(reading);
            known.ahead_since = None;
            return (step < -STEP_MS).then_some(step);
        }
        match known.ahead_since {
            None => {
                known.ahead_since = Some(now);
                Some(step)
            }
            Some(since) if now - since >= known.longest_lease => {
                known.trusted = Some(reading);
                known.ahead_since = None;
                None
            }
            Some(_) => None,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;

    const NOON: i64 = 1_767_225_600_000;
    const HOUR: i64 = 3_600_000;
    const LEASE: i64 = 30_000;

    /// A reading with an immediate response.
    fn read(time: &LeaseClock, clock: &Clock) -> Option<i64> {
        time.read(clock.now(), clock.steady(), clock)
    }

    /// A clock that was read once.
    fn trusted() -> (Clock, MockClock, LeaseClock) {
        let (clock, hands) = Clock::mock(NOON);
        let time = LeaseClock::default();
        read(&time, &clock);
        (clock, hands, time)
    }

    #[test]
    fn a_clock_that_nobody_sets_is_trusted_from_reading_to_reading() {
        let (clock, hands) = Clock::mock(NOON);
        let time = LeaseClock::default();
        assert_eq!(time.latest(&clock), None);
        for _ in 0..3 {
            assert_eq!(read(&time, &clock), None);
            hands.advance(LEASE);
            assert_eq!(time.latest(&clock), Some(clock.now()));
        }
    }

    #[test]
    fn a_step_forward_is_reported_once_and_trusted_after_the_longest_lease() {
        let (clock, hands, time) = trusted();
        time.has_lease(LEASE);
        hands.step(HOUR);
        assert_eq!(read(&time, &clock), Some(HOUR));
        hands.advance(LEASE - 1);
        assert_eq!(read(&time, &clock), None);
        assert_eq!(time.latest(&clock), Some(clock.now() - HOUR));
        hands.advance(1);
        assert_eq!(read(&time, &clock), None);
        assert_eq!(time.latest(&clock), Some(clock.now()));
    }

    #[test]
    fn a_step_back_is_reported_and_trusted_at_once() {
        let (clock, hands, time) = trusted();
        hands.step(-HOUR);
        assert_eq!(read(&time, &clock), Some(-HOUR));
        assert_eq!(time.latest(&clock), Some(clock.now()));
    }

    #[test]
    fn a_slow_answer_is_no_step() {
        let (clock, hands, time) = trusted();
        for answered_after in [0, 5_000] {
            let asked = clock.steady();
            let date = clock.now() + answered_after;
            hands.advance(5_000);
            assert_eq!(time.read(date, asked, &clock), None);
            assert_eq!(time.latest(&clock), Some(clock.now()));
        }
    }
}

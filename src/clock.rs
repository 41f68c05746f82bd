//! The wall clock, injected as a value.
//!
//! Nothing else in the crate may ask the operating system for the date (`clippy.toml` bans it), so
//! leases, retention and freshness are tested by moving a [`Clock::mock`] instead of sleeping.
//! Time-outs inside one process use `std::time::Instant` and do not come here.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use time::OffsetDateTime;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMillis = i64;

/// The source of the date: the machine, or a test.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The operating system's clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Mock(MockClock),
}

/// Sets a [`Clock::Mock`]; clones share it.
#[derive(Debug, Clone)]
pub struct MockClock {
    date: Arc<AtomicI64>,
    steady: Arc<AtomicI64>,
}

impl MockClock {
    /// Time passes: `millis`, which may be negative.
    pub fn advance(&self, millis: i64) {
        self.steady.fetch_add(millis, Ordering::SeqCst);
        self.step(millis);
    }

    /// Sets the date; no time passes.
    pub fn step(&self, millis: i64) {
        self.date.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock {
    /// A clock that shows `now` until it is moved, with the handle that moves it.
    pub fn mock(now: UnixMillis) -> (Self, MockClock) {
        let hands = MockClock { date: Arc::new(AtomicI64::new(now)), steady: Arc::default() };
        (Self::Mock(hands.clone()), hands)
    }

    /// The present, in milliseconds since the Unix epoch.
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => system_now(),
            Self::Mock(hands) => hands.date.load(Ordering::SeqCst),
        }
    }

    /// The day, UTC, counted from 1970-01-01.
    pub(crate) fn day(&self) -> i64 {
        self.now().div_euclid(24 * 60 * 60 * 1_000)
    }

    /// Milliseconds since some moment of this process, on a clock that cannot be set.
    pub(crate) fn steady(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::System => i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX),
            Self::Mock(hands) => hands.steady.load(Ordering::SeqCst),
        }
    }

    /// The time that a test has set; `None` on the system clock. A database uses its own clock
    /// unless a test has set this one.
    pub(crate) fn set_time(&self) -> Option<UnixMillis> {
        match self {
            Self::System => None,
            Self::Mock(_) => Some(self.now()),
        }
    }

    /// The present as a date in UTC.
    pub fn now_utc(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.now()) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_now() -> UnixMillis {
    let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mock_clock_stands_still_until_it_is_moved() {
        let (clock, hands) = Clock::mock(1_000);
        assert_eq!(clock.now(), 1_000);
        hands.advance(500);
        assert_eq!(clock.now(), 1_500);
        assert_eq!(clock.now_utc().unix_timestamp(), 1);
    }

    #[test]
    fn setting_the_date_moves_the_date_alone() {
        let (clock, hands) = Clock::mock(1_000);
        hands.advance(500);
        hands.step(-1_000);
        assert_eq!((clock.now(), clock.steady()), (500, 500));
    }
}

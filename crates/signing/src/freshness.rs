//! Request-Time: read leniently, compared with the clock; and Response-Time, written strictly.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::error::SigningError;

/// How far Request-Time may be from the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    window_ms: i64,
}

impl Freshness {
    /// A window of ± `seconds`; 0 accepts every time.
    pub fn seconds(seconds: u32) -> Self {
        Self { window_ms: i64::from(seconds) * 1_000 }
    }

    /// Checks the literal text of Request-Time against `now`, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`SigningError::Time`] when it is not a time, [`SigningError::Stale`] when it is too far
    /// away.
    pub fn check(&self, text: &str, now: i64) -> Result<(), SigningError> {
        let time = parse_time(text).ok_or(SigningError::Time)?;
        let (behind_ms, window_ms) = (now.saturating_sub(time), self.window_ms);
        let is_stale = window_ms > 0 && behind_ms.saturating_abs() > window_ms;
        if is_stale { Err(SigningError::Stale { behind_ms, window_ms }) } else { Ok(()) }
    }
}

/// Milliseconds since the epoch of `yyyy-MM-ddTHH:mm:ss[.fff]` followed by `+HHMM`, `+HH:MM`, `+HH`
/// or `Z`. All of these are sent by real clients, and a proxy may have turned the `+` into a space.
pub fn parse_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() || !matches!(bytes[10], b'T' | b't') {
        return None;
    }
    if [bytes[4], bytes[7], bytes[13], bytes[16]] != *b"--::" {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u16> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |from: usize, to: usize| number(from, to).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(5, 7)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(8, 10)?).ok()?;
    // A leap second is written as :60 by some libraries.
    let second = small(17, 19).map(|second| if second == 60 { 59 } else { second })?;
    let time = Time::from_hms(small(11, 13)?, small(14, 16)?, second).ok()?;
    let mut zone = &text[19..];
    if let Some(fraction) = zone.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        zone = &fraction[digits..];
    }
    let moment = PrimitiveDateTime::new(date, time).assume_offset(parse_zone(zone)?);
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

fn parse_zone(text: &str) -> Option<UtcOffset> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'Z' | b'z' => return (text.len() == 1).then_some(UtcOffset::UTC),
        b'+' | b' ' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at(2),
        5 => rest.split_once(':')?,
        _ => return None,
    };
    let part = |digits: &str| -> Option<i8> {
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    };
    UtcOffset::from_hms(sign * part(hours)?, sign * part(minutes)?, 0).ok()
}

/// `yyyy-MM-ddTHH:mm:ss+0000`, the form that every client SDK sends itself.
pub fn format_time(time: OffsetDateTime) -> String {
    let t = time.to_offset(UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+0000",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_zone_form_of_real_clients_means_the_same_moment() {
        let moment = parse_time("2019-04-04T12:08:56Z").unwrap();
        for text in [
            "2019-04-04T12:08:56+0000",
            "2019-04-04T12:08:56+00:00",
            "2019-04-04T17:38:56+0530",
            "2019-04-04T17:38:56+05:30",
            "2019-04-04T17:38:56 0530",
            "2019-04-04T04:08:56-0800",
            "2019-04-04T12:08:56.123+00",
        ] {
            assert_eq!(parse_time(text), Some(moment), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "now",
            "2019-04-04",
            "2019-04-04T12:08:56",
            "2019-13-04T12:08:56Z",
            "2019-04-04T12:08:61Z",
            "2019-04-04T12:08:56+5",
            "2019-04-04T12:08:56.Z",
            "2019-04-04T12:08:56+05:3O",
            "2019-04-04T12:08:5٦Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_outside_the_window_is_stale_and_a_window_of_zero_takes_all() {
        let now = parse_time("2026-01-01T00:15:00Z").unwrap();
        let window = Freshness::seconds(900);
        assert_eq!(window.check("2026-01-01T00:00:00+0000", now), Ok(()));
        let stale = |behind_ms| Err(SigningError::Stale { behind_ms, window_ms: 900_000 });
        assert_eq!(window.check("2025-12-31T23:59:59+0000", now), stale(901_000));
        assert_eq!(window.check("2026-01-01T00:30:01+0000", now), stale(-901_000));
        assert_eq!(window.check("yesterday", now), Err(SigningError::Time));
        assert_eq!(Freshness::seconds(0).check("2001-01-01T00:00:00Z", now), Ok(()));
    }

    proptest! {
        #[test]
        fn a_written_time_reads_back_to_the_second(seconds in 0_i64..4_102_444_800) {
            let text = format_time(OffsetDateTime::from_unix_timestamp(seconds).unwrap());
            prop_assert_eq!(parse_time(&text), Some(seconds * 1_000));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = parse_time(&text);
        }
    }
}

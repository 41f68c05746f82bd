//! Identifiers: the transaction's, which we make, and the client's own.

use std::fmt;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, macros::datetime};

/// What the client calls a transaction: `G`, nine digits of shard, `FID`, the date, 18 digits.
///
/// The 18 digits are the millisecond of the day (8) and a random number (10), so ids of one day
/// sort by time, and cannot be guessed from one another in practice. Who may read an outcome is
/// decided by the client id, not by knowing this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(String);

impl TransactionId {
    /// A new id.
    pub fn new(now: OffsetDateTime, shard: u32) -> Self {
        Self::at(shard, &Place(format!("{}{:010}", start_of_place(now), random_below_ten_digits())))
    }

    /// What ids of a database compare with that are before or after a place in time.
    pub(crate) fn at(shard: u32, place: &Place) -> Self {
        Self(format!("G{shard:09}FID{}", place.0))
    }

    /// Takes an id that a client sends back; `None` if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |from: usize, to: usize| {
            text.get(from..to).is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
        };
        let ours = text.len() == 39
            && text.starts_with('G')
            && digits(1, 10)
            && text.get(10..13) == Some("FID")
            && digits(13, 39);
        ours.then(|| Self(text.to_owned()))
    }

    /// The number of the database that holds the transaction.
    pub(crate) fn shard(&self) -> u32 {
        // Nine digits: checked when it was parsed, written when it was made.
        self.0[1..10].parse().unwrap_or_default()
    }

    /// Its place in time.
    pub fn place(&self) -> Place {
        Place(self.0[PLACE_START..].to_owned())
    }

    /// The id as it stands on the wire, 39 characters.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a transaction is in time, among those of all databases: the date, the millisecond of the
/// day, and the random number of its id. Later ones are greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Place(String);

/// Where the place begins in an id.
const PLACE_START: usize = 13;
const PLACE_DIGITS: usize = 26;

impl Place {
    /// Before all transactions of this millisecond and after all earlier ones; for years of four
    /// digits, others are moved to the nearest of them.
    pub fn start_of(time: OffsetDateTime) -> Self {
        let (first, last) = (datetime!(0000-01-01 0:00 UTC), datetime!(9999-12-31 0:00 UTC));
        Self(format!("{}{:010}", start_of_place(time.clamp(first, last)), 0))
    }

    /// After all transactions.
    pub fn end() -> Self {
        Self("9".repeat(PLACE_DIGITS))
    }

    /// Reads 26 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_place = text.len() == PLACE_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        is_place.then(|| Self(text.to_owned()))
    }
}

/// The date and the millisecond of the day, 16 digits.
fn start_of_place(time: OffsetDateTime) -> String {
    let (hour, minute, second, milli) = time.to_hms_milli();
    let of_day = ((u32::from(hour) * 60 + u32::from(minute)) * 60 + u32::from(second)) * 1_000
        + u32::from(milli);
    format!("{:04}{:02}{:02}{of_day:08}", time.year(), u8::from(time.month()), time.day())
}

/// Uniform enough: 2⁶⁴ is 1.8 billion times ten digits.
fn random_below_ten_digits() -> u64 {
    let mut bytes = [0_u8; 8];
    // Without random numbers the id is still unique to the millisecond, and the database refuses a
    // second one.
    let _ = rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes) % 10_000_000_000
}

/// The client's own id for tracing; not unique, and never written to a log.
#[derive(Clone, PartialEq, Eq)]
pub struct BizId(String);

impl BizId {
    /// Longest id, bytes. The vendor writes 32, and its own example sends 36.
    pub const MAX_BYTES: usize = 64;

    /// `None` when empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= Self::MAX_BYTES).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BizId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BizId")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_id_has_the_documented_shape_and_reads_back() {
        let id = TransactionId::new(datetime!(2026-03-04 01:02:03.004 UTC), 5);
        assert!(id.as_str().starts_with("G000000005FID2026030403723004"), "{id}");
        assert_eq!(id.as_str().len(), 39);
        assert_eq!(TransactionId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.shard(), 5);
        assert_ne!(id, TransactionId::new(datetime!(2026-03-04 01:02:03.004 UTC), 5));
    }

    #[test]
    fn places_are_in_the_order_of_time_whatever_the_database() {
        let (time, next) =
            (datetime!(2026-03-04 01:02:03.004 UTC), datetime!(2026-03-04 01:02:03.005 UTC));
        let id = TransactionId::new(time, 5);
        let place = id.place();
        assert!(Place::start_of(time) <= place && place < Place::start_of(next));
        assert!(place < TransactionId::new(next, 0).place() && place < Place::end());
        assert_eq!(TransactionId::at(5, &place), id);
        assert_eq!(Place::parse(&place.0), Some(place.clone()));
        for bad in ["", &place.0[1..], &format!("{}x", &place.0[1..])] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_ours_is_no_transaction_id() {
        let good = TransactionId::new(OffsetDateTime::UNIX_EPOCH, 0).to_string();
        for bad in [
            "",
            "G",
            &good[1..],
            &good.replace("FID", "FRL"),
            &format!("{good}0"),
            &good.replace('G', "H"),
            "G00000000٥FID20200304000000000001570702",
        ] {
            assert_eq!(TransactionId::parse(bad), None, "{bad}");
        }
    }
}

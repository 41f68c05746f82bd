//! Degradations that two faces have in common.
//!
//! The embeddings of faces that are degraded in the same way (motion blur, glare, a covered eye …)
//! share a direction. Two of different people therefore match more often than two clear ones. For
//! each of many ways to degrade a photo, a table has the direction that separates such faces from
//! clear ones; a pair loses similarity if both faces lie far along the same one.
//! docs/decisions/0040-common-degradations.md has the benefit and the cost.

use serde::{Deserialize, Serialize};

use super::sha256::sha256_hex;

/// What the degradations of two faces say about their cosine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DegradationCorrection {
    /// Name of the table of directions (`models/NAME.degradations`).
    table: String,
    /// Up to here a face counts as clear, in standard deviations of clear faces.
    least: f32,
    /// The loss for each standard deviation beyond `least`.
    weight: f32,
}

impl DegradationCorrection {
    /// The table, for embeddings of `dimension` values.
    ///
    /// # Errors
    /// A sentence when there is no such table, when it is one of another net, or when the numbers
    /// are out of range.
    pub(crate) fn table(&self, dimension: usize) -> Result<DegradationTable, String> {
        let Self { table, least, weight } = self;
        // With a larger weight, the loss could exceed what a cosine of 1 has after rounding.
        if !(0.0..=10.0).contains(least) || !(0.0..=0.5).contains(weight) {
            return Err(
                "`degradations` of the embedder needs `least` from 0 to 10 and `weight` from \
                 0 to 0.5"
                    .to_owned(),
            );
        }
        let Some(bytes) = bytes(table) else {
            return Err(format!(
                "there is no table of degradations `{table}`: use `{RETAIL_0095}`, or leave \
                 `degradations` out"
            ));
        };
        DegradationTable::parse(bytes, dimension, *least, *weight).ok_or_else(|| {
            format!(
                "the table of degradations `{table}` is for another embedder than this one with \
                 {dimension} values: leave `degradations` out"
            )
        })
    }

    /// Everything that a similarity depends on.
    pub(crate) fn digest(&self) -> String {
        let bytes = bytes(&self.table).unwrap_or_default();
        format!("{} {} {}", self.least, self.weight, sha256_hex(bytes))
    }
}

const RETAIL_0095: &str = "face-reidentification-retail-0095";

/// The table of that name.
fn bytes(name: &str) -> Option<&'static [u8]> {
    (name == RETAIL_0095)
        .then_some(include_bytes!("../../../models/face-reidentification-retail-0095.degradations"))
}

/// The directions of an embedder, made by `tests/reference/make_degradations.py`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DegradationTable {
    directions: Vec<Direction>,
    least: f32,
    weight: f32,
}

/// A linear function of the embedding whose mean is 0 and whose standard deviation is 1 on clear
/// faces.
#[derive(Debug, Clone, PartialEq)]
struct Direction {
    offset: f32,
    slope: Vec<f32>,
}

impl DegradationTable {
    /// Reads one row for each direction: the offset and `dimension` slopes, single precision, the
    /// lowest byte first. `None` if that does not fit.
    fn parse(bytes: &[u8], dimension: usize, least: f32, weight: f32) -> Option<Self> {
        let (values, rest) = bytes.as_chunks::<4>();
        let values: Vec<_> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let width = dimension + 1;
        let fits = rest.is_empty() && !values.is_empty() && values.len().is_multiple_of(width);
        if !fits || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let direction = |row: &[f32]| Direction { offset: row[0], slope: row[1..].to_vec() };
        Some(Self { directions: values.chunks(width).map(direction).collect(), least, weight })
    }

    /// For each direction, what a pair loses if the other face lies as far along it as this one,
    /// at least 0. `embedding` has unit length.
    pub(crate) fn losses(&self, embedding: &[f32]) -> Vec<f32> {
        let loss = |direction: &Direction| {
            let value = direction.offset + dot(&direction.slope, embedding);
            (self.weight * (value - self.least)).max(0.0)
        };
        self.directions.iter().map(loss).collect()
    }
}

/// The sum of the products, in eight sums that the processor computes at once.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let ((one, one_rest), (other, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    for (one, other) in one.iter().zip(other) {
        for lane in 0..8 {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest = one_rest.iter().zip(other_rest).map(|(one, other)| one * other);
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[f32; 3]]) -> DegradationTable {
        let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        DegradationTable::parse(&bytes, 2, 2.0, 0.5).unwrap()
    }

    #[test]
    fn a_face_loses_by_what_lies_beyond_the_least_value() {
        let losses = table(&[[1.0, 4.0, 0.0], [0.0, 0.0, 2.0]]).losses(&[0.5, 0.75]);
        // Values 3 and 1.5.
        assert_eq!(losses, [0.5, 0.0]);
    }

    #[test]
    fn rows_longer_than_eight_are_summed_whole() {
        let ones: Vec<f32> = (0..19_u8).map(f32::from).collect();
        assert!((dot(&ones, &ones) - 2109.0).abs() < 1e-3);
    }

    #[test]
    fn a_table_of_another_size_or_with_no_numbers_is_refused() {
        let row = [1.0_f32, 2.0, 3.0].map(f32::to_le_bytes).concat();
        assert!(DegradationTable::parse(&row, 2, 2.0, 0.5).is_some());
        for (bytes, dimension) in [(&row[..], 3), (&row[..11], 2), (&[][..], 2)] {
            assert!(DegradationTable::parse(bytes, dimension, 2.0, 0.5).is_none());
        }
        let nan = [f32::NAN, 2.0, 3.0].map(f32::to_le_bytes).concat();
        assert!(DegradationTable::parse(&nan, 2, 2.0, 0.5).is_none());
    }

    #[test]
    fn the_built_in_table_fits_its_net_and_no_other_name_or_number_is_accepted() {
        let right =
            DegradationCorrection { table: RETAIL_0095.to_owned(), least: 2.5, weight: 0.2 };
        assert!(right.table(256).is_ok());
        assert!(right.table(192).unwrap_err().contains("another embedder"));
        let unknown = DegradationCorrection { table: "mine".to_owned(), ..right.clone() };
        assert!(unknown.table(256).unwrap_err().contains("no table of degradations `mine`"));
        for wrong in [f32::NAN, -1.0, 11.0] {
            let least = DegradationCorrection { least: wrong, ..right.clone() };
            let weight = DegradationCorrection { weight: wrong, ..right.clone() };
            assert!(least.table(256).is_err() && weight.table(256).is_err());
        }
    }

    #[test]
    fn the_digest_depends_on_the_table_and_on_both_numbers() {
        let one = DegradationCorrection { table: RETAIL_0095.to_owned(), least: 2.5, weight: 0.2 };
        let others = [
            DegradationCorrection { table: String::new(), ..one.clone() },
            DegradationCorrection { least: 2.0, ..one.clone() },
            DegradationCorrection { weight: 0.3, ..one.clone() },
        ];
        assert!(others.iter().all(|other| other.digest() != one.digest()));
    }
}

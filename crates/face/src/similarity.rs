//! Embeddings, the cosine between two of them, and its correction by lengths and degradations.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use serde::{Deserialize, Serialize};

use super::degradation::DegradationTable;

/// A face as a vector of unit length; it is in memory for one comparison and never stored.
#[derive(Clone, PartialEq)]
pub struct Embedding {
    values: Vec<f32>,
    length: f32,
    correction: CosineCorrection,
}

impl std::fmt::Debug for Embedding {
    /// Biometric data stays out of logs: only the length is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedding({} values)", self.values.len())
    }
}

impl Embedding {
    /// Divides `raw` by its Euclidean norm; `None` if that is zero or not finite.
    pub fn normalised(mut raw: Vec<f32>) -> Option<Self> {
        let norm = raw.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm <= 0.0 {
            return None;
        }
        for value in &mut raw {
            *value = (f64::from(*value) / norm) as f32;
        }
        Some(Self { values: raw, length: norm as f32, correction: CosineCorrection::NONE })
    }

    /// With what its length and its degradations say about its cosines.
    #[must_use]
    pub(crate) fn corrected(
        self,
        length: Option<&LengthCorrection>,
        degradations: Option<&DegradationTable>,
    ) -> Self {
        let factor = length.map_or(1.0, |correction| correction.factor(self.length));
        let degradations = degradations.map_or_else(Vec::new, |table| table.losses(&self.values));
        Self { correction: CosineCorrection::new(factor, degradations), ..self }
    }

    /// One embedding of this one and those of other nets, whose cosine is the weighted sum of
    /// theirs; all weights add up to 1. Its length is that of this one, its factor the weighted
    /// geometric mean; degradations count whole, whichever of the nets has the table.
    #[must_use]
    pub(crate) fn joined(self, weight: f32, further: &[(Self, f32)]) -> Self {
        let parts = || std::iter::once((&self, weight)).chain(further.iter().map(|(p, w)| (p, *w)));
        let weighted = |(part, weight): (&Self, f32)| {
            let root = weight.sqrt();
            part.values.iter().map(move |value| root * value).collect::<Vec<_>>()
        };
        let factors = parts().map(|(part, weight)| part.correction.factor.powf(weight));
        let degradations = parts().flat_map(|(part, _)| &part.correction.degradations);
        let correction = CosineCorrection::new(factors.product(), degradations.copied().collect());
        Self { values: parts().flat_map(weighted).collect(), length: self.length, correction }
    }

    /// The values, Euclidean norm 1.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The Euclidean norm before it was normalised. A net trained on angles leaves it free, and it
    /// grows with the visible part of the face.
    pub fn length(&self) -> f32 {
        self.length
    }

    /// What it contributes to the correction of its cosines.
    pub fn correction(&self) -> &CosineCorrection {
        &self.correction
    }

    /// How similar the other face is: the cosine, corrected by what both contribute.
    ///
    /// # Panics
    /// As [`cosine`](Self::cosine).
    pub fn similarity(&self, other: &Self) -> Similarity {
        let cosine = self.cosine(other).value();
        Similarity::clamped(self.correction.apply(&other.correction, cosine))
    }

    /// How much lower the similarity is because both faces are degraded in the same way, 0 to 2.
    ///
    /// # Panics
    /// As [`cosine`](Self::cosine).
    pub fn degradation_loss(&self, other: &Self) -> f32 {
        let cosine = self.cosine(other).value();
        let stretched = self.correction.stretched(&other.correction, cosine);
        stretched.tanh() - self.correction.apply(&other.correction, cosine)
    }

    /// Cosine of the angle to `other`.
    ///
    /// # Panics
    /// If the two have different lengths, which means two different nets.
    pub fn cosine(&self, other: &Self) -> Similarity {
        assert_eq!(self.values.len(), other.values.len(), "embeddings of two different nets");
        let dot: f64 =
            self.values.iter().zip(&other.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        Similarity::clamped(dot as f32)
    }
}

/// What one face contributes to the correction of its cosines.
#[derive(Clone, PartialEq)]
pub struct CosineCorrection {
    /// From its length; 1 if the pack does not use lengths.
    factor: f32,
    /// For each kind of degradation, what a pair loses that has it in common, at least 0; empty if
    /// the pack has none.
    degradations: Vec<f32>,
}

impl std::fmt::Debug for CosineCorrection {
    /// Losses are computed from the embedding: only their number is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CosineCorrection({}, {} losses)", self.factor, self.degradations.len())
    }
}

impl CosineCorrection {
    /// Of an embedder without `length` and without `degradations`.
    const NONE: Self = Self { factor: 1.0, degradations: Vec::new() };

    /// With this factor, above 0, and these losses, at least 0.
    pub fn new(factor: f32, degradations: Vec<f32>) -> Self {
        Self { factor, degradations }
    }

    /// Whether cosines stay as they are.
    pub fn is_none(&self) -> bool {
        (self.factor - 1.0).abs() < f32::EPSILON
            && self.degradations.iter().all(|loss| *loss <= 0.0)
    }

    /// The similarity of two faces with this cosine: `tanh(g · artanh(cosine) − d)`, g = factor of
    /// one × factor of the other, d = the largest, over the kinds of degradation, of the smaller
    /// loss of both. It keeps −1 and 1, so a photo remains equal to itself.
    pub fn apply(&self, other: &Self, cosine: f32) -> f32 {
        let pairs = self.degradations.iter().zip(&other.degradations);
        let loss = pairs.map(|(one, other)| one.min(*other)).fold(0.0, f32::max);
        (self.stretched(other, cosine) - loss).tanh()
    }

    /// The hyperbolic angle of a cosine, stretched by both lengths.
    fn stretched(&self, other: &Self, cosine: f32) -> f32 {
        self.factor * other.factor * cosine.clamp(-1.0, 1.0).atanh()
    }

    /// The factor from its length.
    pub fn factor(&self) -> f32 {
        self.factor
    }
}

/// The correction of a cosine by the lengths of the two embeddings before they were normalised.
///
/// A turned, blurred or covered face has a shorter embedding, and its cosines are nearer to zero,
/// with photos of the same person and of different people. One threshold on the cosine is therefore
/// too strict for such a photo and too lax for two clear ones. The cosine of each pair is stretched
/// so that different people reach a threshold equally often at all lengths, by the product of both
/// factors: (length between `least` and `most` ÷ `usual`) to the power of −`power`.
/// docs/decisions/0011-lengths-of-embeddings.md has its benefit and its cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LengthCorrection {
    /// The length whose factor is 1.
    pub(crate) usual: f32,
    /// Shorter embeddings are treated as this long, so that noise is not amplified.
    pub(crate) least: f32,
    /// Longer embeddings are treated as this long.
    pub(crate) most: f32,
    /// The weight of the lengths; 0 leaves the cosine unchanged.
    pub(crate) power: f32,
}

impl LengthCorrection {
    /// # Errors
    /// A sentence when the numbers are inconsistent.
    pub(crate) fn check(&self) -> Result<(), String> {
        let ordered = 0.0 < self.least && self.least <= self.usual && self.usual <= self.most;
        if ordered && self.most.is_finite() && (0.0..=4.0).contains(&self.power) {
            return Ok(());
        }
        Err("`length` of the embedder needs 0 < least <= usual <= most and a power from 0 to 4"
            .to_owned())
    }

    /// The factor of an embedding of this length in the stretching of its pairs.
    pub(crate) fn factor(&self, length: f32) -> f32 {
        (length.clamp(self.least, self.most) / self.usual).powf(-self.power)
    }
}

/// How similar two faces are, −1 to 1, higher means more: the cosine of their embeddings with their
/// [`CosineCorrection`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Similarity(f32);

impl Similarity {
    /// `value` brought into −1 to 1; NaN becomes −1.
    pub fn clamped(value: f32) -> Self {
        Self(if value.is_nan() { -1.0 } else { value.clamp(-1.0, 1.0) })
    }

    /// The number.
    pub fn value(self) -> f32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_does_not_depend_on_order_or_length() {
        let a = Embedding::normalised(vec![3.0, 4.0]).unwrap();
        let b = Embedding::normalised(vec![30.0, 41.0]).unwrap();
        assert!((a.values().iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((a.cosine(&b).value() - b.cosine(&a).value()).abs() < f32::EPSILON);
        assert!((a.cosine(&a).value() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn lengths_out_of_order_are_refused() {
        let right = LengthCorrection { usual: 10.0, least: 8.0, most: 12.0, power: 0.5 };
        assert_eq!(right.check(), Ok(()));
        for wrong in [
            LengthCorrection { least: 13.0, ..right },
            LengthCorrection { least: 0.0, ..right },
            LengthCorrection { most: f32::NAN, ..right },
            LengthCorrection { power: -1.0, ..right },
        ] {
            assert!(wrong.check().unwrap_err().contains("least <= usual <= most"), "{wrong:?}");
        }
    }

    #[test]
    fn lengths_keep_the_ends_the_middle_and_the_order_and_favour_the_shorter() {
        let correction = LengthCorrection { usual: 10.0, least: 8.0, most: 12.0, power: 0.5 };
        assert!((correction.factor(10.0) - 1.0).abs() < 1e-6);
        assert!((correction.factor(1.0) - correction.factor(8.0)).abs() < 1e-6);
        assert!((correction.factor(99.0) - correction.factor(12.0)).abs() < 1e-6);
        let [short, long] =
            [8.0, 12.0].map(|length| CosineCorrection::new(correction.factor(length), Vec::new()));
        for end in [-1.0, 0.0, 1.0] {
            assert!((short.apply(&short, end) - end).abs() < 1e-6);
        }
        assert!(short.apply(&short, 0.41) > short.apply(&short, 0.4));
        assert!(short.apply(&short, 0.4) > 0.45 && long.apply(&long, 0.4) < 0.37);
        assert!(short.apply(&CosineCorrection::NONE, 1.000_000_1).is_finite());
    }

    #[test]
    fn a_pair_loses_by_the_largest_degradation_that_both_have_and_a_copy_nothing() {
        let degraded = |losses: &[f32]| CosineCorrection::new(1.0, losses.to_vec());
        let (blurred, covered) = (degraded(&[0.9, 0.1, 0.0]), degraded(&[0.0, 0.3, 2.0]));
        let both = degraded(&[0.4, 0.0, 0.2]);
        let loss = |one: &CosineCorrection, other| {
            assert!((one.apply(other, 0.5) - other.apply(one, 0.5)).abs() < f32::EPSILON);
            0.5_f32.atanh() - one.apply(other, 0.5).atanh()
        };
        for (one, other, expected) in [
            (&blurred, &covered, 0.1),
            (&blurred, &both, 0.4),
            (&covered, &both, 0.2),
            (&blurred, &degraded(&[0.0; 3]), 0.0),
        ] {
            assert!((loss(one, other) - expected).abs() < 1e-5, "{one:?} {other:?}");
        }
        assert!((covered.apply(&covered, 1.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn a_vector_without_direction_is_no_embedding() {
        assert!(Embedding::normalised(vec![0.0; 4]).is_none());
        assert!(Embedding::normalised(vec![f32::NAN, 1.0]).is_none());
    }

    #[test]
    fn the_cosine_of_joined_embeddings_is_the_weighted_sum_of_their_cosines() {
        let of = |raw: &[f32], length| {
            let correction = LengthCorrection { usual: 10.0, least: 8.0, most: 12.0, power: 0.5 };
            let unit = Embedding::normalised(raw.to_vec()).unwrap();
            Embedding { length, ..unit }.corrected(Some(&correction), None)
        };
        let (a, b) = (of(&[1.0, 2.0], 8.0), of(&[2.0, 1.0], 12.0));
        let (c, d) = (of(&[1.0, 0.0, 3.0], 9.0), of(&[0.0, 1.0, 2.0], 11.0));
        let one = a.clone().joined(0.7, &[(c.clone(), 0.3)]);
        let other = b.clone().joined(0.7, &[(d.clone(), 0.3)]);
        let sum = 0.7 * a.cosine(&b).value() + 0.3 * c.cosine(&d).value();
        assert!((one.cosine(&other).value() - sum).abs() < 1e-6);
        let factor = |face: &Embedding| face.correction().factor();
        assert!((factor(&one) - factor(&a).powf(0.7) * factor(&c).powf(0.3)).abs() < 1e-6);
        assert!((one.length() - 8.0).abs() < 1e-6);
        let expected = (factor(&one) * factor(&other) * sum.atanh()).tanh();
        assert!((one.similarity(&other).value() - expected).abs() < 1e-6);
    }

    #[test]
    fn a_joined_pair_loses_what_any_of_its_nets_sees() {
        let of = |raw: [f32; 2], losses: &[f32]| Embedding {
            correction: CosineCorrection::new(1.0, losses.to_vec()),
            ..Embedding::normalised(raw.to_vec()).unwrap()
        };
        let one = of([1.0, 2.0], &[0.3]).joined(0.7, &[(of([1.0, 0.0], &[]), 0.3)]);
        for (losses, loss) in [(&[0.2_f32][..], 0.2), (&[], 0.0)] {
            let other = of([2.0, 1.0], losses).joined(0.7, &[(of([0.0, 1.0], &[]), 0.3)]);
            let expected = (one.cosine(&other).value().atanh() - loss).tanh();
            assert!((one.similarity(&other).value() - expected).abs() < 1e-6, "{losses:?}");
        }
    }

    #[test]
    fn debug_output_shows_no_values() {
        let text = format!("{:?}", Embedding::normalised(vec![0.6, 0.8]).unwrap());
        assert_eq!(text, "Embedding(2 values)");
        let text = format!("{:?}", CosineCorrection::new(1.0, vec![0.5]));
        assert_eq!(text, "CosineCorrection(1, 1 losses)");
    }
}

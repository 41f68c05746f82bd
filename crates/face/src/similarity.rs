//! Embeddings, the cosine between two of them, and its correction by their lengths.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use serde::{Deserialize, Serialize};

/// A face as a vector of unit length; it is in memory for one comparison and never stored.
#[derive(Clone, PartialEq)]
pub struct Embedding {
    values: Vec<f32>,
    length: f32,
    factor: f32,
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
        Some(Self { values: raw, length: norm as f32, factor: 1.0 })
    }

    /// With what the length says about its cosines.
    #[must_use]
    pub(crate) fn corrected(self, correction: Option<&LengthCorrection>) -> Self {
        let factor = correction.map_or(1.0, |correction| correction.factor(self.length));
        Self { factor, ..self }
    }

    /// One embedding of this one and those of other nets, whose cosine is the weighted sum of
    /// theirs; all weights add up to 1. Its length is that of this one, and its factor the weighted
    /// geometric mean.
    #[must_use]
    pub(crate) fn joined(self, weight: f32, further: &[(Self, f32)]) -> Self {
        let parts = || std::iter::once((&self, weight)).chain(further.iter().map(|(p, w)| (p, *w)));
        let weighted = |(part, weight): (&Self, f32)| {
            let root = weight.sqrt();
            part.values.iter().map(move |value| root * value).collect::<Vec<_>>()
        };
        let factor = parts().map(|(part, weight)| part.factor.powf(weight)).product();
        Self { values: parts().flat_map(weighted).collect(), length: self.length, factor }
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

    /// The factor that its length contributes to the gain of its pairs; 1 if the pack does not use
    /// lengths.
    pub fn factor(&self) -> f32 {
        self.factor
    }

    /// How similar the other face is: the cosine, stretched by the factors of both.
    ///
    /// # Panics
    /// As [`cosine`](Self::cosine).
    pub fn similarity(&self, other: &Self) -> Similarity {
        let gain = self.factor * other.factor;
        Similarity::clamped(LengthCorrection::stretch(self.cosine(other).value(), gain))
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

/// The correction of a cosine by the lengths of the two embeddings before they were normalised.
///
/// A turned, blurred or covered face has a shorter embedding, and its cosines are nearer to zero,
/// with photos of the same person and of different people. One threshold on the cosine is therefore
/// too strict for such a photo and too lax for two clear ones. The cosine of each pair is stretched
/// so that different people reach a threshold equally often at all lengths: `tanh(g ·
/// artanh(cosine))`, g = factor of one × factor of the other, factor = (length between `least` and
/// `most` ÷ `usual`) to the power of −`power`. It keeps −1, 0 and 1, and the order of pairs of
/// equal lengths. docs/decisions/0011-lengths-of-embeddings.md has its benefit and its cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthCorrection {
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

    /// A cosine, stretched by `gain`, the product of the factors of both embeddings.
    pub fn stretch(cosine: f32, gain: f32) -> f32 {
        (gain * cosine.clamp(-1.0, 1.0).atanh()).tanh()
    }
}

/// How similar two faces are, −1 to 1, higher means more: the cosine of their embeddings, stretched
/// if the pack has a [`LengthCorrection`].
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
    fn stretching_keeps_the_ends_the_middle_and_the_order_and_favours_the_shorter() {
        let correction = LengthCorrection { usual: 10.0, least: 8.0, most: 12.0, power: 0.5 };
        assert!((correction.factor(10.0) - 1.0).abs() < 1e-6);
        assert!((correction.factor(1.0) - correction.factor(8.0)).abs() < 1e-6);
        assert!((correction.factor(99.0) - correction.factor(12.0)).abs() < 1e-6);
        let (short, long) = (correction.factor(8.0), correction.factor(12.0));
        for end in [-1.0, 0.0, 1.0] {
            assert!((LengthCorrection::stretch(end, short * short) - end).abs() < 1e-6);
        }
        let stretched = |cosine| LengthCorrection::stretch(cosine, short * short);
        assert!(stretched(0.41) > stretched(0.4) && stretched(0.4) > 0.45);
        assert!(LengthCorrection::stretch(0.4, long * long) < 0.37);
        assert!(LengthCorrection::stretch(1.000_000_1, short).is_finite());
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
            Embedding { length, ..unit }.corrected(Some(&correction))
        };
        let (a, b) = (of(&[1.0, 2.0], 8.0), of(&[2.0, 1.0], 12.0));
        let (c, d) = (of(&[1.0, 0.0, 3.0], 9.0), of(&[0.0, 1.0, 2.0], 11.0));
        let one = a.clone().joined(0.7, &[(c.clone(), 0.3)]);
        let other = b.clone().joined(0.7, &[(d.clone(), 0.3)]);
        let sum = 0.7 * a.cosine(&b).value() + 0.3 * c.cosine(&d).value();
        assert!((one.cosine(&other).value() - sum).abs() < 1e-6);
        assert!((one.factor() - a.factor().powf(0.7) * c.factor().powf(0.3)).abs() < 1e-6);
        assert!((one.length() - 8.0).abs() < 1e-6);
        let gain = one.factor() * other.factor();
        let expected = LengthCorrection::stretch(sum, gain);
        assert!((one.similarity(&other).value() - expected).abs() < 1e-6);
    }

    #[test]
    fn debug_output_shows_no_values() {
        let text = format!("{:?}", Embedding::normalised(vec![0.6, 0.8]).unwrap());
        assert_eq!(text, "Embedding(2 values)");
    }
}

//! Embeddings and the cosine between two of them.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use serde::{Deserialize, Serialize};

/// A face as a vector of unit length; it lives in memory for one comparison and is stored nowhere.
#[derive(Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl std::fmt::Debug for Embedding {
    /// Biometric data stays out of logs: only the length is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedding({} values)", self.0.len())
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
        Some(Self(raw))
    }

    /// The values, Euclidean norm 1.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Cosine of the angle to `other`.
    ///
    /// # Panics
    /// If the two have different lengths, which means two different nets.
    pub fn similarity(&self, other: &Self) -> Similarity {
        assert_eq!(self.0.len(), other.0.len(), "embeddings of two different nets");
        let dot: f64 =
            self.0.iter().zip(&other.0).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        Similarity::clamped(dot as f32)
    }
}

/// Cosine of two embeddings, −1 to 1, higher means more alike.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Similarity(f32);

impl Similarity {
    /// `value` brought into −1 to 1; NaN becomes −1.
    pub fn clamped(value: f32) -> Self {
        Self(if value.is_nan() { -1.0 } else { value.clamp(-1.0, 1.0) })
    }

    /// The cosine.
    pub fn value(self) -> f32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_does_not_depend_on_order_or_length() {
        let a = Embedding::normalised(vec![3.0, 4.0]).unwrap();
        let b = Embedding::normalised(vec![30.0, 41.0]).unwrap();
        assert!((a.values().iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((a.similarity(&b).value() - b.similarity(&a).value()).abs() < f32::EPSILON);
        assert!((a.similarity(&a).value() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_vector_without_direction_is_no_embedding() {
        assert!(Embedding::normalised(vec![0.0; 4]).is_none());
        assert!(Embedding::normalised(vec![f32::NAN, 1.0]).is_none());
    }

    #[test]
    fn debug_output_shows_no_values() {
        let text = format!("{:?}", Embedding::normalised(vec![0.6, 0.8]).unwrap());
        assert_eq!(text, "Embedding(2 values)");
    }
}

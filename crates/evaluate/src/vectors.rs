//! Embeddings of many photos, and how similar each pair of them is.

use ndarray::{Array2, ArrayView2, Axis, Slice};
use visavis_face::LengthCorrection;

/// A row for each photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// Rows of length 1.
    embeddings: Array2<f32>,
    /// The factor of each row in the stretching of its pairs; empty if the pack does not
    /// use lengths.
    factors: Vec<f32>,
}

/// Some rows next to each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct VectorBlock<'a> {
    rows: ArrayView2<'a, f32>,
    factors: &'a [f32],
    pub(super) first: usize,
}

impl Vectors {
    /// Rows of length 1 whose cosines are their similarities.
    pub(crate) fn plain(embeddings: Array2<f32>) -> Self {
        Self { embeddings, factors: Vec::new() }
    }

    /// Rows of length 1, and a factor for each.
    pub(crate) fn stretched(embeddings: Array2<f32>, factors: Vec<f32>) -> Self {
        if factors.iter().all(|factor| (factor - 1.0).abs() < f32::EPSILON) {
            return Self::plain(embeddings);
        }
        Self { embeddings, factors }
    }

    /// Some of the rows, in this order.
    #[must_use]
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let embeddings = self.embeddings.select(Axis(0), rows);
        let factors = if self.factors.is_empty() {
            Vec::new()
        } else {
            rows.iter().map(|row| self.factors[*row]).collect()
        };
        Self { embeddings, factors }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.embeddings.nrows()
    }

    /// The similarity of two rows.
    pub(crate) fn similarity(&self, one: usize, other: usize) -> f32 {
        let cosine = self.embeddings.row(one).dot(&self.embeddings.row(other));
        if self.factors.is_empty() {
            return cosine;
        }
        LengthCorrection::stretch(cosine, self.factors[one] * self.factors[other])
    }

    /// All rows, `size` at a time.
    pub(super) fn blocks(&self, size: usize) -> Vec<VectorBlock<'_>> {
        let starts = (0..self.len()).step_by(size);
        let block = |first: usize| {
            let end = (first + size).min(self.len());
            let rows = self.embeddings.slice_axis(Axis(0), Slice::from(first..end));
            let factors = self.factors.get(first..end).unwrap_or_default();
            VectorBlock { rows, factors, first }
        };
        starts.map(block).collect()
    }
}

impl VectorBlock<'_> {
    /// The similarity of each row with each row of another block.
    pub(super) fn similarities(&self, columns: &VectorBlock<'_>) -> Array2<f32> {
        let mut product = self.rows.dot(&columns.rows.t());
        for (line, one) in product.outer_iter_mut().zip(self.factors) {
            for (similarity, other) in line.into_iter().zip(columns.factors) {
                *similarity = LengthCorrection::stretch(*similarity, one * other);
            }
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn blocks_and_single_pairs_agree_with_and_without_factors() {
        let rows = array![[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.8, 0.6]];
        let factors = vec![1.1, 0.9, 1.0, 1.2];
        for vectors in
            [Vectors::plain(rows.clone()), Vectors::stretched(rows.clone(), factors.clone())]
        {
            let blocks = vectors.blocks(3);
            assert_eq!(blocks.iter().map(|block| block.first).collect::<Vec<_>>(), [0, 3]);
            let across = blocks[0].similarities(&blocks[1]);
            for row in 0..3 {
                assert!((across[[row, 0]] - vectors.similarity(row, 3)).abs() < 1e-6);
            }
            let chosen = vectors.select(&[3, 1]);
            assert!((chosen.similarity(0, 1) - vectors.similarity(3, 1)).abs() < 1e-6);
        }
        let (plain, stretched) = (Vectors::plain(rows.clone()), Vectors::stretched(rows, factors));
        assert!((plain.similarity(0, 1) - 0.6).abs() < 1e-6);
        assert!((stretched.similarity(0, 1) - (0.99 * 0.6_f32.atanh()).tanh()).abs() < 1e-6);
    }
}

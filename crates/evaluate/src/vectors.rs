//! Embeddings of many photos, and how similar each pair of them is.

use ndarray::{Array2, ArrayView2, Axis, Slice};
use visavis_face::CosineCorrection;

/// A row for each photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// Rows of length 1.
    embeddings: Array2<f32>,
    /// What each row contributes to the correction of its cosines; empty if that is nothing for
    /// all of them.
    corrections: Vec<CosineCorrection>,
}

/// Some rows next to each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct VectorBlock<'a> {
    rows: ArrayView2<'a, f32>,
    corrections: &'a [CosineCorrection],
    pub(super) first: usize,
}

impl Vectors {
    /// Rows of length 1 whose cosines are their similarities.
    pub(crate) fn plain(embeddings: Array2<f32>) -> Self {
        Self { embeddings, corrections: Vec::new() }
    }

    /// Rows of length 1, and the correction of each.
    pub(crate) fn corrected(embeddings: Array2<f32>, corrections: Vec<CosineCorrection>) -> Self {
        if corrections.iter().all(CosineCorrection::is_none) {
            return Self::plain(embeddings);
        }
        Self { embeddings, corrections }
    }

    /// Some of the rows, in this order.
    #[must_use]
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let embeddings = self.embeddings.select(Axis(0), rows);
        let corrections = if self.corrections.is_empty() {
            Vec::new()
        } else {
            rows.iter().map(|row| self.corrections[*row].clone()).collect()
        };
        Self { embeddings, corrections }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.embeddings.nrows()
    }

    /// The similarity of two rows.
    pub(crate) fn similarity(&self, one: usize, other: usize) -> f32 {
        let cosine = self.embeddings.row(one).dot(&self.embeddings.row(other));
        match (self.corrections.get(one), self.corrections.get(other)) {
            (Some(one), Some(other)) => one.apply(other, cosine),
            _ => cosine,
        }
    }

    /// All rows, `size` at a time.
    pub(super) fn blocks(&self, size: usize) -> Vec<VectorBlock<'_>> {
        let starts = (0..self.len()).step_by(size);
        let block = |first: usize| {
            let end = (first + size).min(self.len());
            let rows = self.embeddings.slice_axis(Axis(0), Slice::from(first..end));
            let corrections = self.corrections.get(first..end).unwrap_or_default();
            VectorBlock { rows, corrections, first }
        };
        starts.map(block).collect()
    }
}

impl VectorBlock<'_> {
    /// The similarity of each row with each row of another block.
    pub(super) fn similarities(&self, columns: &VectorBlock<'_>) -> Array2<f32> {
        let mut product = self.rows.dot(&columns.rows.t());
        for (line, one) in product.outer_iter_mut().zip(self.corrections) {
            for (similarity, other) in line.into_iter().zip(columns.corrections) {
                *similarity = one.apply(other, *similarity);
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
    fn blocks_and_single_pairs_agree_with_and_without_corrections() {
        let rows = array![[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.8, 0.6]];
        let corrections = [(1.1, 0.0), (0.9, 0.2), (1.0, 0.0), (1.2, 0.1)]
            .map(|(factor, loss)| CosineCorrection::new(factor, vec![loss]));
        let corrected = Vectors::corrected(rows.clone(), corrections.to_vec());
        for vectors in [Vectors::plain(rows.clone()), corrected.clone()] {
            let blocks = vectors.blocks(3);
            assert_eq!(blocks.iter().map(|block| block.first).collect::<Vec<_>>(), [0, 3]);
            let across = blocks[0].similarities(&blocks[1]);
            for row in 0..3 {
                assert!((across[[row, 0]] - vectors.similarity(row, 3)).abs() < 1e-6);
            }
            let chosen = vectors.select(&[3, 1]);
            assert!((chosen.similarity(0, 1) - vectors.similarity(3, 1)).abs() < 1e-6);
        }
        // The two are at a right angle.
        assert!((corrected.similarity(1, 3) - (-0.1_f32).tanh()).abs() < 1e-6);
        assert!((Vectors::plain(rows).similarity(0, 1) - 0.6).abs() < 1e-6);
        assert!((corrected.similarity(0, 1) - (0.99 * 0.6_f32.atanh()).tanh()).abs() < 1e-6);
    }
}

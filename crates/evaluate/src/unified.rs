//! Fits the overall quality to a pack's errors.
//!
//! The similarity of two photos of a person is taken as person + photo + photo. What a photo takes
//! away from, or adds to, the pairs that it is in follows from its mean over the others of the
//! person; that is regressed, within people, on what is known of the photo without knowing whose it
//! is.

use visavis_face::{FaceReport, quality::UnifiedQuality};

use crate::{EvaluateError, scores::Scores};

/// Photos that a person must have for one of them to be better or worse than the others.
const PHOTOS: usize = 3;
/// Where the middle photo and the worst hundredth come to lie on the scale of 0 to 1.
const MIDDLE: f64 = 0.8;
const WORST_HUNDREDTH: f64 = 0.3;
/// Terms of the sum.
const TERMS: usize = 4;

/// Fits the weights; `reports` are those of the rows that `scores` were made of.
///
/// # Errors
/// [`EvaluateError::TooFew`] when too few people have three photos, or the photos do not differ.
pub fn fit(scores: &Scores, reports: &[FaceReport]) -> Result<UnifiedQuality, EvaluateError> {
    let terms: Vec<[f64; TERMS]> =
        reports.iter().map(|report| report.quality.measures.unified_terms().values()).collect();
    let weights = regress(scores, &terms).ok_or_else(|| {
        EvaluateError::TooFew(format!(
            "the overall quality needs people with {PHOTOS} photos each, some better and some worse"
        ))
    })?;
    let sum = |terms: &[f64; TERMS]| -> f64 { terms.iter().zip(weights).map(|(t, w)| t * w).sum() };
    let mut sums: Vec<f64> = terms.iter().map(sum).collect();
    sums.sort_by(f64::total_cmp);
    let (middle, worst) = (sums[sums.len() / 2], sums[sums.len() / 100]);
    let logit = |share: f64| (share / (1.0 - share)).ln();
    if middle - worst < 1e-6 {
        return Err(EvaluateError::TooFew("all photos have the same quality".to_owned()));
    }
    let steepness = (logit(MIDDLE) - logit(WORST_HUNDREDTH)) / (middle - worst);
    let [length, confidence, yaw, pitch] = weights.map(|weight| weight * steepness);
    let constant = logit(MIDDLE) - steepness * middle;
    Ok(UnifiedQuality { constant, length, confidence, yaw, pitch })
}

/// Weighted least squares of what each photo does to its pairs on its terms, both within its
/// person.
fn regress(scores: &Scores, terms: &[[f64; TERMS]]) -> Option<[f64; TERMS]> {
    let mut of_photo = vec![(0.0, 0_usize); terms.len()];
    let mut of_person = vec![Vec::new(); scores.counts.photos_of.len()];
    for pair in &scores.mated {
        for photo in [pair.photos.0, pair.photos.1] {
            let (sum, count) = &mut of_photo[photo];
            if *count == 0 {
                of_person[pair.person].push(photo);
            }
            *sum += f64::from(pair.similarity);
            *count += 1;
        }
    }
    let (mut left, mut right) = ([[0.0; TERMS]; TERMS], [0.0; TERMS]);
    // Only people whose photos are all compared with each other: the algebra below requires
    // that.
    let is_whole = |photos: &&Vec<usize>| {
        photos.len() >= PHOTOS && photos.iter().all(|photo| of_photo[*photo].1 + 1 == photos.len())
    };
    for photos in of_person.iter().filter(is_whole) {
        let k = photos.len() as f64;
        let mean_of = |photo: &usize| of_photo[*photo].0 / of_photo[*photo].1 as f64;
        let mean = photos.iter().map(mean_of).sum::<f64>() / k;
        let middle: [f64; TERMS] =
            std::array::from_fn(|i| photos.iter().map(|photo| terms[*photo][i]).sum::<f64>() / k);
        for photo in photos {
            // A photo is in its own mean over pairs and in those of the others.
            let effect = (mean_of(photo) - mean) * (k - 1.0) / (k - 2.0);
            let own: [f64; TERMS] = std::array::from_fn(|i| terms[*photo][i] - middle[i]);
            // Every person has the same weight, whatever the number of photos.
            let weight = 1.0 / k;
            for i in 0..TERMS {
                right[i] += weight * own[i] * effect;
                for j in 0..TERMS {
                    left[i][j] += weight * own[i] * own[j];
                }
            }
        }
    }
    loop {
        let weights = solve(left, right)?;
        // A term may predict nothing, but it never lowers quality: a negative weight is chance, and
        // is left out.
        let Some(chance) = (0..TERMS).find(|term| weights[*term] < 0.0) else {
            return weights.iter().any(|weight| *weight > 0.0).then_some(weights);
        };
        right[chance] = 0.0;
        left[chance] = [0.0; TERMS];
        for row in &mut left {
            row[chance] = 0.0;
        }
    }
}

/// Gaussian elimination with pivots; a term without any spread gets no weight. `None` if none has
/// any.
fn solve(mut left: [[f64; TERMS]; TERMS], mut right: [f64; TERMS]) -> Option<[f64; TERMS]> {
    if (0..TERMS).all(|i| left[i][i] <= 1e-9) {
        return None;
    }
    for i in 0..TERMS {
        if left[i][i] <= 1e-9 {
            left[i][i] = 1.0;
            right[i] = 0.0;
        }
    }
    for column in 0..TERMS {
        let pivot = (column..TERMS)
            .max_by(|a, b| left[*a][column].abs().total_cmp(&left[*b][column].abs()))?;
        left.swap(column, pivot);
        right.swap(column, pivot);
        if left[column][column].abs() < 1e-12 {
            return None;
        }
        for row in column + 1..TERMS {
            let factor = left[row][column] / left[column][column];
            let above = left[column];
            for (value, pivot) in left[row].iter_mut().zip(above) {
                *value -= factor * pivot;
            }
            right[row] -= factor * right[column];
        }
    }
    let mut solution = [0.0; TERMS];
    for row in (0..TERMS).rev() {
        let known: f64 = (row + 1..TERMS).map(|i| left[row][i] * solution[i]).sum();
        solution[row] = (right[row] - known) / left[row][row];
    }
    solution.iter().all(|weight| weight.is_finite()).then_some(solution)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "similarities are single precision")]
mod tests {
    use super::*;
    use crate::scores::{Mated, NonMated};

    /// People with four photos each, whose qualities follow from known weights; every pair is
    /// person + photo + photo.
    #[test]
    fn weights_that_made_the_similarities_are_found_again() {
        let weights = [0.02, 0.5, 0.0, 0.03];
        let terms: Vec<[f64; TERMS]> = (0..400)
            .map(|n| {
                let wave = |period: f64| (f64::from(n) * period).sin();
                [15.0 + wave(0.7), 0.9 + 0.03 * wave(1.3), -wave(2.1).abs(), -wave(0.37).powi(2)]
            })
            .collect();
        let quality = |n: usize| terms[n].iter().zip(weights).map(|(t, w)| t * w).sum::<f64>();
        let mut mated = Vec::new();
        for (one, other) in (0..400).flat_map(|one| (one + 1..400).map(move |other| (one, other))) {
            if one / 4 == other / 4 {
                let person = one / 4;
                let merit = if person % 2 == 0 { 0.1 } else { -0.1 };
                let similarity = (quality(one) + quality(other) - 1.0 + merit) as f32;
                mated.push(Mated { similarity, person, photos: (one, other) });
            }
        }
        let persons: Vec<_> = (0..400).map(|n| n / 4).collect();
        let other = NonMated { similarity: 0.0, persons: (0, 1) };
        let scores = Scores::from_list(mated, vec![other], persons);
        let found = regress(&scores, &terms).unwrap();
        for (is, ought) in found.iter().zip(weights) {
            assert!((is - ought).abs() < 2e-3, "{found:?}");
        }
    }

    #[test]
    fn equations_are_solved_and_terms_without_spread_get_no_weight() {
        let left = [
            [4.0, 1.0, 0.0, 0.0],
            [1.0, 3.0, 0.5, 0.0],
            [0.0, 0.5, 2.0, 0.0],
            [0.0, 0.0, 0.0, 0.0],
        ];
        let right = [6.0, 8.5, 7.0, 0.0];
        let found = solve(left, right).unwrap();
        for (is, ought) in found.iter().zip([1.0, 2.0, 3.0, 0.0]) {
            assert!((is - ought).abs() < 1e-9, "{found:?}");
        }
        assert!(solve([[0.0; TERMS]; TERMS], right).is_none());
    }
}

//! From the non-mated pairs of a set to the calibration table of a pack, which maps similarities to
//! rates and scores.

use crate::{
    EvaluateError,
    bootstrap::{Draw, interval},
    rates::{fmr_in_tail, threshold},
    scores::Scores,
    tail::ParetoTail,
};

/// One row of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// Similarity of the pair.
    pub similarity: f64,
    /// Share of the non-mated pairs that are at least that similar.
    pub fmr: f64,
    /// The 95 % interval of the share for other people; `None` beyond the data.
    pub interval: Option<(f64, f64)>,
}

/// Minimum number of pairs above a measured knot: the rule of 30.
const ENOUGH: f64 = 30.0;
/// Half decades from 1e-1 on.
const STEPS_PER_DECADE: i32 = 2;
/// The last knot, in decades: where the straight part of the scale ends.
const LAST_DECADE: i32 = 6;
/// The share of the pairs that the tail is fitted to, and how many it takes at least.
const FITTED: f64 = 1e-3;
const FITTED_AT_LEAST: usize = 200;

/// Knots from FMR 1e-1 (as far as single pairs are kept) to 1e-6, strictly rising in similarity.
/// Those with fewer than 30 pairs above are extrapolated with a generalised Pareto tail.
///
/// # Errors
/// [`EvaluateError::TooFew`] when not even FMR 1e-3 can be measured.
pub fn knots(scores: &Scores) -> Result<Vec<Knot>, EvaluateError> {
    let everybody = Draw::everybody(scores.counts.photos_of.len());
    let pairs = scores.non_mated() as f64;
    if pairs * 1e-3 < ENOUGH {
        return Err(EvaluateError::TooFew(format!(
            "{pairs} pairs of different people cannot show a false match rate of 1e-3: at least {} \
             are needed, which 250 people give",
            ENOUGH * 1e3
        )));
    }
    let tail = fitted_tail(scores);
    let mut knots: Vec<Knot> = Vec::new();
    for step in STEPS_PER_DECADE..=LAST_DECADE * STEPS_PER_DECADE {
        let fmr = 10_f64.powf(-f64::from(step) / f64::from(STEPS_PER_DECADE));
        let knot = if fmr * pairs >= ENOUGH {
            threshold(scores, &everybody, fmr).map(|similarity| measured(scores, similarity, fmr))
        } else {
            tail.map(|tail| Knot { similarity: tail.similarity(fmr), fmr, interval: None })
        };
        // An extrapolated knot must not lie below a measured one, whatever the fit.
        let rises = |knot: &Knot| knots.last().is_none_or(|last| knot.similarity > last.similarity);
        knots.extend(knot.filter(rises).filter(|knot| knot.similarity < 1.0));
    }
    Ok(knots)
}

fn measured(scores: &Scores, similarity: f32, fmr: f64) -> Knot {
    let interval = interval(scores, |draw| fmr_in_tail(scores, draw, similarity));
    let interval = interval.map(|interval| (interval.low, interval.high));
    Knot { similarity: f64::from(similarity), fmr, interval }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is one"
)]
fn fitted_tail(scores: &Scores) -> Option<ParetoTail> {
    let count = ((scores.non_mated() as f64 * FITTED) as usize).max(FITTED_AT_LEAST);
    let top: Vec<f32> = scores.tail.iter().take(count + 1).map(|pair| pair.similarity).collect();
    ParetoTail::fit(&top, scores.non_mated())
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{pairing::Pairing, vectors::Vectors};

    /// Different people in many dimensions: the cosine of two of them is nearly normal with
    /// deviation 1/√width.
    fn unrelated(count: usize) -> Scores {
        const WIDTH: usize = 64;
        let mut state = 1_u64;
        let normal = || {
            // A sum of uniform numbers is near enough to a normal one.
            let mut uniform = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f32 / (1_u32 << 24) as f32
            };
            (0..12).map(|_| uniform()).sum::<f32>() - 6.0
        };
        let mut photos = Array2::from_shape_simple_fn((count, WIDTH), normal);
        for mut row in photos.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        Scores::compare(&Vectors::plain(photos), &Pairing::all((0..count).collect::<Vec<_>>()))
            .unwrap()
    }

    #[test]
    fn knots_rise_are_measured_where_pairs_are_left_and_continued_beyond() {
        let scores = unrelated(1_000);
        let knots = knots(&scores).unwrap();
        assert!(
            knots.is_sorted_by(|a, b| a.similarity < b.similarity && a.fmr > b.fmr),
            "{knots:?}"
        );
        for knot in &knots {
            assert_eq!(knot.interval.is_some(), knot.fmr * scores.non_mated() as f64 >= ENOUGH);
            if let Some((low, high)) = knot.interval {
                assert!(low <= knot.fmr && knot.fmr <= high * 1.001, "{knot:?}");
            }
        }
        // Cosines in 64 dimensions go by Student's t with 62 degrees of freedom: 3.23 at 1e-3, 5.2
        // at 1e-6.
        let at = |fmr: f64| knots.iter().find(|k| (k.fmr / fmr - 1.0).abs() < 1e-6).unwrap();
        assert!((at(1e-3).similarity - 0.380).abs() < 0.01, "{:?}", at(1e-3));
        assert!((at(1e-6).similarity - 0.551).abs() < 0.03, "{:?}", at(1e-6));
    }

    #[test]
    fn too_few_people_make_no_table() {
        let error = knots(&unrelated(100)).unwrap_err();
        assert!(error.to_string().contains("at least 30000"), "{error}");
    }
}

//! Rates of error at a threshold, and thresholds for a rate.

use serde::Serialize;

use crate::{
    bootstrap::{Draw, Interval, interval},
    scores::Scores,
};

/// False non-matches where the false match rate has a given value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatingPoint {
    /// The least similarity at which no more than that many non-mated pairs match.
    pub similarity: f64,
    /// Share of the mated pairs below it; `None` without any.
    pub fnmr: Option<f64>,
    /// The interval of that share for other people.
    pub interval: Option<Interval>,
}

/// The rates of pairs at a fixed threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AtThreshold {
    /// The threshold.
    pub similarity: f64,
    /// Share of the non-mated pairs at or above it.
    pub fmr: f64,
    /// The interval of the share for other people.
    pub fmr_interval: Option<Interval>,
    /// Share of the mated pairs below it; `None` without any.
    pub fnmr: Option<f64>,
    /// The interval of that share for other people.
    pub fnmr_interval: Option<Interval>,
}

/// Minimum number of non-mated pairs above a threshold.
const FEWEST: f64 = 1.0;

/// The least similarity at which at most `fmr` of the pairs of a draw match; `None` where the pairs
/// are too few, or where the rate is above the share that is kept pair by pair.
pub(crate) fn threshold(scores: &Scores, draw: &Draw, fmr: f64) -> Option<f32> {
    let allowed = fmr * draw.non_mated(scores) as f64;
    if allowed < FEWEST {
        return None;
    }
    let mut above = 0;
    for pair in &scores.tail {
        above += draw.pairs_of(pair);
        if above as f64 > allowed {
            // This one must not match.
            return Some(pair.similarity.next_up());
        }
    }
    None
}

/// Share of the mated pairs of a draw below a similarity.
pub(crate) fn fnmr(scores: &Scores, draw: &Draw, similarity: f32) -> Option<f64> {
    let (mut all, mut below) = (0, 0);
    for pair in &scores.mated {
        let weight = draw.weight(pair.person);
        all += weight;
        below += if pair.similarity < similarity { weight } else { 0 };
    }
    (all > 0).then(|| below as f64 / all as f64)
}

/// Share of the non-mated pairs of a draw at or above a similarity that lies in the tail.
pub(super) fn fmr_in_tail(scores: &Scores, draw: &Draw, similarity: f32) -> Option<f64> {
    let above = scores.tail.iter().take_while(|pair| pair.similarity >= similarity);
    let above = above.map(|pair| draw.pairs_of(pair));
    let all = draw.non_mated(scores);
    (all > 0).then(|| above.sum::<u64>() as f64 / all as f64)
}

fn everybody(scores: &Scores) -> Draw {
    Draw::everybody(scores.counts.photos_of.len())
}

/// False non-matches at a false match rate, with an interval; `None` where there are too few
/// non-mated pairs.
pub(crate) fn operating_point(scores: &Scores, fmr: f64) -> Option<OperatingPoint> {
    let measured = everybody(scores);
    let similarity = threshold(scores, &measured, fmr)?;
    Some(OperatingPoint {
        similarity: f64::from(similarity),
        fnmr: fnmr(scores, &measured, similarity),
        interval: interval(scores, |draw| fnmr(scores, draw, threshold(scores, draw, fmr)?)),
    })
}

/// Both rates at a threshold.
pub fn at_threshold(scores: &Scores, similarity: f32) -> AtThreshold {
    let measured = everybody(scores);
    let in_tail = scores.tail.last().is_some_and(|last| last.similarity <= similarity);
    let coarse = scores.histogram.at_least(similarity) as f64 / scores.non_mated() as f64;
    AtThreshold {
        similarity: f64::from(similarity),
        fmr: if in_tail {
            fmr_in_tail(scores, &measured, similarity).unwrap_or(coarse)
        } else {
            coarse
        },
        fmr_interval: if in_tail {
            interval(scores, |draw| fmr_in_tail(scores, draw, similarity))
        } else {
            None
        },
        fnmr: fnmr(scores, &measured, similarity),
        fnmr_interval: interval(scores, |draw| fnmr(scores, draw, similarity)),
    }
}

/// The rate at which both errors are equally frequent.
pub(crate) fn equal_error_rate(scores: &Scores) -> Option<f64> {
    let (mated, all) = (&scores.mated, scores.non_mated() as f64);
    // FNMR rises and FMR falls along the mated pairs: the first place where they have crossed.
    mated.iter().enumerate().find_map(|(below, pair)| {
        let fnmr = below as f64 / mated.len() as f64;
        let fmr = at_threshold_coarse(scores, pair.similarity) / all;
        (fnmr >= fmr).then(|| f64::midpoint(fnmr, fmr))
    })
}

fn at_threshold_coarse(scores: &Scores, similarity: f32) -> f64 {
    scores.histogram.at_least(similarity) as f64
}

/// Points of the curve of FNMR over FMR, from 1 to as far as at least ten pairs go, a few for each
/// decade.
pub(crate) fn trade_off(scores: &Scores) -> Vec<(f64, f64)> {
    const PER_DECADE: i32 = 12;
    let measured = everybody(scores);
    let mut points = Vec::new();
    for step in 0..=(8 * PER_DECADE) {
        let fmr = 10_f64.powf(-f64::from(step) / f64::from(PER_DECADE));
        if fmr * (scores.non_mated() as f64) < 10.0 {
            break;
        }
        let similarity =
            threshold(scores, &measured, fmr).or_else(|| coarse_threshold(scores, fmr));
        let Some(similarity) = similarity else { continue };
        points.extend(fnmr(scores, &measured, similarity).map(|fnmr| (fmr, fnmr)));
    }
    points
}

/// From the histogram, where single pairs are not kept.
fn coarse_threshold(scores: &Scores, fmr: f64) -> Option<f32> {
    let last = scores.tail.last()?.similarity;
    let allowed = fmr * scores.non_mated() as f64;
    if allowed < scores.tail.len() as f64 {
        return None;
    }
    let (mut low, mut high) = (-1.0_f32, last);
    for _ in 0..30 {
        let middle = f32::midpoint(low, high);
        if at_threshold_coarse(scores, middle) > allowed { low = middle } else { high = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{pairing::Pairing, vectors::Vectors};

    /// People on a circle; each has two photos, the second a little further on.
    fn people(count: usize, apart: f32) -> Scores {
        let photos = Array2::from_shape_fn((2 * count, 2), |(n, axis)| {
            let angle = (n / 2) as f32 * 2.399_963 + if n % 2 == 1 { apart } else { 0.0 };
            if axis == 0 { angle.cos() } else { angle.sin() }
        });
        let persons: Vec<_> = (0..2 * count).map(|n| n / 2).collect();
        Scores::compare(&Vectors::plain(photos), &Pairing::all(persons)).unwrap()
    }

    #[test]
    fn a_threshold_lets_as_many_strangers_match_as_it_may_and_not_one_more() {
        let scores = people(200, 0.2);
        let measured = everybody(&scores);
        for rate in [1e-2, 1e-3, 1e-4] {
            let similarity = threshold(&scores, &measured, rate).unwrap();
            let count = |least: f32| {
                scores.tail.iter().filter(|pair| pair.similarity >= least).count() as f64
            };
            let allowed = rate * scores.non_mated() as f64;
            assert!(count(similarity) <= allowed);
            assert!(count(similarity.next_down()) > allowed);
        }
        assert_eq!(threshold(&scores, &measured, 1e-9), None, "fewer pairs than that");
    }

    #[test]
    fn rates_at_a_threshold_are_counted_in_the_tail_and_outside_of_it() {
        let scores = people(200, 0.2);
        let strict = at_threshold(&scores, 0.999);
        assert!(strict.fmr < TAIL_RATE && strict.fmr_interval.is_some());
        assert!(strict.fnmr_interval.is_none(), "always wrong: no draw differs");
        assert!((strict.fnmr.unwrap() - 1.0).abs() < 1e-9, "0.2 apart is a cosine of 0.98");
        let loose = at_threshold(&scores, 0.0);
        assert!((loose.fmr - 0.5).abs() < 0.02, "half of a circle: {}", loose.fmr);
        assert!(loose.fmr_interval.is_none() && loose.fnmr.unwrap().abs() < 1e-9);
    }

    const TAIL_RATE: f64 = 0.05;

    #[test]
    fn an_interval_holds_what_was_measured_and_is_narrower_with_more_people() {
        let width = |people_count| {
            let point = at_threshold(&people(people_count, 0.2), 0.9995);
            let interval = point.fmr_interval.unwrap();
            assert!(interval.low <= point.fmr && point.fmr <= interval.high, "{interval:?}");
            (interval.high - interval.low) / point.fmr
        };
        assert!(width(400) < width(50));
    }

    #[test]
    fn where_mated_pairs_are_as_far_apart_as_strangers_half_of_all_is_wrong() {
        let apart = people(300, std::f32::consts::FRAC_PI_2);
        let rate = equal_error_rate(&apart).unwrap();
        assert!((rate - 0.5).abs() < 0.02, "{rate}");
        assert!(equal_error_rate(&people(300, 0.001)).unwrap() < 0.01);
    }

    #[test]
    fn the_curve_falls_from_all_strangers_to_none() {
        let curve = trade_off(&people(300, 0.05));
        assert!(curve.len() > 30 && curve[0].1 < 1e-9);
        assert!(curve.is_sorted_by(|a, b| a.0 > b.0 && a.1 <= b.1), "{curve:?}");
    }
}

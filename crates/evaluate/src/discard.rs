//! Error versus discard: false non-matches without the worst photos.
//!
//! A measure that predicts errors brings them down fast; one that does not leaves them where they
//! were. The threshold stays where it was for all photos.

use std::collections::BTreeMap;

use serde::Serialize;
use visavis_face::quality::{QualityVerdict, ReasonCode, components};

use crate::{gallery::Gallery, rates::operating_point, scores::Scores};

/// The false match rate at which false non-matches are counted: the first that the pairs can show.
const RATES: [f64; 3] = [1e-4, 1e-3, 1e-2];
/// Shares of the photos that are left out.
const SHARES: [f64; 8] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3];
/// The share by which measures are compared.
const SHARE: f64 = 0.05;

/// How well quality predicts errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QualityMeasures {
    /// False match rate of the threshold.
    pub fmr: f64,
    /// The threshold.
    pub(crate) similarity: f64,
    /// Share of the photos that fail the limits of the configuration.
    pub failed: f64,
    /// Share of the photos by reason, those that only warn included.
    pub reasons: BTreeMap<ReasonCode, f64>,
    /// False non-matches by measure when its worst photos are left out, the most useful measure
    /// first; empty without mated pairs.
    pub measures: Vec<Discard>,
}

/// The error-versus-discard curve of one measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discard {
    /// Its name.
    pub measure: String,
    /// Pairs of share left out and FNMR.
    pub curve: Vec<(f64, f64)>,
}

impl QualityMeasures {
    /// Of the photos of a gallery; `None` where there are too few pairs for any threshold.
    pub fn new(scores: &Scores, gallery: &Gallery) -> Option<Self> {
        let (fmr, point) =
            RATES.into_iter().find_map(|fmr| Some((fmr, operating_point(scores, fmr)?)))?;
        let mut by_measure: BTreeMap<&'static str, Vec<(usize, f32)>> = BTreeMap::new();
        let mut reasons: BTreeMap<ReasonCode, f64> = BTreeMap::new();
        let photos = gallery.reports.len() as f64;
        let mut failed = 0.0;
        for (row, report) in gallery.reports.iter().enumerate() {
            for component in components(&report.quality.measures) {
                by_measure.entry(component.measure).or_default().push((row, component.score));
            }
            for reason in &report.quality.reasons {
                *reasons.entry(reason.code).or_default() += 1.0 / photos;
            }
            failed += f64::from(u8::from(report.quality.verdict == QualityVerdict::Fail)) / photos;
        }
        let mut measures: Vec<_> = by_measure
            .into_iter()
            .map(|(measure, photos)| Discard {
                measure: measure.to_owned(),
                curve: curve(scores, photos, point.similarity, gallery.reports.len()),
            })
            .filter(|discard: &Discard| !discard.curve.is_empty())
            .collect();
        measures.sort_by(|a, b| a.at(SHARE).total_cmp(&b.at(SHARE)));
        Some(Self { fmr, similarity: point.similarity, failed, reasons, measures })
    }
}

impl Discard {
    /// FNMR with this share of the photos left out.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let near =
            self.curve.iter().min_by(|a, b| (a.0 - share).abs().total_cmp(&(b.0 - share).abs()));
        near.map_or(f64::NAN, |(_, fnmr)| *fnmr)
    }
}

/// FNMR at `similarity` without the worst of the `photos`, by share left out; photos are rows of
/// `rows`.
fn curve(
    scores: &Scores,
    mut photos: Vec<(usize, f32)>,
    similarity: f64,
    rows: usize,
) -> Vec<(f64, f64)> {
    photos.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let mut rank = vec![usize::MAX; rows];
    for (n, (row, _)) in photos.iter().enumerate() {
        rank[*row] = n;
    }
    let without = |share: f64| {
        let out = share * photos.len() as f64;
        let stays = |row: usize| rank[row] as f64 >= out;
        let left = scores.mated.iter().filter(|p| stays(p.photos.0) && stays(p.photos.1));
        let (mut all, mut below) = (0_u64, 0_u64);
        for pair in left {
            all += 1;
            below += u64::from(f64::from(pair.similarity) < similarity);
        }
        (all > 0).then(|| (share, below as f64 / all as f64))
    };
    SHARES.into_iter().filter_map(without).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{pairing::Pairing, vectors::Vectors};

    /// People on a circle with four photos each, of which every fourth lies somewhere else.
    fn with_strays(people: usize) -> Scores {
        let photos = Array2::from_shape_fn((4 * people, 2), |(n, axis)| {
            let stray = if n % 4 == 3 { 0.9 } else { 0.0 };
            let angle = (n / 4) as f32 * 2.399_963 + stray;
            if axis == 0 { angle.cos() } else { angle.sin() }
        });
        let persons: Vec<_> = (0..4 * people).map(|n| n / 4).collect();
        Scores::compare(&Vectors::plain(photos), &Pairing::all(persons)).unwrap()
    }

    #[test]
    fn a_measure_that_knows_the_strays_brings_errors_to_nothing_and_one_that_does_not_leaves_them()
    {
        let scores = with_strays(60);
        let rows = 240;
        let knows = |n: usize| if n % 4 == 3 { 10.0 } else { 90.0 };
        let curve_of = |score: &dyn Fn(usize) -> f32| {
            curve(&scores, (0..rows).map(|n| (n, score(n))).collect(), 0.95, rows)
        };
        let good = curve_of(&knows);
        assert!((good[0].1 - 0.5).abs() < 1e-9, "three of six pairs: {good:?}");
        assert!(good.is_sorted_by(|a, b| a.1 >= b.1) && good.last().unwrap().1 < 1e-9);
        let blind = curve_of(&|n| (n / 4) as f32);
        assert!(blind.iter().all(|(_, fnmr)| (fnmr - 0.5).abs() < 0.01), "{blind:?}");
    }
}

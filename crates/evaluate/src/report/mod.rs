//! The result of an evaluation: as JSON, whose members `docs/EVALUATION.md` describes, and as an
//! HTML page.

mod charts;
mod numbers;
mod page;
mod quality;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use visavis_face::{
    calibration::{Calibration, score_at_decades},
    stages::{Stage, StageTimes},
};

pub use self::numbers::{percent, rate};
use crate::{
    discard::QualityMeasures,
    gallery::Gallery,
    groups::GroupRates,
    pair_type::PairType,
    rates::{
        AtThreshold, OperatingPoint, at_threshold, equal_error_rate, operating_point, trade_off,
    },
    scores::Scores,
};

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// The pack.
    pub pack: String,
    /// The calibration table that was compared with the photos.
    pub calibration: Option<String>,
    /// The kinds of photos in a pair.
    pub pair_type: PairType,
    /// Number of analysed photos.
    pub photos: usize,
    /// People with a usable face on a photo; `None` for a list of pairs.
    pub people: Option<usize>,
    /// Share of the photos without a usable face.
    pub failure_to_detect: f64,
    /// The rates of the pairs.
    #[serde(flatten)]
    pub pairs: PairMeasures,
    /// Share of right decisions on a list of pairs, in ten folds.
    pub ten_fold_accuracy: Option<f64>,
    /// The same at the configured threshold, over all pairs of the list.
    pub accuracy: Option<f64>,
    /// Pairs of the list of which a photo showed no usable face.
    pub left_out: Option<usize>,
    /// How well quality predicts errors, if that was asked for.
    pub quality: Option<QualityMeasures>,
    /// The worst groups first, at the configured threshold.
    pub groups: Vec<GroupRates>,
    /// All pairs within groups of the first column together, at the same threshold.
    pub within_groups: Option<AtThreshold>,
    /// Photos without a usable face.
    pub refused: Vec<RefusedPhoto>,
    /// Milliseconds from file to embedding, median.
    pub median_ms: f64,
    /// Milliseconds by stage on photos with a face, each the median.
    pub stage_ms: ByStage,
    /// Share of the whole time by stage.
    pub stage_share: ByStage,
}

/// A photo that gave no embedding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedPhoto {
    /// As the set names it.
    pub(crate) photo: String,
    /// Name of the reason.
    pub(crate) why: String,
}

/// What the pairs of a set or of a list came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairMeasures {
    /// Mated pairs.
    pub mated: usize,
    /// Non-mated pairs.
    pub non_mated: u64,
    /// Where both errors are equally frequent.
    pub eer: Option<f64>,
    /// What the pack's table claims, by the false match rate that it claims; empty without a table.
    pub claimed: BTreeMap<String, Claim>,
    /// What the pairs really give, by false match rate, as far as there are pairs for it.
    pub at: BTreeMap<String, OperatingPoint>,
    /// The curve of (FMR, FNMR).
    pub(crate) trade_off: Vec<(f64, f64)>,
    /// Pairs by similarity.
    pub(crate) histograms: Histograms,
}

/// A score, the false match rate that it stands for, and what was measured there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The score.
    pub score: u32,
    /// The rate.
    #[serde(skip)]
    pub(crate) fmr: f64,
    /// The table's rate for pairs within one group at this score, if it has such a part.
    pub(crate) table_within_group: Option<f64>,
    /// The measured rates at the similarity of this score.
    #[serde(flatten)]
    pub measured: AtThreshold,
}

/// Pairs by similarity from −1 to 1, in [`BARS`] equal steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Histograms {
    /// Mated pairs.
    pub(crate) mated: Vec<u64>,
    /// Non-mated pairs.
    pub(crate) non_mated: Vec<u64>,
}

/// A number for each stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ByStage([f64; Stage::ALL.len()]);

/// Bars of a histogram.
pub(crate) const BARS: usize = 128;
/// Claims that are compared with the pairs even if these are few, in decades of the false match
/// rate.
const CLAIMED: std::ops::RangeInclusive<u8> = 3..=5;
/// Rates that are reported as far as the pairs go, in decades.
const MEASURED: std::ops::RangeInclusive<u8> = 2..=6;

impl Evaluation {
    /// The part of the result that comes from the gallery.
    pub fn from_gallery(pack: &str, gallery: &Gallery, name: impl Fn(usize) -> String) -> Self {
        let refused = gallery
            .refused
            .iter()
            .map(|(photo, why)| RefusedPhoto { photo: name(*photo), why: why.name().to_owned() });
        Self {
            pack: pack.to_owned(),
            photos: gallery.len(),
            failure_to_detect: gallery.failure_rate(),
            refused: refused.collect(),
            median_ms: gallery.median.as_secs_f64() * 1e3,
            stage_ms: ByStage::medians(&gallery.times),
            stage_share: ByStage::shares(&gallery.times),
            ..Self::default()
        }
    }
}

impl PairMeasures {
    /// Measures pairs, and the claims of a table against them; `within_group` is the table's part
    /// for pairs within one group.
    pub fn new(
        scores: &Scores,
        calibration: Option<&Calibration>,
        within_group: Option<&Calibration>,
    ) -> Self {
        let claims = calibration.into_iter().flat_map(|calibration| {
            CLAIMED.map(move |decades| {
                (rate_name(decades), Claim::new(scores, calibration, within_group, decades))
            })
        });
        let points = MEASURED.filter_map(|decades| {
            Some((rate_name(decades), operating_point(scores, rate_at(decades))?))
        });
        Self {
            mated: scores.mated.len(),
            non_mated: scores.non_mated(),
            eer: equal_error_rate(scores),
            claimed: claims.collect(),
            at: points.collect(),
            trade_off: trade_off(scores),
            histograms: Histograms {
                mated: mated_histogram(scores),
                non_mated: scores.histogram.coarse(BARS),
            },
        }
    }
}

impl Claim {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "scores of whole decades are small whole numbers; similarities are single \
                  precision"
    )]
    fn new(
        scores: &Scores,
        calibration: &Calibration,
        within_group: Option<&Calibration>,
        decades: u8,
    ) -> Self {
        let exact = calibration.similarity_at(f64::from(decades));
        let similarity = exact as f32;
        Self {
            score: score_at_decades(f64::from(decades)).round() as u32,
            fmr: rate_at(decades),
            table_within_group: within_group.map(|table| table.fmr_at(exact)),
            measured: at_threshold(scores, similarity),
        }
    }

    /// How many times the claimed rate was measured.
    pub(crate) fn times(&self) -> f64 {
        self.measured.fmr / self.fmr
    }
}

fn rate_at(decades: u8) -> f64 {
    10_f64.powi(-i32::from(decades))
}

fn rate_name(decades: u8) -> String {
    format!("1e-{decades}")
}

impl ByStage {
    fn medians(times: &[StageTimes]) -> Self {
        Self(Stage::ALL.map(|stage| {
            let mut of_stage: Vec<_> = times.iter().map(|times| times.get(stage)).collect();
            of_stage.sort_unstable();
            of_stage.get(of_stage.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e3)
        }))
    }

    fn shares(times: &[StageTimes]) -> Self {
        let sums = Stage::ALL
            .map(|stage| times.iter().map(|times| times.get(stage).as_secs_f64()).sum::<f64>());
        let all = sums.iter().sum::<f64>();
        Self(sums.map(|sum| if all > 0.0 { sum / all } else { 0.0 }))
    }

    /// The number of one stage.
    pub fn get(&self, stage: Stage) -> f64 {
        self.0[stage as usize]
    }
}

impl Serialize for ByStage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Stage::ALL.map(|stage| (stage.name(), self.get(stage))))
    }
}

/// Mated pairs in the bars of a histogram.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bars")]
fn mated_histogram(scores: &Scores) -> Vec<u64> {
    let mut bars = vec![0; BARS];
    for pair in &scores.mated {
        let bar = (f32::midpoint(pair.similarity, 1.0) * BARS as f32) as usize;
        bars[bar.min(BARS - 1)] += 1;
    }
    bars
}

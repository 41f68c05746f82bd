//! Similarity to false match rate to score.
//!
//! The score states a false match rate, not a percentage of likeness: 80 means that one pair of
//! different people in 100,000 scores 80 or higher. Between the knots of a pack's table the decades
//! are interpolated monotonically (PCHIP); see [`Calibration::score`] for the scale.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use serde::{Deserialize, Serialize};

use super::similarity::Similarity;

/// The measured table of a pack, as in the manifest.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationTable {
    /// Id of the table in responses and logs.
    pub id: String,
    /// [`ResolvedPack::digest`](super::manifest::ResolvedPack::digest) of what it was measured
    /// with; empty if that is not known.
    #[serde(default)]
    pub model: String,
    /// The kinds of photos that were compared.
    #[serde(default)]
    pub pair_type: String,
    /// Non-mated pairs that were measured.
    #[serde(default)]
    pub pairs: u64,
    /// People that were measured.
    #[serde(default)]
    pub persons: u64,
    /// Whether the rates were found to be the same in bfloat16.
    #[serde(default)]
    pub bfloat16: bool,
    /// (similarity, false match rate), similarity rising and rate falling.
    pub knots: Vec<(f64, f64)>,
    /// The same for pairs within one group, where different people look more alike.
    #[serde(default)]
    pub within_group: Option<GroupTable>,
}

/// The measured table of non-mated pairs within one group of people.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GroupTable {
    /// Description of the groups.
    pub groups: String,
    /// Non-mated pairs that were measured.
    pub pairs: u64,
    /// People that were measured.
    pub persons: u64,
    /// (similarity, false match rate), similarity rising and rate falling.
    pub knots: Vec<(f64, f64)>,
}

/// The population that the false match rate applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Population {
    /// Different people picked at random, as the cloud states its rate.
    #[default]
    Mixed,
    /// Different people of one sex and region of origin: the pessimistic rate.
    WithinGroup,
}

/// A table prepared for use: similarity ↔ decades (−log₁₀ of the false match rate) ↔ score.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    id: String,
    /// Similarity, decades, slope in decades per unit of similarity.
    knots: Vec<(f64, f64, f64)>,
}

/// Score where the false match rate is 1.
const SCORE_AT_ZERO_DECADES: f64 = 30.0;
/// Score per factor of ten in the false match rate.
const SCORE_PER_DECADE: f64 = 10.0;
/// Where the straight scale begins and ends, in decades.
const STRAIGHT: (f64, f64) = (1.0, 6.0);
/// Score at similarity −1, just above the open end of the scale.
const LOWEST: f64 = 0.01;

impl Calibration {
    /// Prepares the part of a table for one population.
    ///
    /// # Errors
    /// A sentence with the rule that the table breaks: it has that part, at least two knots,
    /// similarities strictly rising inside (−1, 1), rates strictly falling inside (0, 1).
    pub fn new(table: &CalibrationTable, population: Population) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("calibration table `{}`: {why}", table.id));
        let knots = match (population, &table.within_group) {
            (Population::Mixed, _) => &table.knots,
            (Population::WithinGroup, Some(within)) => &within.knots,
            (Population::WithinGroup, None) => {
                return wrong(
                    "has no part for people of one group: set compare.population = \"mixed\"",
                );
            }
        };
        if knots.len() < 2 {
            return wrong("at least two knots are needed");
        }
        if knots.iter().any(|&(s, fmr)| !(-1.0 < s && s < 1.0 && 0.0 < fmr && fmr < 1.0)) {
            return wrong("similarities must lie in (-1, 1) and rates in (0, 1)");
        }
        if knots.windows(2).any(|w| w[0].0 >= w[1].0 || w[0].1 <= w[1].1) {
            return wrong("similarities must rise and rates must fall from knot to knot");
        }
        let points: Vec<_> = knots.iter().map(|&(s, fmr)| (s, -fmr.log10())).collect();
        let slopes = pchip_slopes(&points);
        let knots = points.iter().zip(slopes).map(|(&(s, d), slope)| (s, d, slope)).collect();
        let id = match population {
            Population::Mixed => table.id.clone(),
            Population::WithinGroup => format!("{}-within-group", table.id),
        };
        Ok(Self { id, knots })
    }

    /// Id of the table.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// −log₁₀ of the rate at which different people are at least this similar; extrapolated
    /// linearly beyond the knots.
    pub fn decades(&self, similarity: Similarity) -> f64 {
        self.decades_at(f64::from(similarity.value()))
    }

    /// The same of a similarity in double precision.
    pub(crate) fn decades_at(&self, x: f64) -> f64 {
        let after = self.knots.partition_point(|knot| knot.0 <= x);
        let (first, last) = (self.knots[0], self.knots[self.knots.len() - 1]);
        match after {
            0 => first.1 + first.2 * (x - first.0),
            n if n == self.knots.len() => last.1 + last.2 * (x - last.0),
            n => hermite(self.knots[n - 1], self.knots[n], x),
        }
    }

    /// The score, strictly inside (0, 100) and strictly rising with the similarity:
    /// 30 + 10 · decades from FMR 1e-1 (40) to 1e-6 (90); below, a straight line to just above 0 at
    /// similarity −1; above, an exponential approach to 100 that starts with the same slope.
    pub fn score(&self, similarity: Similarity) -> f64 {
        let x = f64::from(similarity.value());
        let decades = self.decades(similarity);
        if decades < STRAIGHT.0 {
            let from = self.similarity_at(STRAIGHT.0);
            let top = score_at_decades(STRAIGHT.0);
            LOWEST + (top - LOWEST) * (x + 1.0) / (from + 1.0)
        } else if decades <= STRAIGHT.1 {
            score_at_decades(decades)
        } else {
            let from = self.similarity_at(STRAIGHT.1);
            let room = 100.0 - score_at_decades(STRAIGHT.1);
            let slope = SCORE_PER_DECADE * self.slope_at(from);
            100.0 - room * (-slope / room * (x - from)).exp()
        }
    }

    /// The rate at which different people are at least this similar.
    pub fn fmr_at(&self, similarity: f64) -> f64 {
        10_f64.powf(-self.decades_at(similarity))
    }

    /// The least similarity with at least that many decades, by bisection.
    pub fn similarity_at(&self, decades: f64) -> f64 {
        let (mut low, mut high) = (-1.0_f64, 1.0_f64);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if self.decades(Similarity::clamped(middle as f32)) < decades {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    fn slope_at(&self, x: f64) -> f64 {
        let step = 1e-3;
        let at = |x: f64| self.decades(Similarity::clamped(x as f32));
        (at(x + step) - at(x - step)) / (2.0 * step)
    }
}

/// Score on the straight part of the scale.
pub fn score_at_decades(decades: f64) -> f64 {
    SCORE_AT_ZERO_DECADES + SCORE_PER_DECADE * decades
}

/// Fritsch–Carlson slopes: harmonic means inside, one-sided secants at the ends, so that the
/// interpolant never turns back.
fn pchip_slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let secants: Vec<f64> =
        points.windows(2).map(|w| (w[1].1 - w[0].1) / (w[1].0 - w[0].0)).collect();
    let inner = secants.windows(2).zip(points.windows(3)).map(|(d, p)| {
        let (h0, h1) = (p[1].0 - p[0].0, p[2].0 - p[1].0);
        let (w0, w1) = (2.0 * h1 + h0, h1 + 2.0 * h0);
        (w0 + w1) / (w0 / d[0] + w1 / d[1])
    });
    std::iter::once(secants[0]).chain(inner).chain(secants.last().copied()).collect()
}

fn hermite(a: (f64, f64, f64), b: (f64, f64, f64), x: f64) -> f64 {
    let h = b.0 - a.0;
    let t = (x - a.0) / h;
    let (t2, t3) = (t * t, t * t * t);
    (2.0 * t3 - 3.0 * t2 + 1.0) * a.1
        + (t3 - 2.0 * t2 + t) * h * a.2
        + (3.0 * t2 - 2.0 * t3) * b.1
        + (t3 - t2) * h * b.2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn omz() -> Calibration {
        let knots = vec![(0.247, 1e-2), (0.348, 1e-3), (0.432, 1e-4), (0.508, 1e-5), (0.575, 1e-6)];
        Calibration::new(
            &CalibrationTable { id: "t".into(), knots, ..Default::default() },
            Population::Mixed,
        )
        .unwrap()
    }

    fn score(x: f32) -> f64 {
        omz().score(Similarity::clamped(x))
    }

    #[test]
    fn the_knots_lie_on_the_documented_scale() {
        for (similarity, expected) in
            [(0.247, 50.0), (0.348, 60.0), (0.432, 70.0), (0.508, 80.0), (0.575, 90.0)]
        {
            assert!((score(similarity) - expected).abs() < 1e-3, "{similarity}");
        }
    }

    #[test]
    fn the_score_rises_strictly_and_stays_inside_the_open_interval() {
        let scores: Vec<f64> = (-1000..=1000).map(|i| score(i as f32 / 1000.0)).collect();
        assert!(scores.windows(2).all(|w| w[0] < w[1]));
        assert!(scores[0] > 0.0 && *scores.last().unwrap() < 100.0);
    }

    #[test]
    fn the_scale_has_no_step_where_its_pieces_meet() {
        let c = omz();
        for decades in [STRAIGHT.0, STRAIGHT.1] {
            let at = c.similarity_at(decades) as f32;
            assert!((score(at + 1e-4) - score(at - 1e-4)).abs() < 0.1, "{decades}");
        }
    }

    #[test]
    fn a_table_that_turns_back_is_refused() {
        let table = |knots| CalibrationTable { id: "t".into(), knots, ..Default::default() };
        assert!(
            Calibration::new(&table(vec![(0.3, 1e-2), (0.2, 1e-3)]), Population::Mixed).is_err()
        );
        assert!(
            Calibration::new(&table(vec![(0.2, 1e-3), (0.3, 1e-2)]), Population::Mixed).is_err()
        );
        assert!(Calibration::new(&table(vec![(0.2, 1e-3)]), Population::Mixed).is_err());
    }

    #[test]
    fn among_people_of_one_group_the_same_similarity_has_a_lower_score() {
        let mixed = vec![(0.25, 1e-2), (0.5, 1e-5)];
        let within = GroupTable { knots: vec![(0.35, 1e-2), (0.65, 1e-5)], ..Default::default() };
        let mut table = CalibrationTable { id: "t".into(), knots: mixed, ..Default::default() };
        let refused = Calibration::new(&table, Population::WithinGroup).unwrap_err();
        assert!(refused.contains("compare.population"), "{refused}");
        table.within_group = Some(within);
        let of = |population| Calibration::new(&table, population).unwrap();
        let (all, group) = (of(Population::Mixed), of(Population::WithinGroup));
        assert_eq!((all.id(), group.id()), ("t", "t-within-group"));
        let similarity = Similarity::clamped(0.5);
        assert!((all.score(similarity) - 80.0).abs() < 1e-3);
        assert!(group.score(similarity) < 70.0);
    }
}

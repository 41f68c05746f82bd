//! Bootstrap intervals over people. Pairs that share a person are not independent, so people are
//! drawn, with replacement, and every pair counts as often as both of its people were
//! drawn.

use crate::scores::{NonMated, Scores};

/// How often each person was drawn, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draw(Vec<u32>);

/// Number of draws for an interval.
pub(crate) const DRAWS: u64 = 200;

/// An interval that contains the middle 95 % of the draws.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Draw {
    /// Every person once: the measured data.
    pub(crate) fn everybody(persons: usize) -> Self {
        Self(vec![1; persons])
    }

    /// Draw number `seed`; the same for the same number.
    pub(crate) fn number(seed: u64, photos_of: &[u32]) -> Self {
        let present: Vec<usize> = (0..photos_of.len()).filter(|n| photos_of[*n] > 0).collect();
        let mut drawn = vec![0; photos_of.len()];
        let mut state = seed;
        for _ in &present {
            drawn[present[below(&mut state, present.len())]] += 1;
        }
        Self(drawn)
    }

    /// How often a person was drawn.
    pub(crate) fn weight(&self, person: usize) -> u64 {
        u64::from(self.0[person])
    }

    /// How often a pair of two people counts.
    pub(crate) fn pairs_of(&self, pair: &NonMated) -> u64 {
        self.weight(pair.persons.0) * self.weight(pair.persons.1)
    }

    /// How many non-mated pairs the draw has.
    pub(crate) fn non_mated(&self, scores: &Scores) -> u64 {
        if scores.counts.listed {
            return scores.tail.iter().map(|pair| self.pairs_of(pair)).sum();
        }
        scores.counts.non_mated(|person| self.weight(person))
    }
}

/// A number below `limit`, from `SplitMix64`.
#[expect(clippy::cast_possible_truncation, reason = "less than the limit")]
fn below(state: &mut u64, limit: usize) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * limit as u128) >> 64) as usize
}

/// The interval of a statistic over the draws; `None` if a tenth of them have no value for it, or
/// if all have the same one: without any error in the data, the upper end of its rate is
/// unknown.
pub(crate) fn interval(
    scores: &Scores,
    statistic: impl Fn(&Draw) -> Option<f64>,
) -> Option<Interval> {
    let draws = (1..=DRAWS).map(|seed| Draw::number(seed, &scores.counts.photos_of));
    let mut values: Vec<f64> = draws.filter_map(|draw| statistic(&draw)).collect();
    if (values.len() as u64) < DRAWS - DRAWS / 10 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let cut = values.len() / 40;
    let (low, high) = (values[cut], values[values.len() - 1 - cut]);
    (low < high).then_some(Interval { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_has_as_many_people_as_there_are_and_differs_from_the_next_one() {
        let photos_of = [2, 0, 3, 1, 4];
        let (one, other) = (Draw::number(1, &photos_of), Draw::number(2, &photos_of));
        for draw in [&one, &other] {
            assert_eq!(draw.0.iter().sum::<u32>(), 4);
            assert_eq!(draw.0[1], 0, "who has no photo is not drawn");
        }
        assert_ne!(one, other);
        assert_eq!(one, Draw::number(1, &photos_of));
    }

    #[test]
    fn people_are_drawn_evenly() {
        let photos_of = vec![1; 50];
        let mut counts = vec![0_u64; 50];
        for seed in 0..2_000 {
            let draw = Draw::number(seed, &photos_of);
            (0..50).for_each(|person| counts[person] += draw.weight(person));
        }
        assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    }
}

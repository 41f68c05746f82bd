//! The number on the wire.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "hundredths are clamped to 1..=9999 before the cast"
)]

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decision::Decision;

/// A score as it is printed: at most two decimals, strictly between 0 and 100.
///
/// Kept in hundredths, so that it is written in the shortest form without an artefact of binary
/// fractions: `88`, `88.2`, `88.25`, never `88.0`, which JavaScript clients print back differently
/// and then fail to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(u16);

impl Score {
    /// Rounds an exact score so that it never contradicts the decision: a non-match is printed
    /// below the threshold and a match at or above it.
    pub(crate) fn printed(exact: f64, threshold: f64, decision: Decision) -> Self {
        let rounded = hundredths((exact * 100.0).round());
        let Self(first_match) = Self::least_match(threshold);
        Self(match decision {
            Decision::Match => rounded.max(first_match),
            Decision::NonMatch => rounded.min(first_match.saturating_sub(1).max(1)),
        })
    }

    /// The threshold as it is printed: the least score that a match can have.
    pub(crate) fn least_match(threshold: f64) -> Self {
        Self(hundredths((threshold * 100.0 - 1e-6).ceil()))
    }

    /// The score, 0.01 to 99.99.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

fn hundredths(value: f64) -> u16 {
    value.clamp(1.0, 9_999.0) as u16
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 100 {
            0 => serializer.serialize_u16(self.0 / 100),
            _ => serializer.serialize_f64(self.value()),
        }
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Ok(Self((value * 100.0).round().clamp(1.0, 9_999.0) as u16))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(exact: f64, decision: Decision) -> String {
        serde_json::to_string(&Score::printed(exact, 80.0, decision)).unwrap()
    }

    #[test]
    fn a_score_is_printed_in_the_shortest_form() {
        assert_eq!(text(88.0, Decision::Match), "88");
        assert_eq!(text(88.2, Decision::Match), "88.2");
        assert_eq!(text(88.254_9, Decision::Match), "88.25");
        assert_eq!(text(0.07, Decision::NonMatch), "0.07");
    }

    #[test]
    fn a_printed_score_never_contradicts_the_decision() {
        assert_eq!(text(79.999, Decision::NonMatch), "79.99");
        assert_eq!(text(80.0, Decision::Match), "80");
        assert_eq!(text(0.0, Decision::NonMatch), "0.01");
        assert_eq!(text(100.0, Decision::Match), "99.99");
    }

    proptest! {
        #[test]
        fn every_score_is_inside_the_interval_on_its_side_and_reads_back(exact in -1.0_f64..101.0, threshold in 1.0_f64..99.0) {
            let decision = if exact >= threshold { Decision::Match } else { Decision::NonMatch };
            let score = Score::printed(exact, threshold, decision);
            prop_assert!(score.value() > 0.0 && score.value() < 100.0);
            prop_assert_eq!(score.value() >= threshold - 1e-9, decision == Decision::Match);
            prop_assert_eq!(score >= Score::least_match(threshold), decision == Decision::Match);
            let json = serde_json::to_string(&score).unwrap();
            let mut buffer = ryu_js::Buffer::new();
            prop_assert_eq!(json.as_str(), buffer.format(score.value()));
            prop_assert_eq!(serde_json::from_str::<Score>(&json).unwrap(), score);
        }
    }
}

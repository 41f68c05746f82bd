//! What becomes of a photo that shows several people.
//!
//! It is fixed when a request is accepted and stored with it, so that workers apply what the client
//! had then.

use serde::{Deserialize, Serialize};
use visavis_face::quality::{Quality, QualityVerdict, ReasonCode};

/// What to do with a photo that has the warning `SEVERAL_FACES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeveralFaces {
    /// Compare the largest face; the warning stays.
    #[default]
    Largest,
    /// The photo fails the quality check.
    Refuse,
}

impl SeveralFaces {
    /// As it is written in settings.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "largest" => Some(Self::Largest),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }

    /// Whether it is the default, which is not stored with a request.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_largest(&self) -> bool {
        *self == Self::Largest
    }

    pub(super) fn apply(self, quality: &mut Quality) {
        if self == Self::Largest {
            return;
        }
        for reason in &mut quality.reasons {
            if reason.code == ReasonCode::SeveralFaces {
                reason.fails = true;
                quality.verdict = QualityVerdict::Fail;
            }
        }
        quality.reasons.sort_by_key(|reason| !reason.fails);
    }
}

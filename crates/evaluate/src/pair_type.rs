//! The kinds of photos in a pair.

use serde::{Serialize, Serializer};

/// Which kinds of photos are compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairType {
    /// Selfies with each other.
    #[default]
    SelfieSelfie,
    /// Selfies with documents, and neither with each other.
    SelfieDocument,
}

impl PairType {
    /// Its name in tables and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfieSelfie => "selfie-selfie",
            Self::SelfieDocument => "selfie-document",
        }
    }
}

impl Serialize for PairType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Two numbers, the lower one first.
pub(super) fn ordered(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

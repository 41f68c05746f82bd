//! The decision on two faces.

use serde::{Deserialize, Serialize};

/// One person or two?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// At or above the threshold.
    Match,
    /// Below it.
    NonMatch,
}

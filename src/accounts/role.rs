//! What a person may do.

use serde::{Deserialize, Serialize};

/// A role; each has the rights of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also compares, and changes clients.
    Operator,
    /// Also manages users and sessions.
    Administrator,
}

impl Role {
    /// The name, as it is stored and shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }

    /// The role with a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Administrator]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

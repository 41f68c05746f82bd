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

/// The groups, of an authenticating proxy or a provider, whose members have each role.
#[derive(Debug, Clone, Default)]
pub struct RoleGroups {
    /// Groups of viewers.
    pub viewer: Vec<String>,
    /// Groups of operators.
    pub operator: Vec<String>,
    /// Groups of administrators.
    pub administrator: Vec<String>,
}

impl RoleGroups {
    /// Those of `groups` that have a role.
    pub(crate) fn known(&self, groups: Vec<String>) -> Vec<String> {
        let is_known =
            |group: &String| self.highest_first().iter().any(|(_, all)| all.contains(group));
        groups.into_iter().filter(is_known).collect()
    }

    /// The highest role of someone in these groups.
    pub(crate) fn role<T: AsRef<str>>(&self, groups: &[T]) -> Option<Role> {
        let has = |wanted: &[String]| groups.iter().any(|g| wanted.iter().any(|w| w == g.as_ref()));
        self.highest_first().into_iter().find(|(_, wanted)| has(wanted)).map(|(role, _)| role)
    }

    fn highest_first(&self) -> [(Role, &[String]); 3] {
        [
            (Role::Administrator, &self.administrator),
            (Role::Operator, &self.operator),
            (Role::Viewer, &self.viewer),
        ]
    }
}

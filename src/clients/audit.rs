//! Who did what: every act of an operator on clients, keys and transactions leaves a row that no command
//! deletes. What is done to a client is kept in the transaction that does it; an erasure and a change of the master
//! key, which take longer than a transaction may, before they begin.

use serde::Serialize;

use crate::clock::UnixMillis;

/// Who acts, for the log of acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(std::sync::Arc<str>);

impl Actor {
    /// The longest name that is kept, in characters.
    const LONGEST: usize = 64;

    /// By name: a user of the system, the console. Long names are cut.
    pub fn new(name: &str) -> Self {
        let printable = name.chars().filter(|c| !c.is_control());
        Self(printable.take(Self::LONGEST).collect::<String>().into())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// An act that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Milliseconds since the epoch.
    pub at: UnixMillis,
    /// Who did it.
    pub actor: String,
    /// What: `client add`, `erase` …
    pub act: String,
    /// To whom or what.
    pub subject: String,
    /// What was changed, as JSON; no key and no secret.
    pub detail: String,
}

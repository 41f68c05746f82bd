//! Audit events: every change that an operator makes to clients, keys and transactions leaves a row
//! that no command deletes. A change of a client is recorded in its own transaction; an erasure and
//! a rotation of the master key, which may take longer than a transaction, before they begin.

use serde::Serialize;

use crate::clock::UnixMillis;

/// Who makes changes, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(std::sync::Arc<str>);

impl Actor {
    const MAX_NAME_CHARS: usize = 64;

    /// A user of the system, or the console. Long names are truncated.
    pub(crate) fn new(name: &str) -> Self {
        let printable = name.chars().filter(|c| !c.is_control());
        Self(printable.take(Self::MAX_NAME_CHARS).collect::<String>().into())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// An audit event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Milliseconds since the epoch.
    pub(crate) at: UnixMillis,
    /// Who did it.
    pub actor: String,
    /// What was done: `client add`, `erase` …
    pub act: String,
    /// To which client, transaction or key.
    pub(crate) subject: String,
    /// What was changed, as JSON; no key and no secret.
    pub(crate) detail: String,
}

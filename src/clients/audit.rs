//! Audit events: every change that an operator makes to clients, keys and transactions leaves a row
//! that no command deletes. A change of a client is recorded in its own transaction, and one that
//! was not made after it. An act that may take longer than a transaction, such as an erasure or a
//! rotation of the master key, has two entries: one before it begins, and one with its outcome.

use std::net::IpAddr;

use serde::Serialize;

use crate::clock::UnixMillis;

/// Who makes changes, from where, and what proved it; for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: std::sync::Arc<str>,
    from: Option<IpAddr>,
    /// `None` for a client, which proves each request with its keys.
    proof: Option<Proof>,
}

/// What proved who an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The token of the console.
    Token,
    /// A password.
    Password,
    /// A password and a one-time code.
    PasswordAndCode,
    /// A login at an `OpenID` provider.
    OpenIdConnect,
    /// A header of a trusted proxy.
    ProxyHeader,
    /// The user of the operating system who runs the command.
    System,
}

impl Proof {
    const ALL: [Self; 6] = [
        Self::Token,
        Self::Password,
        Self::PasswordAndCode,
        Self::OpenIdConnect,
        Self::ProxyHeader,
        Self::System,
    ];

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.as_str() == text)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
            Self::PasswordAndCode => "password-and-code",
            Self::OpenIdConnect => "openid-connect",
            Self::ProxyHeader => "proxy-header",
            Self::System => "system",
        }
    }
}

/// What came of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActOutcome {
    /// It begins; an entry with its outcome follows, unless the process is killed.
    Begun,
    /// It was done.
    Done,
    /// It was not done, because it is not allowed now.
    Refused,
    /// It was not done, or only in part, because something failed.
    Failed,
}

impl ActOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Actor {
    const MAX_NAME_CHARS: usize = 64;

    /// An account of the console, or the console itself. Long names are truncated.
    pub(crate) fn console(name: &str, from: Option<IpAddr>, proof: Proof) -> Self {
        Self::new(name, from, Some(proof))
    }

    /// Someone who has not proven to be who they say.
    pub(crate) fn unproven(name: &str, from: Option<IpAddr>) -> Self {
        Self::new(name, from, None)
    }

    /// A user of the operating system. Long names are truncated.
    pub(crate) fn system(name: &str) -> Self {
        Self::new(name, None, Some(Proof::System))
    }

    /// A client of the API.
    pub(super) fn client(client_id: &str, from: Option<IpAddr>) -> Self {
        Self::new(&format!("client {client_id}"), from, None)
    }

    fn new(name: &str, from: Option<IpAddr>, proof: Option<Proof>) -> Self {
        let printable = name.chars().filter(|c| !c.is_control());
        let name = printable.take(Self::MAX_NAME_CHARS).collect::<String>().into();
        Self { name, from, proof }
    }

    /// The entry for an act of this actor.
    pub(super) fn entry(
        &self,
        at: UnixMillis,
        (act, subject): (&str, &str),
        outcome: ActOutcome,
        detail: String,
    ) -> AuditEntry {
        AuditEntry {
            at,
            actor: self.name.as_ref().to_owned(),
            from: self.from.map(|from| from.to_string()),
            proof: self.proof.map(|proof| proof.as_str().to_owned()),
            act: act.to_owned(),
            subject: subject.to_owned(),
            outcome: Some(outcome.as_str().to_owned()),
            detail,
        }
    }
}

/// An audit event. Entries of earlier versions have no address, proof and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Milliseconds since the epoch.
    pub(crate) at: UnixMillis,
    /// Who did it.
    pub actor: String,
    /// The network address of the actor.
    pub from: Option<String>,
    /// What proved who the actor is: `token`, `system` …
    pub proof: Option<String>,
    /// What was done: `client add`, `erase` …
    pub act: String,
    /// To which client, transaction or key.
    pub(crate) subject: String,
    /// `begun`, `done`, `refused` or `failed`.
    pub outcome: Option<String>,
    /// What was changed, as JSON; no key and no secret.
    #[serde(skip)]
    pub detail: String,
}

impl AuditEntry {
    /// The same act with another outcome.
    pub(super) fn with_outcome(&self, outcome: ActOutcome) -> Self {
        Self { outcome: Some(outcome.as_str().to_owned()), ..self.clone() }
    }
}

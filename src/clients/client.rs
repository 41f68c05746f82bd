//! Clients as values: new, changed, and stored ones.

use std::sync::Arc;

use super::{
    keys::{KeySet, NewKeys},
    policy::{ClientPolicy, PolicyChange},
};
use crate::{
    clock::UnixMillis,
    compare::{ClientFmr, Fmr},
};

/// A new client.
#[derive(Debug)]
pub struct NewClient<'a> {
    /// The Client-Id header.
    pub client_id: &'a str,
    /// Its name, given by the operator.
    pub name: &'a str,
    /// Its first keys.
    pub keys: NewKeys<'a>,
    /// Whether responses have fields beyond the documented ones.
    pub extras: bool,
    /// Its false match rates, which set its thresholds.
    pub fmr: ClientFmr,
    /// Its policy.
    pub policy: ClientPolicy,
}

/// A change of a client; `None` keeps a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientChange {
    /// Whether responses have fields beyond the documented ones.
    pub extras: Option<bool>,
    /// Its false match rate, which sets its threshold.
    pub fmr: Option<FmrChange>,
    /// The false match rate for portraits on documents.
    pub document_fmr: Option<FmrChange>,
    /// Its policy.
    pub policy: PolicyChange,
}

/// A change of a client's false match rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FmrChange {
    /// The client uses the settings of the installation.
    Default,
    /// The client has this rate.
    Own(Fmr),
}

/// A client without its keys, for operators.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// The Client-Id header.
    pub client_id: String,
    /// Its name, given by the operator.
    pub(crate) name: String,
    /// Its current access key for AK/SK mode.
    pub(crate) access_key: String,
    /// The version of its current keys.
    pub key_version: u32,
    /// Whether responses have fields beyond the documented ones.
    pub(crate) extras: bool,
    /// Its own false match rates.
    #[serde(flatten)]
    pub fmr: ClientFmr,
    /// Its policy.
    #[serde(flatten)]
    pub(crate) policy: ClientPolicy,
    /// Milliseconds since the epoch.
    pub created_at: UnixMillis,
    /// When it was disabled.
    pub disabled_at: Option<UnixMillis>,
    /// When it last used the API, to a minute.
    pub last_used_at: Option<UnixMillis>,
    /// Comparisons of today, UTC. Only those of clients with a quota are counted.
    pub comparisons_today: i64,
}

/// A client with its keys opened.
#[derive(Debug)]
pub struct StoredClient {
    /// Its name, given by the operator.
    pub name: String,
    /// Changes with every change of the client.
    pub revision: i64,
    /// Its keys, newest first; at least one.
    pub keys: Vec<Arc<KeySet>>,
    /// Whether responses have fields beyond the documented ones.
    pub extras: bool,
    /// Its false match rates, which set its thresholds.
    pub fmr: ClientFmr,
    /// Its policy.
    pub policy: ClientPolicy,
    /// Whether it is disabled.
    pub disabled: bool,
}

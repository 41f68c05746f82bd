//! Clients as values: to be registered, to be changed, as they are stored.

use std::sync::Arc;

use super::{
    keys::{KeySet, NewKeys},
    terms::{ClientTerms, TermsChange},
};
use crate::{
    clock::UnixMillis,
    compare::{ClientFmr, Fmr},
};

/// A client to be registered.
#[derive(Debug)]
pub struct NewClient<'a> {
    /// The Client-Id header.
    pub client_id: &'a str,
    /// What the operator calls it.
    pub name: &'a str,
    /// Its first keys.
    pub keys: NewKeys<'a>,
    /// Whether answers carry fields beyond the documented ones.
    pub extras: bool,
    /// The false match rates at which its decisions turn.
    pub fmr: ClientFmr,
    /// What it may do.
    pub terms: ClientTerms,
}

/// What is to change about a client; the rest stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientChange {
    /// Whether answers carry fields beyond the documented ones.
    pub extras: Option<bool>,
    /// The false match rate at which its decisions turn.
    pub fmr: Option<FmrChange>,
    /// The one for portraits on documents.
    pub document_fmr: Option<FmrChange>,
    /// What it may do.
    pub terms: TermsChange,
}

/// What becomes of a client's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FmrChange {
    /// It has none of its own any more: the settings of the installation count.
    Default,
    /// It has this one.
    Own(Fmr),
}

/// A client without its keys, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// The Client-Id header.
    pub client_id: String,
    /// What the operator calls it.
    pub name: String,
    /// Its current access key for AK/SK mode.
    pub access_key: String,
    /// The version of its current keys.
    pub key_version: u32,
    /// Whether answers carry fields beyond the documented ones.
    pub extras: bool,
    /// The false match rates of its own.
    #[serde(flatten)]
    pub fmr: ClientFmr,
    /// What it may do.
    #[serde(flatten)]
    pub terms: ClientTerms,
    /// Milliseconds since the epoch.
    pub created_at: UnixMillis,
    /// Since when it may not call any more.
    pub disabled_at: Option<UnixMillis>,
}

/// A client with its keys opened.
#[derive(Debug)]
pub struct StoredClient {
    /// What the operator calls it.
    pub name: String,
    /// Changes with every change of the client.
    pub revision: i64,
    /// Its keys, newest first; at least one.
    pub keys: Vec<Arc<KeySet>>,
    /// Whether answers carry fields beyond the documented ones.
    pub extras: bool,
    /// The false match rates at which its decisions turn.
    pub fmr: ClientFmr,
    /// What it may do.
    pub terms: ClientTerms,
    /// Whether it may not call any more.
    pub disabled: bool,
}

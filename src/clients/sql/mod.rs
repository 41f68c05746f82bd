//! The statements of the client table and of the log of acts. One text serves both databases, so the functions
//! are written once and made for each.

mod acts;
mod chain;
mod clients;
mod expired;
mod rows;

pub(super) use self::{
    acts::{postgres as postgres_acts, sqlite as sqlite_acts},
    chain::{postgres as postgres_chain, sqlite as sqlite_chain},
    clients::{postgres, sqlite},
    expired::{postgres as postgres_expired, sqlite as sqlite_expired},
    rows::{postgres as postgres_rows, sqlite as sqlite_rows},
};

use sqlx::Error;

use super::{keys::SealedKeys, terms::ClientTerms};
use crate::{
    clock::UnixMillis,
    compare::{ClientFmr, Fmr},
};

/// A client to be inserted.
pub(super) struct NewRow<'a> {
    pub(super) client_id: &'a str,
    pub(super) name: &'a str,
    pub(super) extras: bool,
    pub(super) fmr: ClientFmr,
    /// As JSON.
    pub(super) terms: Option<String>,
}

/// What is to become of some columns of a client; the others stay as they are.
pub(super) struct ChangedRow {
    pub(super) extras: Option<bool>,
    pub(super) fmr: Changed,
    pub(super) document_fmr: Changed,
    /// As JSON, and the revision of the client that they were made from.
    pub(super) terms: Option<(String, i64)>,
}

/// A column that may be null.
#[derive(Clone, Copy, Default)]
pub(super) struct Changed {
    /// Otherwise it stays as it is.
    pub(super) is: bool,
    pub(super) to: Option<f64>,
}

/// A client as it is stored, and one of its key sets.
pub(super) struct ClientRow {
    pub(super) client_id: String,
    pub(super) name: String,
    pub(super) revision: i64,
    pub(super) extras: bool,
    pub(super) fmr: Option<f64>,
    pub(super) document_fmr: Option<f64>,
    /// As JSON.
    pub(super) terms: Option<String>,
    pub(super) disabled_at: Option<UnixMillis>,
    pub(super) mac: Option<Vec<u8>>,
    pub(super) keys: SealedKeys,
}

/// What a change found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The client as Visavis stored it.
    Client,
    /// A client that was changed by somebody without the master key.
    Tampered,
    /// No such client, or not at that revision.
    Nothing,
}

/// The rates of a client, if decisions can be made at them.
pub(super) fn parse_fmr(all: Option<f64>, documents: Option<f64>) -> Result<ClientFmr, Error> {
    let fmr =
        |rate: Option<f64>| rate.map(Fmr::new).transpose().map_err(|e| Error::Decode(e.into()));
    Ok(ClientFmr { fmr: fmr(all)?, document_fmr: fmr(documents)? })
}

/// The terms of a client out of their JSON.
pub(super) fn parse_terms(text: Option<&str>) -> Result<ClientTerms, Error> {
    let terms = text.map(serde_json::from_str).transpose();
    terms.map(Option::unwrap_or_default).map_err(|e| Error::Decode(e.into()))
}

/// Runs the statement of that name where the clients are; `SQLite` reads and writes through different
/// connections.
macro_rules! on {
    ($store:expr, $sqlite:ident, $postgres:ident, $connections:ident, $function:ident ( $($argument:expr),* )) => {
        match &$store.db {
            Db::Sqlite(db) => $sqlite::$function(db.$connections.clone(), $($argument),*).await,
            Db::Postgres(db) => {
                let called = db.retrying(|pool, _| $postgres::$function(pool, $($argument),*));
                tracing::Instrument::instrument(called, $crate::db::statement_span(stringify!($function))).await
            }
        }
    };
}

/// The same for what must not be done twice: whether it was done the first time would not be known.
macro_rules! once {
    ($store:expr, $sqlite:ident, $postgres:ident, $function:ident ( $($argument:expr),* )) => {
        match &$store.db {
            Db::Sqlite(db) => $sqlite::$function(db.writer.clone(), $($argument),*).await,
            Db::Postgres(db) => {
                let called = db.once(|pool| $postgres::$function(pool, $($argument),*));
                tracing::Instrument::instrument(called, $crate::db::statement_span(stringify!($function))).await
            }
        }
    };
}

pub(super) use {on, once};

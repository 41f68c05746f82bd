//! A client as it is stored.

use sqlx::Error;

use super::{keys::SealedKeys, policy::ClientPolicy};
use crate::{
    clock::UnixMillis,
    compare::{ClientFmr, Fmr},
    db::{Row, Transaction},
};

/// Reads a client, a row for each key set, newest first.
pub(super) const GET: &str = "\
    SELECT client_id, name, revision, extras, fmr, document_fmr, terms, disabled_at, mac,
        client_key.version AS version, merchant_key, server_key, access_key, secret_key, expires_at
    FROM client JOIN client_key USING (client_id)
    WHERE client_id = $1 ORDER BY client_key.version DESC";

/// A client as it is stored, and one of its key sets.
pub(super) struct ClientRow {
    pub(super) client_id: String,
    pub(super) name: String,
    pub(super) revision: i64,
    pub(super) extras: bool,
    pub(super) fmr: Option<f64>,
    pub(super) document_fmr: Option<f64>,
    /// As JSON.
    pub(super) policy: Option<String>,
    pub(super) disabled_at: Option<UnixMillis>,
    pub(super) mac: Option<Vec<u8>>,
    pub(super) keys: SealedKeys,
}

impl ClientRow {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            client_id: row.get("client_id")?,
            name: row.get("name")?,
            revision: row.get("revision")?,
            extras: row.get("extras")?,
            fmr: row.get("fmr")?,
            document_fmr: row.get("document_fmr")?,
            policy: row.get("terms")?,
            disabled_at: row.get("disabled_at")?,
            mac: row.get("mac")?,
            keys: SealedKeys {
                version: parse_version(row)?,
                merchant_key: row.get("merchant_key")?,
                server_key: row.get("server_key")?,
                access_key: row.get("access_key")?,
                secret_key: row.get("secret_key")?,
                expires_at: row.get("expires_at")?,
            },
        })
    }
}

/// The version of a key set.
pub(super) fn parse_version(row: &Row) -> Result<u32, Error> {
    u32::try_from(row.get::<i64>("version")?).map_err(|e| Error::Decode(e.into()))
}

/// The rates of a client, if they are in range.
pub(super) fn parse_fmr(all: Option<f64>, documents: Option<f64>) -> Result<ClientFmr, Error> {
    let fmr =
        |rate: Option<f64>| rate.map(Fmr::new).transpose().map_err(|e| Error::Decode(e.into()));
    Ok(ClientFmr { fmr: fmr(all)?, document_fmr: fmr(documents)? })
}

/// The policy of a client out of its JSON.
pub(super) fn parse_policy(text: Option<&str>) -> Result<ClientPolicy, Error> {
    let policy = text.map(serde_json::from_str).transpose();
    policy.map(Option::unwrap_or_default).map_err(|e| Error::Decode(e.into()))
}

/// Reads a client in a transaction.
pub(super) async fn get(tx: &mut Transaction, client_id: &str) -> Result<Vec<ClientRow>, Error> {
    tx.statement("client_get_locked", GET).bind(client_id).all(ClientRow::read).await
}

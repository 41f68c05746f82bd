//! The MAC of a client, over everything that decides who can call in its name and what it gets.
//! An attacker who writes the database without the master key cannot make one.

use sqlx::Error;

use super::rows::{ClientRow, get};
use crate::{
    db::Transaction,
    sealing::{MacInput, MasterKey, SealError},
};

/// One MAC over a client and all its key sets: with one for each row, deleting the newest set would
/// go unnoticed, and the set before it would be the newest again.
const LABEL: &str = "client-mac";

/// The state of a client that is to be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Integrity {
    /// The client is as Visavis stored it.
    Intact,
    /// Its MAC is wrong: it was changed without the master key.
    Tampered,
    /// No such client, or not at that revision.
    Missing,
}

/// The MAC over a client as it is stored, under the current key. Private keys and secrets are left
/// out: each is sealed for its client and version. Times of creation decide nothing.
pub(super) fn mac(key: &MasterKey, rows: &[ClientRow]) -> Result<Vec<u8>, SealError> {
    key.mac(LABEL, &input(rows))
}

/// Whether a client is as Visavis stored it.
pub(super) fn holds(key: &MasterKey, rows: &[ClientRow]) -> bool {
    let mac = rows.first().and_then(|client| client.mac.as_deref());
    mac.is_some_and(|mac| key.has_made(LABEL, &input(rows), mac))
}

fn input(rows: &[ClientRow]) -> MacInput {
    let mut input = MacInput::default();
    if let Some(client) = rows.first() {
        let rate = |rate: Option<f64>| rate.map(|rate| rate.to_bits().to_be_bytes());
        input = input
            .field(client.client_id.as_bytes())
            .field(client.name.as_bytes())
            .field(&client.revision.to_be_bytes())
            .field(&[u8::from(client.extras)])
            .nullable(rate(client.fmr))
            .nullable(rate(client.document_fmr))
            .nullable(client.policy.as_deref())
            .nullable(client.disabled_at.map(i64::to_be_bytes));
    }
    for ClientRow { keys, .. } in rows {
        input = input
            .field(&keys.version.to_be_bytes())
            .field(&keys.merchant_key)
            .field(keys.access_key.as_bytes())
            .nullable(keys.expires_at.map(i64::to_be_bytes));
    }
    input
}

/// Locks a client for the rest of the transaction and checks its MAC. Without this a change would
/// compute a MAC over forged values.
pub(super) async fn lock(
    tx: &mut Transaction,
    client_id: &str,
    key: &MasterKey,
) -> Result<Integrity, Error> {
    let lock = "UPDATE client SET revision = revision WHERE client_id = $1";
    if tx.statement("client_lock", lock).bind(client_id).run().await? == 0 {
        return Ok(Integrity::Missing);
    }
    let rows = get(tx, client_id).await?;
    Ok(if holds(key, &rows) { Integrity::Intact } else { Integrity::Tampered })
}

/// Computes the MAC of a client after a change in the same transaction.
pub(super) async fn stamp(
    tx: &mut Transaction,
    client_id: &str,
    key: &MasterKey,
) -> Result<(), Error> {
    let rows = get(tx, client_id).await?;
    let mac = mac(key, &rows).map_err(|e| Error::Encode(e.into()))?;
    let stamp = tx.statement("client_mac", "UPDATE client SET mac = $2 WHERE client_id = $1");
    stamp.bind(client_id).bind(mac.as_slice()).run().await.map(drop)
}

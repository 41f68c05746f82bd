//! The log of acts, and the counts of comparisons against quotas.

use std::num::NonZeroU32;

use visavis_signing::ClientKey;

use super::{
    audit::AuditEntry,
    error::ClientError,
    keys::{secret_label, server_key_label},
    sql::{on, once, postgres_acts, sqlite_acts},
    store::ClientStore,
};
use crate::db::Db;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl ClientStore {
    /// Whether a public key is that of a key of ours, for any client or for the gateway.
    ///
    /// # Errors
    /// [`ClientError::Database`], or [`ClientError::Seal`] when one does not open.
    pub(super) async fn has_server_key(&self, given: &ClientKey) -> Result<bool, ClientError> {
        let (clients, own) = on!(self, sqlite_acts, postgres_acts, readers, sealed())?;
        let of_clients = clients.into_iter().map(|(client_id, version, server_key, _)| {
            (server_key_label(&client_id, u32::try_from(version).unwrap_or_default()), server_key)
        });
        let own = own.into_iter().map(|(purpose, sealed)| (server_key_label(&purpose, 1), sealed));
        for (label, sealed) in of_clients.chain(own) {
            if given.is_half_of(&self.key.open(&label, &sealed)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Seals all private keys and secrets under the current master key and computes all MACs again; returns
    /// how many rows were sealed. With `dry` it only tries whether all of them are under that key alone.
    ///
    /// # Errors
    /// [`ClientError::Database`], or [`ClientError::Seal`] when one does not open.
    pub async fn reseal(&self, dry: bool) -> Result<u64, ClientError> {
        let reading = if dry { self.key.current() } else { self.key.clone() };
        let again = |label: &str, sealed: &[u8]| -> Result<Vec<u8>, ClientError> {
            Ok(self.key.seal(label, &reading.open(label, sealed)?)?)
        };
        let (clients, own) = on!(self, sqlite_acts, postgres_acts, writer, sealed())?;
        let count = (clients.len() + own.len()) as u64;
        for (client_id, version, server_key, secret_key) in clients {
            let number = u32::try_from(version).unwrap_or_default();
            let server_key = again(&server_key_label(&client_id, number), &server_key)?;
            let secret_key = again(&secret_label(&client_id, number), &secret_key)?;
            if !dry {
                let sealed = (server_key.as_slice(), secret_key.as_slice());
                on!(self, sqlite_acts, postgres_acts, writer, reseal(&client_id, version, sealed))?;
            }
        }
        for (purpose, sealed) in own {
            let sealed = again(&server_key_label(&purpose, 1), &sealed)?;
            if !dry {
                on!(self, sqlite_acts, postgres_acts, writer, reseal_own(&purpose, &sealed))?;
            }
        }
        self.restamp(dry).await?;
        self.restamp_head(dry).await?;
        Ok(count)
    }

    /// Keeps an act on something else than a client.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn note(
        &self,
        act: &'static str,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), ClientError> {
        let act = self.act(act, subject, detail.to_string());
        Ok(once!(self, sqlite_acts, postgres_acts, note(&act, &self.key))?)
    }

    /// The latest acts in this database, newest first.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, ClientError> {
        Ok(on!(self, sqlite_acts, postgres_acts, readers, audit(i64::from(limit)))?)
    }

    /// Counts a comparison of today, UTC, against a quota; returns the day, or `None` if that was used up.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn count_comparison(
        &self,
        client_id: &str,
        quota: NonZeroU32,
    ) -> Result<Option<i64>, ClientError> {
        let day = self.clock.now().div_euclid(DAY_MS);
        let counted = once!(
            self,
            sqlite_acts,
            postgres_acts,
            count_comparison(client_id, day, i64::from(quota.get()))
        )?;
        Ok(counted.then_some(day))
    }

    /// Takes one of that day back: it could not be made.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn uncount_comparison(&self, client_id: &str, day: i64) -> Result<(), ClientError> {
        Ok(once!(self, sqlite_acts, postgres_acts, uncount_comparison(client_id, day))?)
    }
}

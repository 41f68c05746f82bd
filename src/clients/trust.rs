//! Checking that the master key opens a database, and that its clients were stored by Visavis.

use super::{
    credentials::CONSOLE,
    error::ClientError,
    keys::server_key_label,
    mac::{self, Integrity, lock, stamp},
    rows::get,
    store::ClientStore,
};
use crate::{db::Attempt, sealing::SealError};

/// The name of a value that every database holds under the master key. Earlier versions kept a key
/// there that signed responses to unknown callers.
const PURPOSE: &str = "gateway";
/// The value since every client has a MAC and the audit is a chain. An earlier one says that none
/// has: it cannot be made without the master key, so no one without it can remove the MACs and have
/// them computed again.
const HAS_MACS: &[u8] = b"clients have MACs";

impl ClientStore {
    /// Opens a value that every database holds under the master key; writes it on first use. The
    /// clients of an earlier version get their MACs and its audit becomes the beginning of a chain,
    /// once.
    ///
    /// # Errors
    /// [`ClientError::Seal`] with another master key; a failure of the database.
    pub async fn check_master_key(&self) -> Result<(), ClientError> {
        let label = server_key_label(PURPOSE, 1);
        let open = |sealed: Vec<u8>| self.key.open(&label, &sealed);
        let value = self.server_key().await?.map(open).transpose()?;
        if value.as_ref().is_some_and(|value| value.as_slice() == HAS_MACS) {
            return Ok(());
        }
        let ids = self.ids().await?;
        // Clients without the value: it was deleted.
        if value.is_some() || ids.is_empty() {
            self.begin_chain().await?;
        }
        let made = self.key.seal(&label, HAS_MACS)?;
        if value.is_some() {
            for client_id in &ids {
                let adopt = |attempt| self.adopt(attempt, client_id);
                self.db.retrying("client_adopt", adopt).await?;
            }
            self.reseal_own(PURPOSE, &made).await?;
            tracing::info!(
                clients = ids.len(),
                "computed the MACs of clients of an earlier version"
            );
            return Ok(());
        }
        let keep = self.db.write(
            "server_key_add",
            "INSERT INTO server_key (purpose, sealed, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (purpose) DO NOTHING",
        );
        keep.bind(PURPOSE).bind(made.as_slice()).bind(self.clock.now()).run().await?;
        // Another process may have been first; the stored value is the one that must open.
        let stored = self.server_key().await?;
        open(stored.ok_or(ClientError::Database(sqlx::Error::RowNotFound))?)?;
        Ok(())
    }

    /// The same without writing anything.
    ///
    /// # Errors
    /// [`ClientError::Seal`] with another master key, [`ClientError::NoMacs`] when the clients of
    /// an earlier version have none yet; a failure of the database.
    pub(super) async fn try_master_key(&self) -> Result<(), ClientError> {
        let Some(sealed) = self.server_key().await? else { return Ok(()) };
        let value = self.key.open(&server_key_label(PURPOSE, 1), &sealed)?;
        if value.as_slice() == HAS_MACS { Ok(()) } else { Err(ClientError::NoMacs) }
    }

    /// How many clients need the master key, without the console's own; `None` when nothing was
    /// sealed yet.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(crate) async fn sealed(&self) -> Result<Option<usize>, ClientError> {
        let clients = self.list().await?;
        let clients = clients.iter().filter(|client| client.name != CONSOLE).count();
        let value = self.server_key().await?;
        Ok((clients > 0 || value.is_some()).then_some(clients))
    }

    /// The ids of all clients that were changed outside of Visavis.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn tampered(&self) -> Result<Vec<String>, ClientError> {
        let mut tampered = Vec::new();
        for client_id in self.ids().await? {
            let rows = self.rows(&client_id).await?;
            // Without keys it cannot call.
            if !rows.is_empty() && !mac::holds(&self.key, &rows) {
                tampered.push(client_id);
            }
        }
        Ok(tampered)
    }

    /// Computes all MACs again under the current master key. With `dry` it only checks that they
    /// are right with that key alone. A wrong MAC is left unchanged.
    pub(super) async fn restamp(&self, dry: bool) -> Result<(), ClientError> {
        let current = self.key.current();
        for client_id in self.ids().await? {
            if !dry {
                let restamp = |attempt| self.restamp_one(attempt, &client_id);
                self.db.retrying("client_restamp", restamp).await?;
                continue;
            }
            let rows = self.rows(&client_id).await?;
            if mac::holds(&self.key, &rows) && !mac::holds(&current, &rows) {
                return Err(SealError::DoesNotOpen.into());
            }
        }
        Ok(())
    }

    async fn server_key(&self) -> Result<Option<Vec<u8>>, sqlx::Error> {
        let key = self.db.read("server_key", "SELECT sealed FROM server_key WHERE purpose = $1");
        key.bind(PURPOSE).optional(|row| row.get("sealed")).await
    }

    /// Gives a client of an earlier version its first MAC.
    async fn adopt(&self, attempt: Attempt, client_id: &str) -> Result<(), sqlx::Error> {
        let mut tx = attempt.begin().await?;
        lock(&mut tx, client_id, &self.key).await?;
        let rows = get(&mut tx, client_id).await?;
        if rows.first().is_some_and(|client| client.mac.is_none()) {
            stamp(&mut tx, client_id, &self.key).await?;
        }
        tx.commit().await
    }

    /// Computes the MAC of a client again, if it is right.
    async fn restamp_one(&self, attempt: Attempt, client_id: &str) -> Result<(), sqlx::Error> {
        let mut tx = attempt.begin().await?;
        if lock(&mut tx, client_id, &self.key).await? == Integrity::Intact {
            stamp(&mut tx, client_id, &self.key).await?;
        }
        tx.commit().await
    }
}

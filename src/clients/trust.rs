//! Whether a database belongs to the master key, and its clients to Visavis.

use super::{
    credentials::CONSOLE,
    error::ClientError,
    keys::server_key_label,
    mac,
    sql::{on, postgres, postgres_acts, postgres_rows, sqlite, sqlite_acts, sqlite_rows},
    store::ClientStore,
};
use crate::{db::Db, sealing::SealError};

/// The name of a value that every database holds under the master key. Earlier versions kept a key there that signed
/// responses to unknown callers.
const PURPOSE: &str = "gateway";
/// The value since every client has a MAC and the audit is a chain. An earlier one says that none has: it cannot be made without the master key,
/// so nobody without it can remove the MACs and have them computed again.
const HAS_MACS: &[u8] = b"clients have MACs";

impl ClientStore {
    /// Opens a value that every database holds under the master key; writes it on first use. The clients of an earlier
    /// version get their MACs and its audit becomes the beginning of a chain, once.
    ///
    /// # Errors
    /// [`ClientError::Seal`] with another master key; a failure of the database.
    pub async fn check_master_key(&self) -> Result<(), ClientError> {
        let label = server_key_label(PURPOSE, 1);
        let open = |sealed: Vec<u8>| self.key.open(&label, &sealed);
        let value =
            on!(self, sqlite, postgres, writer, server_key(PURPOSE))?.map(open).transpose()?;
        if value.as_ref().is_some_and(|value| value.as_slice() == HAS_MACS) {
            return Ok(());
        }
        let ids = self.ids().await?;
        // Where clients are and the value is not, somebody has deleted it.
        if value.is_some() || ids.is_empty() {
            self.begin_chain().await?;
        }
        let made = self.key.seal(&label, HAS_MACS)?;
        if value.is_some() {
            for client_id in &ids {
                on!(self, sqlite_rows, postgres_rows, writer, adopt(client_id, &self.key))?;
            }
            on!(self, sqlite_acts, postgres_acts, writer, reseal_own(PURPOSE, &made))?;
            tracing::info!(clients = ids.len(), "clients of an earlier version have MACs now");
            return Ok(());
        }
        on!(self, sqlite, postgres, writer, keep_server_key(PURPOSE, &made, self.clock.now()))?;
        // Another process may have been first; what is stored counts.
        let stored = on!(self, sqlite, postgres, writer, server_key(PURPOSE))?;
        open(stored.ok_or(ClientError::Database(sqlx::Error::RowNotFound))?)?;
        Ok(())
    }

    /// The same without writing anything.
    ///
    /// # Errors
    /// [`ClientError::Seal`] with another master key, [`ClientError::NoMacs`] when the clients of an earlier version have
    /// none yet; a failure of the database.
    pub(super) async fn try_master_key(&self) -> Result<(), ClientError> {
        let Some(sealed) = on!(self, sqlite, postgres, readers, server_key(PURPOSE))? else {
            return Ok(());
        };
        let value = self.key.open(&server_key_label(PURPOSE, 1), &sealed)?;
        if value.as_slice() == HAS_MACS { Ok(()) } else { Err(ClientError::NoMacs) }
    }

    /// How many clients need the master key, the console's own aside; `None` when nothing was sealed with one yet.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn sealed(&self) -> Result<Option<usize>, ClientError> {
        let clients = self.list().await?;
        let clients = clients.iter().filter(|client| client.name != CONSOLE).count();
        let value = on!(self, sqlite, postgres, readers, server_key(PURPOSE))?;
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

    /// Computes all MACs again under the current master key. With `dry` it only tries whether they hold with that key
    /// alone. One that holds under no key stays as it is.
    pub(super) async fn restamp(&self, dry: bool) -> Result<(), ClientError> {
        let current = self.key.current();
        for client_id in self.ids().await? {
            if !dry {
                on!(self, sqlite_rows, postgres_rows, writer, restamp(&client_id, &self.key))?;
                continue;
            }
            let rows = self.rows(&client_id).await?;
            if mac::holds(&self.key, &rows) && !mac::holds(&current, &rows) {
                return Err(SealError::DoesNotOpen.into());
            }
        }
        Ok(())
    }
}

//! The values of clients that are sealed under the master key, and re-encrypting them under another
//! one.

use visavis_signing::ClientKey;

use super::{
    error::ClientError,
    keys::{secret_label, server_key_label},
    rows::parse_version,
    store::ClientStore,
};

/// The sealed keys of a client.
struct StoredKeys {
    client_id: String,
    version: u32,
    server_key: Vec<u8>,
    secret_key: Vec<u8>,
}

impl ClientStore {
    /// Whether a public key belongs to a private key of this server.
    ///
    /// # Errors
    /// [`ClientError::Database`], or [`ClientError::Seal`] when one does not open.
    pub(super) async fn has_server_key(&self, given: &ClientKey) -> Result<bool, ClientError> {
        let of_clients = self.sealed_keys().await?.into_iter();
        let of_clients =
            of_clients.map(|set| (server_key_label(&set.client_id, set.version), set.server_key));
        let own = self.sealed_own().await?;
        let own = own.into_iter().map(|(purpose, sealed)| (server_key_label(&purpose, 1), sealed));
        for (label, sealed) in of_clients.chain(own) {
            if given.is_half_of(&self.key.open(&label, &sealed)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Re-encrypts all private keys and secrets under the current master key and computes all MACs
    /// again; returns how many rows there were. With `dry` it only checks that all of them open
    /// with that key alone.
    ///
    /// # Errors
    /// [`ClientError::Database`], or [`ClientError::Seal`] when one does not open.
    pub async fn reseal(&self, dry: bool) -> Result<u64, ClientError> {
        let reading = if dry { self.key.current() } else { self.key.clone() };
        let again = |label: &str, sealed: &[u8]| -> Result<Vec<u8>, ClientError> {
            Ok(self.key.seal(label, &reading.open(label, sealed)?)?)
        };
        let (sets, own) = (self.sealed_keys().await?, self.sealed_own().await?);
        let count = (sets.len() + own.len()) as u64;
        for StoredKeys { client_id, version, server_key, secret_key } in sets {
            let server_key = again(&server_key_label(&client_id, version), &server_key)?;
            let secret_key = again(&secret_label(&client_id, version), &secret_key)?;
            if !dry {
                let reseal = self.db.write(
                    "client_key_reseal",
                    "UPDATE client_key SET server_key = $3, secret_key = $4
                     WHERE client_id = $1 AND version = $2",
                );
                let reseal = reseal.bind(client_id.as_str()).bind(i64::from(version));
                reseal.bind(server_key.as_slice()).bind(secret_key.as_slice()).run().await?;
            }
        }
        for (purpose, sealed) in own {
            let sealed = again(&server_key_label(&purpose, 1), &sealed)?;
            if !dry {
                self.reseal_own(&purpose, &sealed).await?;
            }
        }
        self.restamp(dry).await?;
        self.restamp_head(dry).await?;
        Ok(count)
    }

    async fn sealed_keys(&self) -> Result<Vec<StoredKeys>, sqlx::Error> {
        let sealed = self.db.read(
            "client_keys_sealed",
            "SELECT client_id, version, server_key, secret_key FROM client_key",
        );
        let keys = sealed.all(|row| {
            Ok(StoredKeys {
                client_id: row.get("client_id")?,
                version: parse_version(row)?,
                server_key: row.get("server_key")?,
                secret_key: row.get("secret_key")?,
            })
        });
        keys.await
    }

    /// Sealed values of the server itself, by their purpose.
    async fn sealed_own(&self) -> Result<Vec<(String, Vec<u8>)>, sqlx::Error> {
        let own = self.db.read("server_keys_sealed", "SELECT purpose, sealed FROM server_key");
        own.all(|row| Ok((row.get("purpose")?, row.get("sealed")?))).await
    }

    pub(super) async fn reseal_own(&self, purpose: &str, sealed: &[u8]) -> Result<(), sqlx::Error> {
        let reseal = self
            .db
            .write("server_key_reseal", "UPDATE server_key SET sealed = $2 WHERE purpose = $1");
        reseal.bind(purpose).bind(sealed).run().await.map(drop)
    }
}

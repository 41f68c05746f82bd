//! The client table on `SQLite`, private keys sealed.

use std::sync::Arc;

use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::keys::{KeySet, NewKeys, SealedKeys, secret_label, server_key_label};
use crate::{
    clock::{Clock, UnixMillis},
    db::SqliteDb,
    sealing::{MasterKey, SealError},
    signing::{ServerKey, SigningError},
};

/// What can go wrong with the client table.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Another client has that name.
    #[error("there is a client called `{0}` already; choose another name")]
    NameTaken(String),
    /// No client has that id or name.
    #[error("there is no client `{0}`; `visavis client list` shows them")]
    Unknown(String),
    /// The public key is that of keys that would stay good.
    #[error(
        "the public key is one that the client has already, so during the overlap nobody could tell which of \
         its server keys the app knows; give another one, or end the old keys at once (--overlap 0)"
    )]
    SameKey,
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A key could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key could not be made or read.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

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
    /// Milliseconds since the epoch.
    pub created_at: UnixMillis,
    /// Since when it may not call any more.
    pub disabled_at: Option<UnixMillis>,
}

/// A client with its keys opened.
#[derive(Debug)]
pub struct StoredClient {
    /// Changes with every change of the client.
    pub revision: i64,
    /// Its keys, newest first; at least one.
    pub keys: Vec<Arc<KeySet>>,
    /// Whether answers carry fields beyond the documented ones.
    pub extras: bool,
    /// Whether it may not call any more.
    pub disabled: bool,
}

/// The client table; clones share the connections.
#[derive(Debug, Clone)]
pub struct ClientStore {
    db: SqliteDb,
    key: MasterKey,
    clock: Clock,
}

impl ClientStore {
    /// The client table of an embedded database.
    pub fn new(db: SqliteDb, key: MasterKey, clock: Clock) -> Self {
        Self { db, key, clock }
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`ClientError::NameTaken`], or a failure of database or sealing.
    pub async fn add(&self, new: &NewClient<'_>) -> Result<(), ClientError> {
        let mut transaction = self.db.writer.begin().await?;
        let inserted = sqlx::query(
            "/* client add */
             INSERT INTO client (client_id, name, extras, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(new.client_id)
        .bind(new.name)
        .bind(new.extras)
        .bind(self.clock.now())
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(ClientError::NameTaken(new.name.to_owned()));
        }
        self.insert_keys(&mut transaction, new.client_id, 1, &new.keys).await?;
        Ok(transaction.commit().await?)
    }

    /// Gives a client new keys; the ones it has stay good for `overlap_ms` milliseconds, if they were
    /// not to end before. Returns the version of the new ones.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::SameKey`], or a failure of database or sealing.
    pub async fn rotate(
        &self,
        client_id: &str,
        keys: &NewKeys<'_>,
        overlap_ms: i64,
    ) -> Result<u32, ClientError> {
        let mut transaction = self.db.writer.begin().await?;
        // The write comes first: a transaction that begins with a read may have to be given up.
        let touched = sqlx::query(
            "/* client rotate */ UPDATE client SET revision = revision + 1 WHERE client_id = $1",
        )
        .bind(client_id)
        .execute(&mut *transaction)
        .await?;
        if touched.rows_affected() == 0 {
            return Err(ClientError::Unknown(client_id.to_owned()));
        }
        let end = self.clock.now().saturating_add(overlap_ms);
        sqlx::query(
            "/* client rotate */
             UPDATE client_key SET expires_at = min(coalesce(expires_at, $2), $2) WHERE client_id = $1",
        )
        .bind(client_id)
        .bind(end)
        .execute(&mut *transaction)
        .await?;
        let same: bool = sqlx::query_scalar(
            "/* client rotate */
             SELECT count(*) > 0 FROM client_key WHERE client_id = $1 AND merchant_key = $2 AND expires_at > $3",
        )
        .bind(client_id)
        .bind(keys.merchant_key.spki_der())
        .bind(self.clock.now())
        .fetch_one(&mut *transaction)
        .await?;
        if same {
            return Err(ClientError::SameKey);
        }
        let version: u32 = sqlx::query_scalar(
            "/* client rotate */ SELECT coalesce(max(version), 0) + 1 FROM client_key WHERE client_id = $1",
        )
        .bind(client_id)
        .fetch_one(&mut *transaction)
        .await?;
        self.insert_keys(&mut transaction, client_id, version, keys).await?;
        transaction.commit().await?;
        Ok(version)
    }

    async fn insert_keys(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        client_id: &str,
        version: u32,
        keys: &NewKeys<'_>,
    ) -> Result<(), ClientError> {
        let server_key = server_key_label(client_id, version);
        let secret_key = secret_label(client_id, version);
        sqlx::query(
            "/* client keys */
             INSERT INTO client_key (client_id, version, merchant_key, server_key, access_key, secret_key, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(client_id)
        .bind(version)
        .bind(keys.merchant_key.spki_der())
        .bind(self.key.seal(&server_key, keys.server_key.pkcs8_der())?)
        .bind(keys.access_key)
        .bind(self.key.seal(&secret_key, keys.secret_key)?)
        .bind(self.clock.now())
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// All clients, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn list(&self) -> Result<Vec<ClientInfo>, ClientError> {
        let rows = sqlx::query(
            "/* client list */
             SELECT client_id, name, access_key, client_key.version, extras, client.created_at, disabled_at
             FROM client JOIN client_key USING (client_id)
             WHERE client_key.version =
                 (SELECT max(version) FROM client_key AS newest WHERE newest.client_id = client.client_id)
             ORDER BY client.created_at, client_id",
        )
        .fetch_all(&self.db.readers)
        .await?;
        Ok(rows.iter().map(info).collect::<Result<_, _>>()?)
    }

    /// The Client-Id of a client that is given by id or name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when no client has that id or name.
    pub async fn resolve(&self, id_or_name: &str) -> Result<String, ClientError> {
        let found = sqlx::query_scalar(
            "/* client resolve */ SELECT client_id FROM client WHERE client_id = $1 OR name = $1",
        )
        .bind(id_or_name)
        .fetch_optional(&self.db.readers)
        .await?;
        found.ok_or_else(|| ClientError::Unknown(id_or_name.to_owned()))
    }

    /// Takes a client's right to call away, or gives it back.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub async fn set_disabled(&self, client_id: &str, disabled: bool) -> Result<(), ClientError> {
        let at = disabled.then(|| self.clock.now());
        let changed = sqlx::query(
            "/* client set_disabled */
             UPDATE client SET disabled_at = $2, revision = revision + 1 WHERE client_id = $1",
        )
        .bind(client_id)
        .bind(at)
        .execute(&self.db.writer)
        .await?;
        changed_one(client_id, changed.rows_affected())
    }

    /// Whether a client's answers carry fields beyond the documented ones.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub async fn set_extras(&self, client_id: &str, extras: bool) -> Result<(), ClientError> {
        let changed = sqlx::query(
            "/* client set_extras */
             UPDATE client SET extras = $2, revision = revision + 1 WHERE client_id = $1",
        )
        .bind(client_id)
        .bind(extras)
        .execute(&self.db.writer)
        .await?;
        changed_one(client_id, changed.rows_affected())
    }

    /// Which revision of a client is current; `None` if there is no such client. One indexed read,
    /// made for every request so that a change counts at once.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn revision(&self, client_id: &str) -> Result<Option<i64>, ClientError> {
        Ok(sqlx::query_scalar(
            "/* client revision */ SELECT revision FROM client WHERE client_id = $1",
        )
        .bind(client_id)
        .fetch_optional(&self.db.readers)
        .await?)
    }

    /// A client with its keys.
    ///
    /// # Errors
    /// A failure of database, sealing or keys.
    pub async fn get(&self, client_id: &str) -> Result<Option<StoredClient>, ClientError> {
        let rows = sqlx::query(
            "/* client get */
             SELECT revision, extras, disabled_at, client_key.version, merchant_key, server_key, access_key,
                 secret_key, expires_at
             FROM client JOIN client_key USING (client_id)
             WHERE client_id = $1 ORDER BY client_key.version DESC",
        )
        .bind(client_id)
        .fetch_all(&self.db.readers)
        .await?;
        let Some(newest) = rows.first() else { return Ok(None) };
        let open =
            |label: &str, sealed: &[u8]| self.key.open(label, sealed).map_err(ClientError::from);
        let keys = rows.iter().map(|row| sealed(row)?.open(client_id, open).map(Arc::new));
        Ok(Some(StoredClient {
            revision: newest.try_get("revision")?,
            extras: newest.try_get("extras")?,
            disabled: newest.try_get::<Option<i64>, _>("disabled_at")?.is_some(),
            keys: keys.collect::<Result<_, ClientError>>()?,
        }))
    }

    /// The server's own key for answers to callers that are not known, made on first use.
    ///
    /// # Errors
    /// A failure of database, sealing or keys.
    pub async fn gateway_key(&self) -> Result<ServerKey, ClientError> {
        const PURPOSE: &str = "gateway";
        let select = "/* gateway_key */ SELECT sealed FROM server_key WHERE purpose = $1";
        let found: Option<Vec<u8>> =
            sqlx::query_scalar(select).bind(PURPOSE).fetch_optional(&self.db.writer).await?;
        let sealed = if let Some(sealed) = found {
            sealed
        } else {
            let made =
                self.key.seal(&server_key_label(PURPOSE, 1), ServerKey::generate()?.pkcs8_der())?;
            sqlx::query(
                "/* gateway_key */
                 INSERT INTO server_key (purpose, sealed, created_at) VALUES ($1, $2, $3)
                 ON CONFLICT (purpose) DO NOTHING",
            )
            .bind(PURPOSE)
            .bind(made)
            .bind(self.clock.now())
            .execute(&self.db.writer)
            .await?;
            // Another process may have been first; what is stored counts.
            sqlx::query_scalar(select).bind(PURPOSE).fetch_one(&self.db.writer).await?
        };
        Ok(ServerKey::from_pkcs8(&self.key.open(&server_key_label(PURPOSE, 1), &sealed)?)?)
    }
}

fn changed_one(client_id: &str, rows: u64) -> Result<(), ClientError> {
    if rows == 0 { Err(ClientError::Unknown(client_id.to_owned())) } else { Ok(()) }
}

fn info(row: &SqliteRow) -> Result<ClientInfo, sqlx::Error> {
    Ok(ClientInfo {
        client_id: row.try_get("client_id")?,
        name: row.try_get("name")?,
        access_key: row.try_get("access_key")?,
        key_version: row.try_get("version")?,
        extras: row.try_get("extras")?,
        created_at: row.try_get("created_at")?,
        disabled_at: row.try_get("disabled_at")?,
    })
}

fn sealed(row: &SqliteRow) -> Result<SealedKeys, sqlx::Error> {
    Ok(SealedKeys {
        version: row.try_get("version")?,
        merchant_key: row.try_get("merchant_key")?,
        server_key: row.try_get("server_key")?,
        access_key: row.try_get("access_key")?,
        secret_key: row.try_get("secret_key")?,
        expires_at: row.try_get("expires_at")?,
    })
}

//! The client table on `SQLite`, private keys sealed.

use sqlx::{Row as _, sqlite::SqliteRow};

use crate::{
    clock::{Clock, UnixMillis},
    db::SqliteDb,
    sealing::{MasterKey, SealError},
    signing::{ClientKey, ServerKey, SigningError},
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
    /// Its public key.
    pub merchant_key: &'a ClientKey,
    /// Our key for it.
    pub server_key: &'a ServerKey,
    /// Its access key for AK/SK mode.
    pub access_key: &'a str,
    /// Its secret key for AK/SK mode, raw bytes.
    pub secret_key: &'a [u8],
}

/// A client without its keys, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// The Client-Id header.
    pub client_id: String,
    /// What the operator calls it.
    pub name: String,
    /// Its access key for AK/SK mode.
    pub access_key: String,
    /// Milliseconds since the epoch.
    pub created_at: UnixMillis,
    /// Since when it may not call any more.
    pub disabled_at: Option<UnixMillis>,
}

/// A client with its keys opened.
#[derive(Debug)]
pub struct StoredClient {
    /// Changes with every change of the client.
    pub version: i64,
    /// Its public key.
    pub merchant_key: ClientKey,
    /// Our key for it.
    pub server_key: ServerKey,
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
        let server_key = self.key.seal(&key_label(new.client_id), new.server_key.pkcs8_der())?;
        let secret_key = self.key.seal(&secret_label(new.client_id), new.secret_key)?;
        let inserted = sqlx::query(
            "/* client add */
             INSERT INTO client (client_id, name, merchant_key, server_key, access_key, secret_key, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(new.client_id)
        .bind(new.name)
        .bind(new.merchant_key.spki_der())
        .bind(server_key)
        .bind(new.access_key)
        .bind(secret_key)
        .bind(self.clock.now())
        .execute(&self.db.writer)
        .await?;
        if inserted.rows_affected() == 1 {
            Ok(())
        } else {
            Err(ClientError::NameTaken(new.name.to_owned()))
        }
    }

    /// All clients, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn list(&self) -> Result<Vec<ClientInfo>, ClientError> {
        let rows = sqlx::query(
            "/* client list */
             SELECT client_id, name, access_key, created_at, disabled_at FROM client ORDER BY created_at, client_id",
        )
        .fetch_all(&self.db.readers)
        .await?;
        Ok(rows.iter().map(info).collect::<Result<_, _>>()?)
    }

    /// Takes a client's right to call away, or gives it back.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when no client has that id or name.
    pub async fn set_disabled(&self, id_or_name: &str, disabled: bool) -> Result<(), ClientError> {
        let at = disabled.then(|| self.clock.now());
        let changed = sqlx::query(
            "/* client set_disabled */
             UPDATE client SET disabled_at = $2, version = version + 1 WHERE client_id = $1 OR name = $1",
        )
        .bind(id_or_name)
        .bind(at)
        .execute(&self.db.writer)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(ClientError::Unknown(id_or_name.to_owned()));
        }
        Ok(())
    }

    /// Which version of a client is current; `None` if there is no such client. One indexed read, made
    /// for every request so that a change counts at once.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn version(&self, client_id: &str) -> Result<Option<i64>, ClientError> {
        Ok(sqlx::query_scalar(
            "/* client version */ SELECT version FROM client WHERE client_id = $1",
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
        let row = sqlx::query(
            "/* client get */
             SELECT version, merchant_key, server_key, extras, disabled_at FROM client WHERE client_id = $1",
        )
        .bind(client_id)
        .fetch_optional(&self.db.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get("server_key")?;
        let merchant_key: Vec<u8> = row.try_get("merchant_key")?;
        Ok(Some(StoredClient {
            version: row.try_get("version")?,
            merchant_key: ClientKey::from_der(&merchant_key)?,
            server_key: ServerKey::from_pkcs8(&self.key.open(&key_label(client_id), &sealed)?)?,
            extras: row.try_get("extras")?,
            disabled: row.try_get::<Option<i64>, _>("disabled_at")?.is_some(),
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
            let made = self.key.seal(&key_label(PURPOSE), ServerKey::generate()?.pkcs8_der())?;
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
        Ok(ServerKey::from_pkcs8(&self.key.open(&key_label(PURPOSE), &sealed)?)?)
    }
}

fn info(row: &SqliteRow) -> Result<ClientInfo, sqlx::Error> {
    Ok(ClientInfo {
        client_id: row.try_get("client_id")?,
        name: row.try_get("name")?,
        access_key: row.try_get("access_key")?,
        created_at: row.try_get("created_at")?,
        disabled_at: row.try_get("disabled_at")?,
    })
}

fn key_label(owner: &str) -> String {
    format!("server-key/{owner}")
}

fn secret_label(client_id: &str) -> String {
    format!("client-secret/{client_id}")
}

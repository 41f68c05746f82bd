//! The clients and their keys, private ones sealed, whichever database they lie in.

use std::sync::Arc;

use super::{
    keys::{KeySet, NewKeys, SealedKeys, secret_label, server_key_label},
    sql::{Changed, ChangedRow, ClientRow, NewRow, postgres, sqlite},
};
use crate::{
    clock::{Clock, UnixMillis},
    compare::{ClientFmr, Fmr},
    db::Db,
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
    /// The installation has no database with that number, or this process does not serve it.
    #[error(
        "there is no database number {0} here; the first one of database.urls has the number 0"
    )]
    NoShard(u32),
    /// Nobody has the client, and some databases were not asked.
    #[error("the client may live in a database that this process does not serve")]
    NotServed,
    /// The public key is that of keys that would stay good.
    #[error(
        "the public key is one that the client has already, so during the overlap nobody could tell which of \
         its server keys the app knows; give another one, or end the old keys at once (--overlap 0)"
    )]
    SameKey,
    /// Somebody else has changed the client in the same moment.
    #[error("`{0}` was changed by somebody else in the same moment; look at it and try again")]
    Rotating(String),
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

impl ClientError {
    /// Whether no connection became free in time: too much is going on, and nothing is broken.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }
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
    /// The false match rates at which its decisions turn.
    pub fmr: ClientFmr,
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
}

/// What becomes of a client's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FmrChange {
    /// It has none of its own any more: the settings of the installation count.
    Default,
    /// It has this one.
    Own(Fmr),
}

impl From<Option<FmrChange>> for Changed {
    fn from(change: Option<FmrChange>) -> Self {
        let to = match change {
            Some(FmrChange::Own(fmr)) => Some(fmr.value()),
            Some(FmrChange::Default) | None => None,
        };
        Self { is: change.is_some(), to }
    }
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
    /// The false match rates at which its decisions turn.
    pub fmr: ClientFmr,
    /// Whether it may not call any more.
    pub disabled: bool,
}

/// The client table; clones share the connections.
#[derive(Debug, Clone)]
pub struct ClientStore {
    db: Db,
    key: MasterKey,
    clock: Clock,
}

/// Runs the statement of that name where the clients are; `SQLite` reads and writes through different
/// connections.
macro_rules! on {
    ($store:expr, $connections:ident, $function:ident ( $($argument:expr),* )) => {
        match &$store.db {
            Db::Sqlite(db) => sqlite::$function(&db.$connections, $($argument),*).await,
            Db::Postgres(db) => {
                db.retrying(|| postgres::$function(&db.pool, $($argument),*)).await
            }
        }
    };
}

/// The same for what must not be done twice: whether it was done the first time would not be known.
macro_rules! once {
    ($store:expr, $function:ident ( $($argument:expr),* )) => {
        match &$store.db {
            Db::Sqlite(db) => sqlite::$function(&db.writer, $($argument),*).await,
            Db::Postgres(db) => db.once(postgres::$function(&db.pool, $($argument),*)).await,
        }
    };
}

impl ClientStore {
    /// The client table of a database.
    pub fn new(db: impl Into<Db>, key: MasterKey, clock: Clock) -> Self {
        Self { db: db.into(), key, clock }
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`ClientError::NameTaken`], or a failure of database or sealing.
    pub async fn add(&self, new: &NewClient<'_>) -> Result<(), ClientError> {
        let NewClient { client_id, name, extras, fmr, .. } = *new;
        let row = NewRow { client_id, name, extras, fmr };
        let keys = self.seal(new.client_id, 1, &new.keys)?;
        if once!(self, add(&row, &keys, self.clock.now()))? {
            Ok(())
        } else {
            Err(ClientError::NameTaken(new.name.to_owned()))
        }
    }

    /// Gives a client new keys; the ones it has stay good for `overlap_ms` milliseconds, if they were
    /// not to end before. Returns the version of the new ones.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::SameKey`], [`ClientError::Rotating`], or a failure of
    /// database or sealing.
    pub async fn rotate(
        &self,
        client_id: &str,
        keys: &NewKeys<'_>,
        overlap_ms: i64,
    ) -> Result<u32, ClientError> {
        let unknown = || ClientError::Unknown(client_id.to_owned());
        let client = self.get(client_id).await?.ok_or_else(unknown)?;
        let now = self.clock.now();
        let end = now.saturating_add(overlap_ms);
        let stays = |set: &&Arc<KeySet>| overlap_ms > 0 && set.is_valid(now);
        let same = |set: &Arc<KeySet>| set.merchant_key.spki_der() == keys.merchant_key.spki_der();
        if client.keys.iter().filter(stays).any(same) {
            return Err(ClientError::SameKey);
        }
        let version = client.keys.first().map_or(1, |newest| newest.version + 1);
        let sealed = self.seal(client_id, version, keys)?;
        // Only if nobody has changed the client since it was read.
        if once!(self, rotate(client_id, client.revision, &sealed, now, end))? {
            Ok(version)
        } else {
            Err(ClientError::Rotating(client_id.to_owned()))
        }
    }

    fn seal(
        &self,
        client_id: &str,
        version: u32,
        keys: &NewKeys<'_>,
    ) -> Result<SealedKeys, ClientError> {
        let server_key = server_key_label(client_id, version);
        let secret_key = secret_label(client_id, version);
        Ok(SealedKeys {
            version,
            merchant_key: keys.merchant_key.spki_der().to_vec(),
            server_key: self.key.seal(&server_key, keys.server_key.pkcs8_der())?,
            access_key: keys.access_key.to_owned(),
            secret_key: self.key.seal(&secret_key, keys.secret_key)?,
            expires_at: None,
        })
    }

    /// All clients, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn list(&self) -> Result<Vec<ClientInfo>, ClientError> {
        Ok(on!(self, readers, list())?)
    }

    /// The Client-Id of a client that is given by id or name.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when no client has that id or name.
    pub async fn resolve(&self, id_or_name: &str) -> Result<String, ClientError> {
        let found = on!(self, readers, resolve(id_or_name))?;
        found.ok_or_else(|| ClientError::Unknown(id_or_name.to_owned()))
    }

    /// Takes a client's right to call away, or gives it back.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub async fn set_disabled(&self, client_id: &str, disabled: bool) -> Result<(), ClientError> {
        let at = disabled.then(|| self.clock.now());
        changed_one(client_id, on!(self, writer, set_disabled(client_id, at))?)
    }

    /// Changes what a client gets, all of it at once and from its next request on.
    ///
    /// # Errors
    /// [`ClientError::Unknown`].
    pub async fn change(&self, client_id: &str, change: &ClientChange) -> Result<(), ClientError> {
        let ClientChange { extras, fmr, document_fmr } = *change;
        let row = ChangedRow { extras, fmr: fmr.into(), document_fmr: document_fmr.into() };
        changed_one(client_id, on!(self, writer, change(client_id, &row))?)
    }

    /// How many clients may call, the console's own aside.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn count(&self) -> Result<u64, ClientError> {
        let count = on!(self, readers, count())?;
        Ok(count.unsigned_abs())
    }

    /// Which revision of a client is current; `None` if there is no such client. One indexed read,
    /// made for every request so that a change counts at once.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn revision(&self, client_id: &str) -> Result<Option<i64>, ClientError> {
        Ok(on!(self, readers, revision(client_id))?)
    }

    /// A client with its keys.
    ///
    /// # Errors
    /// A failure of database, sealing or keys.
    pub async fn get(&self, client_id: &str) -> Result<Option<StoredClient>, ClientError> {
        let rows = on!(self, readers, get(client_id))?;
        let Some(newest) = rows.first() else { return Ok(None) };
        let (revision, extras, fmr) = (newest.revision, newest.extras, newest.fmr);
        let disabled = newest.disabled_at.is_some();
        let open =
            |label: &str, sealed: &[u8]| self.key.open(label, sealed).map_err(ClientError::from);
        let keys =
            rows.into_iter().map(|ClientRow { keys, .. }| keys.open(client_id, open).map(Arc::new));
        let keys = keys.collect::<Result<_, ClientError>>()?;
        Ok(Some(StoredClient { revision, keys, extras, fmr, disabled }))
    }

    /// The server's own key for answers to callers that are not known, made on first use.
    ///
    /// # Errors
    /// A failure of database, sealing or keys.
    pub async fn gateway_key(&self) -> Result<ServerKey, ClientError> {
        const PURPOSE: &str = "gateway";
        let label = server_key_label(PURPOSE, 1);
        let sealed = if let Some(sealed) = on!(self, writer, server_key(PURPOSE))? {
            sealed
        } else {
            let made = self.key.seal(&label, ServerKey::generate()?.pkcs8_der())?;
            on!(self, writer, keep_server_key(PURPOSE, &made, self.clock.now()))?;
            // Another process may have been first; what is stored counts.
            let stored = on!(self, writer, server_key(PURPOSE))?;
            stored.ok_or(ClientError::Database(sqlx::Error::RowNotFound))?
        };
        Ok(ServerKey::from_pkcs8(&self.key.open(&label, &sealed)?)?)
    }
}

fn changed_one(client_id: &str, rows: u64) -> Result<(), ClientError> {
    if rows == 0 { Err(ClientError::Unknown(client_id.to_owned())) } else { Ok(()) }
}

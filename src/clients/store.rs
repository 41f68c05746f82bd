//! Looking up clients and their keys.

use std::sync::Arc;

use sqlx::Error;

use super::{
    audit::{ActOutcome, Actor, AuditEntry},
    client::{ClientInfo, StoredClient},
    credentials::CONSOLE,
    error::ClientError,
    keys::server_key_label,
    mac,
    rows::{ClientRow, GET, parse_fmr, parse_policy, parse_version},
};
use crate::{
    clock::Clock,
    db::{Db, Row},
    sealing::{MasterKey, SealError},
};

/// The client table; clones share the connections.
#[derive(Debug, Clone)]
pub struct ClientStore {
    pub(crate) db: Db,
    pub(crate) key: MasterKey,
    pub(super) clock: Clock,
    actor: Actor,
}

impl ClientStore {
    /// The client table of a database.
    pub fn new(db: impl Into<Db>, key: MasterKey, clock: Clock) -> Self {
        Self { db: db.into(), key, clock, actor: Actor::system("") }
    }

    /// The same, with the actor of audit events.
    #[must_use]
    pub(crate) fn with_actor(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// The entry for an act that is done.
    pub(crate) fn audit_entry(&self, act: &str, subject: &str, detail: String) -> AuditEntry {
        self.actor.entry(self.clock.now(), (act, subject), ActOutcome::Done, detail)
    }

    /// All clients, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn list(&self) -> Result<Vec<ClientInfo>, ClientError> {
        let list = self.db.read(
            "client_list",
            "SELECT client_id, name, access_key, client_key.version AS version, extras, fmr,
                 document_fmr, terms, client.created_at AS created_at, disabled_at, last_used_at,
                 coalesce((SELECT comparisons FROM client_usage
                           WHERE client_usage.client_id = client.client_id AND day = $1), 0)
                     AS comparisons_today
             FROM client JOIN client_key USING (client_id)
             WHERE client_key.version =
                 (SELECT max(version) FROM client_key AS newest
                  WHERE newest.client_id = client.client_id)
             ORDER BY client.created_at, client_id",
        );
        Ok(list.bind(self.clock.day()).all(info).await?)
    }

    /// The Client-Id of the client with a name.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(super) async fn id_of_name(&self, name: &str) -> Result<Option<String>, ClientError> {
        let id =
            self.db.read("client_name", "SELECT client_id FROM client WHERE name = $1").bind(name);
        Ok(id.optional(|row| row.get("client_id")).await?)
    }

    /// How many clients are enabled, the console's own not counted.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn count(&self) -> Result<u64, ClientError> {
        let count = self.db.read(
            "client_count",
            "SELECT count(*) AS clients FROM client WHERE disabled_at IS NULL AND name <> $1",
        );
        let count = count.bind(CONSOLE).one(|row| row.get::<i64>("clients")).await?;
        Ok(count.unsigned_abs())
    }

    /// Every Client-Id, disabled clients included.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn ids(&self) -> Result<Vec<String>, ClientError> {
        let ids = self.db.read("client_ids", "SELECT client_id FROM client");
        Ok(ids.all(|row| row.get("client_id")).await?)
    }

    /// The current revision of a client; `None` if there is no such client. One indexed read,
    /// made for every request so that a change applies at once.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn revision(&self, client_id: &str) -> Result<Option<i64>, ClientError> {
        let revision =
            self.db.read("client_revision", "SELECT revision FROM client WHERE client_id = $1");
        Ok(revision.bind(client_id).optional(|row| row.get("revision")).await?)
    }

    /// A client with its keys.
    ///
    /// # Errors
    /// [`ClientError::Tampered`], or a failure of database, sealing or keys.
    pub async fn get(&self, client_id: &str) -> Result<Option<StoredClient>, ClientError> {
        let rows = self.rows(client_id).await?;
        if rows.is_empty() { Ok(None) } else { self.open(client_id, rows).map(Some) }
    }

    /// A client as it is stored, a row for each key set, newest first.
    pub(super) async fn rows(&self, client_id: &str) -> Result<Vec<ClientRow>, ClientError> {
        Ok(self.db.read("client_get", GET).bind(client_id).all(ClientRow::read).await?)
    }

    pub(super) fn open(
        &self,
        client_id: &str,
        rows: Vec<ClientRow>,
    ) -> Result<StoredClient, ClientError> {
        let tampered = || ClientError::Tampered(client_id.to_owned());
        if !mac::holds(&self.key, &rows) {
            // With another master key no MAC holds, and nothing opens.
            let opens = |ClientRow { keys, .. }: &ClientRow| {
                let label = server_key_label(client_id, keys.version);
                self.key.open(&label, &keys.server_key).is_ok()
            };
            let is_ours = rows.iter().any(opens);
            return Err(if is_ours { tampered() } else { SealError::DoesNotOpen.into() });
        }
        let newest = rows.first().ok_or_else(tampered)?;
        let (name, revision, extras) = (newest.name.clone(), newest.revision, newest.extras);
        let fmr = parse_fmr(newest.fmr, newest.document_fmr)?;
        let policy = parse_policy(newest.policy.as_deref())?;
        let disabled = newest.disabled_at.is_some();
        let open =
            |label: &str, sealed: &[u8]| self.key.open(label, sealed).map_err(ClientError::from);
        let keys =
            rows.into_iter().map(|ClientRow { keys, .. }| keys.open(client_id, open).map(Arc::new));
        let keys = keys.collect::<Result<_, ClientError>>()?;
        Ok(StoredClient { name, revision, keys, extras, fmr, policy, disabled })
    }
}

fn info(row: &Row) -> Result<ClientInfo, Error> {
    Ok(ClientInfo {
        client_id: row.get("client_id")?,
        name: row.get("name")?,
        access_key: row.get("access_key")?,
        key_version: parse_version(row)?,
        extras: row.get("extras")?,
        fmr: parse_fmr(row.get("fmr")?, row.get("document_fmr")?)?,
        policy: parse_policy(row.get::<Option<String>>("terms")?.as_deref())?,
        created_at: row.get("created_at")?,
        disabled_at: row.get("disabled_at")?,
        last_used_at: row.get("last_used_at")?,
        comparisons_today: row.get("comparisons_today")?,
    })
}

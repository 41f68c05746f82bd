//! The clients and their keys, private ones sealed, whichever database they lie in.

use std::sync::Arc;

use super::{
    audit::{Actor, AuditEntry},
    client::{ClientChange, ClientInfo, NewClient, StoredClient},
    error::ClientError,
    keys::{KeySet, NewKeys, SealedKeys, secret_label, server_key_label},
    mac,
    sql::{
        Changed, ChangedRow, ClientRow, Found, NewRow, on, once, parse_fmr, parse_terms, postgres,
        postgres_rows, sqlite, sqlite_rows,
    },
    terms::ClientTerms,
};
use crate::{
    clock::Clock,
    db::Db,
    sealing::{MasterKey, SealError},
};

/// The client table; clones share the connections.
#[derive(Debug, Clone)]
pub struct ClientStore {
    pub(super) db: Db,
    pub(super) key: MasterKey,
    pub(super) clock: Clock,
    actor: Actor,
}

impl ClientStore {
    /// The client table of a database.
    pub fn new(db: impl Into<Db>, key: MasterKey, clock: Clock) -> Self {
        Self { db: db.into(), key, clock, actor: Actor::new("") }
    }

    /// The same, with a name for the log of acts.
    #[must_use]
    pub fn acting(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    pub(super) fn act(&self, act: &str, subject: &str, detail: String) -> AuditEntry {
        AuditEntry {
            at: self.clock.now(),
            actor: self.actor.name().to_owned(),
            act: act.to_owned(),
            subject: subject.to_owned(),
            detail,
        }
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`ClientError::NameTaken`], or a failure of database or sealing.
    pub async fn add(&self, new: &NewClient<'_>) -> Result<(), ClientError> {
        let NewClient { client_id, name, extras, fmr, terms, .. } = *new;
        let terms = (terms != ClientTerms::default()).then(|| json(&terms));
        let detail =
            serde_json::json!({ "name": name, "extras": extras, "fmr": fmr, "terms": terms });
        let row = NewRow { client_id, name, extras, fmr, terms };
        let keys = self.seal(new.client_id, 1, &new.keys)?;
        let act = self.act("client add", client_id, detail.to_string());
        if once!(self, sqlite, postgres, add(&row, &keys, &act, &self.key))? {
            Ok(())
        } else {
            Err(ClientError::NameTaken(new.name.to_owned()))
        }
    }

    /// Gives a client new keys; the ones it has stay good for `overlap_ms` milliseconds, if they were
    /// not to end before. Returns the version of the new ones. Without an overlap it repairs a client
    /// that was changed outside of Visavis.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::SameKey`], [`ClientError::Rotating`], with an overlap
    /// [`ClientError::Tampered`], or a failure of database or sealing.
    pub async fn rotate(
        &self,
        client_id: &str,
        keys: &NewKeys<'_>,
        overlap_ms: i64,
    ) -> Result<u32, ClientError> {
        let rows = self.rows(client_id).await?;
        let newest = rows.first().ok_or_else(|| ClientError::Unknown(client_id.to_owned()))?;
        let (revision, version) = (newest.revision, newest.keys.version.saturating_add(1));
        let now = self.clock.now();
        if overlap_ms > 0 {
            let client = self.open(client_id, rows)?;
            let same =
                |set: &Arc<KeySet>| set.merchant_key.spki_der() == keys.merchant_key.spki_der();
            if client.keys.iter().filter(|set| set.is_valid(now)).any(same) {
                return Err(ClientError::SameKey);
            }
        }
        let sealed = self.seal(client_id, version, keys)?;
        let detail = serde_json::json!({ "keyVersion": version, "overlapMs": overlap_ms });
        let act = self.act("client rotate", client_id, detail.to_string());
        let end = now.saturating_add(overlap_ms);
        // Only if nobody has changed the client since it was read. None of the old keys is good any more without an
        // overlap, no matter who wrote them.
        let (current, repair) = ((client_id, revision), (&self.key, overlap_ms <= 0));
        let found = once!(self, sqlite, postgres, rotate(current, &sealed, end, &act, repair))?;
        match found {
            Found::Client => Ok(version),
            Found::Tampered => Err(ClientError::Tampered(client_id.to_owned())),
            Found::Nothing => Err(ClientError::Rotating(client_id.to_owned())),
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
        Ok(on!(self, sqlite, postgres, readers, list())?)
    }

    /// The Client-Id of the client with a name.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(super) async fn id_of_name(&self, name: &str) -> Result<Option<String>, ClientError> {
        Ok(on!(self, sqlite, postgres, readers, id_of_name(name))?)
    }

    /// Takes a client's right to call away, or gives it back.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], or [`ClientError::Tampered`] when it is to be given back.
    pub async fn set_disabled(&self, client_id: &str, disabled: bool) -> Result<(), ClientError> {
        let at = disabled.then(|| self.clock.now());
        let name = if disabled { "client disable" } else { "client enable" };
        let act = self.act(name, client_id, "{}".to_owned());
        let found = once!(self, sqlite, postgres, set_disabled(client_id, at, &act, &self.key))?;
        changed(client_id, found)
    }

    /// Changes what a client gets, all of it at once and from its next request on.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::Contradiction`], [`ClientError::Tampered`], or
    /// [`ClientError::Rotating`] when somebody else was quicker.
    pub async fn change(&self, client_id: &str, change: &ClientChange) -> Result<(), ClientError> {
        let ClientChange { extras, fmr, document_fmr, terms } = *change;
        let terms = if terms.is_empty() {
            None
        } else {
            let unknown = || ClientError::Unknown(client_id.to_owned());
            let client = self.get(client_id).await?.ok_or_else(unknown)?;
            let terms = terms.applied_to(client.terms);
            if terms.are_contradictory() {
                return Err(ClientError::Contradiction);
            }
            Some((json(&terms), client.revision))
        };
        let (fmr, document_fmr) = (Changed::from(fmr), Changed::from(document_fmr));
        let told = |changed: &Changed| changed.is.then_some(changed.to);
        let detail = serde_json::json!({
            "extras": extras, "fmr": told(&fmr), "documentFmr": told(&document_fmr),
            "terms": terms.as_ref().map(|(terms, _)| terms),
        });
        let row = ChangedRow { extras, fmr, document_fmr, terms };
        let act = self.act("client set", client_id, detail.to_string());
        let found = once!(self, sqlite, postgres, change(client_id, &row, &act, &self.key))?;
        if found == Found::Nothing && row.terms.is_some() {
            return Err(ClientError::Rotating(client_id.to_owned()));
        }
        changed(client_id, found)
    }

    /// How many clients may call, the console's own aside.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn count(&self) -> Result<u64, ClientError> {
        let count = on!(self, sqlite, postgres, readers, count())?;
        Ok(count.unsigned_abs())
    }

    /// Every Client-Id, disabled clients included.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn ids(&self) -> Result<Vec<String>, ClientError> {
        Ok(on!(self, sqlite, postgres, readers, ids())?)
    }

    /// Which revision of a client is current; `None` if there is no such client. One indexed read,
    /// made for every request so that a change counts at once.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn revision(&self, client_id: &str) -> Result<Option<i64>, ClientError> {
        Ok(on!(self, sqlite, postgres, readers, revision(client_id))?)
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
        Ok(on!(self, sqlite_rows, postgres_rows, readers, get(client_id))?)
    }

    fn open(&self, client_id: &str, rows: Vec<ClientRow>) -> Result<StoredClient, ClientError> {
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
        let terms = parse_terms(newest.terms.as_deref())?;
        let disabled = newest.disabled_at.is_some();
        let open =
            |label: &str, sealed: &[u8]| self.key.open(label, sealed).map_err(ClientError::from);
        let keys =
            rows.into_iter().map(|ClientRow { keys, .. }| keys.open(client_id, open).map(Arc::new));
        let keys = keys.collect::<Result<_, ClientError>>()?;
        Ok(StoredClient { name, revision, keys, extras, fmr, terms, disabled })
    }
}

/// What serialises without fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn changed(client_id: &str, found: Found) -> Result<(), ClientError> {
    match found {
        Found::Client => Ok(()),
        Found::Tampered => Err(ClientError::Tampered(client_id.to_owned())),
        Found::Nothing => Err(ClientError::Unknown(client_id.to_owned())),
    }
}

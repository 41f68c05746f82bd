//! Changing clients: each change in one transaction, with the MAC of the client and an audit event.

use std::sync::Arc;

use sqlx::Error;

use super::{
    audit_store::append,
    client::{ClientChange, FmrChange, NewClient},
    error::ClientError,
    keys::{KeySet, NewKeys, SealedKeys, secret_label, server_key_label},
    mac::{Integrity, lock, stamp},
    policy::ClientPolicy,
    store::ClientStore,
};
use crate::{clock::UnixMillis, db::Transaction};

/// A change of a nullable column.
#[derive(Clone, Copy)]
struct Changed {
    /// Otherwise the column keeps its value.
    is: bool,
    to: Option<f64>,
}

impl Changed {
    fn new(change: Option<FmrChange>) -> Self {
        let to = match change {
            Some(FmrChange::Own(fmr)) => Some(fmr.value()),
            Some(FmrChange::Default) | None => None,
        };
        Self { is: change.is_some(), to }
    }
}

impl ClientStore {
    /// Registers a client.
    ///
    /// # Errors
    /// [`ClientError::NameTaken`], or a failure of database or sealing.
    pub async fn add(&self, new: &NewClient<'_>) -> Result<(), ClientError> {
        self.record_unmade(("client add", new.client_id), self.try_to_add(new).await).await
    }

    async fn try_to_add(&self, new: &NewClient<'_>) -> Result<(), ClientError> {
        let NewClient { client_id, name, extras, fmr, policy, .. } = *new;
        let policy = (policy != ClientPolicy::default()).then_some(policy);
        let detail =
            serde_json::json!({ "name": name, "extras": extras, "fmr": fmr, "terms": policy });
        let policy = policy.map(|policy| json(&policy));
        let keys = self.seal(client_id, 1, &new.keys)?;
        let entry = self.audit_entry("client add", client_id, detail.to_string());
        let added = self.db.once("client_register", |attempt| async move {
            let mut tx = attempt.begin().await?;
            let inserted = tx.statement(
                "client_add",
                "INSERT INTO client (client_id, name, extras, created_at, fmr, document_fmr, terms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (name) DO NOTHING",
            );
            let inserted = inserted
                .bind(client_id)
                .bind(name)
                .bind(extras)
                .bind(entry.at)
                .bind(fmr.fmr.map(f64::from))
                .bind(fmr.document_fmr.map(f64::from))
                .bind(policy.as_deref());
            if inserted.run().await? == 0 {
                return Ok(false);
            }
            insert_keys(&mut tx, client_id, &keys, entry.at).await?;
            stamp(&mut tx, client_id, &self.key).await?;
            append(&mut tx, &entry, &self.key).await?;
            tx.commit().await.map(|()| true)
        });
        if added.await? { Ok(()) } else { Err(ClientError::NameTaken(name.to_owned())) }
    }

    /// Adds new keys to a client; the current ones expire after `overlap_ms` milliseconds, or
    /// earlier if they already expire earlier. Returns the version of the new keys. Without an
    /// overlap it repairs a client that was changed outside of Visavis.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::SameKey`], [`ClientError::Rotating`], with an
    /// overlap [`ClientError::Tampered`], or a failure of database or sealing.
    pub async fn rotate(
        &self,
        client_id: &str,
        keys: &NewKeys<'_>,
        overlap_ms: i64,
    ) -> Result<u32, ClientError> {
        let made = self.try_to_rotate(client_id, keys, overlap_ms).await;
        self.record_unmade(("client rotate", client_id), made).await
    }

    async fn try_to_rotate(
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
        let entry = self.audit_entry("client rotate", client_id, detail.to_string());
        let end = now.saturating_add(overlap_ms);
        let found = self.db.once("client_rotate", |attempt| async move {
            let mut tx = attempt.begin().await?;
            let found = lock(&mut tx, client_id, &self.key).await?;
            // Without an overlap all old keys expire, forged ones too.
            let repair = overlap_ms <= 0;
            if found == Integrity::Missing || (found == Integrity::Tampered && !repair) {
                return Ok(found);
            }
            // Only if the client was not changed since it was read.
            let touched = tx.statement(
                "client_rotate_revision",
                "UPDATE client SET revision = revision + 1 WHERE client_id = $1 AND revision = $2",
            );
            if touched.bind(client_id).bind(revision).run().await? == 0 {
                return Ok(Integrity::Missing);
            }
            let expire = tx.statement(
                "client_rotate_expiry",
                "UPDATE client_key SET expires_at = $2
                 WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2)",
            );
            expire.bind(client_id).bind(end).run().await?;
            insert_keys(&mut tx, client_id, &sealed, entry.at).await?;
            stamp(&mut tx, client_id, &self.key).await?;
            append(&mut tx, &entry, &self.key).await?;
            tx.commit().await.map(|()| Integrity::Intact)
        });
        match found.await? {
            Integrity::Intact => Ok(version),
            Integrity::Tampered => Err(ClientError::Tampered(client_id.to_owned())),
            Integrity::Missing => Err(ClientError::Rotating(client_id.to_owned())),
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

    /// Disables or enables a client.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], or [`ClientError::Tampered`] when it is to be enabled.
    pub async fn set_disabled(&self, client_id: &str, disabled: bool) -> Result<(), ClientError> {
        let act = if disabled { "client disable" } else { "client enable" };
        let made = self.try_to_disable(act, client_id, disabled).await;
        self.record_unmade((act, client_id), made).await
    }

    async fn try_to_disable(
        &self,
        act: &str,
        client_id: &str,
        disabled: bool,
    ) -> Result<(), ClientError> {
        let at = disabled.then(|| self.clock.now());
        let entry = self.audit_entry(act, client_id, "{}".to_owned());
        let found = self.db.once("client_set_disabled", |attempt| async move {
            let mut tx = attempt.begin().await?;
            let found = lock(&mut tx, client_id, &self.key).await?;
            // A tampered client can be disabled, which does not compute its MAC.
            if found == Integrity::Missing || (found == Integrity::Tampered && !disabled) {
                return Ok(found);
            }
            let disable = tx.statement(
                "client_disable",
                "UPDATE client SET disabled_at = $2, revision = revision + 1 WHERE client_id = $1",
            );
            disable.bind(client_id).bind(at).run().await?;
            if found == Integrity::Intact {
                stamp(&mut tx, client_id, &self.key).await?;
            }
            append(&mut tx, &entry, &self.key).await?;
            tx.commit().await.map(|()| Integrity::Intact)
        });
        changed(client_id, found.await?)
    }

    /// Changes a client; all changes apply together, from its next request.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::Contradiction`], [`ClientError::Tampered`], or
    /// [`ClientError::Rotating`] when another operator changed it at the same time.
    pub async fn change(&self, client_id: &str, change: &ClientChange) -> Result<(), ClientError> {
        let made = self.try_to_change(client_id, change).await;
        self.record_unmade(("client set", client_id), made).await
    }

    async fn try_to_change(
        &self,
        client_id: &str,
        change: &ClientChange,
    ) -> Result<(), ClientError> {
        let ClientChange { extras, fmr, document_fmr, policy } = *change;
        let policy = if policy.is_empty() {
            None
        } else {
            let unknown = || ClientError::Unknown(client_id.to_owned());
            let client = self.get(client_id).await?.ok_or_else(unknown)?;
            let policy = policy.applied_to(client.policy);
            if policy.is_contradictory() {
                return Err(ClientError::Contradiction);
            }
            Some((policy, client.revision))
        };
        let (fmr, document_fmr) = (Changed::new(fmr), Changed::new(document_fmr));
        let value = |changed: &Changed| changed.is.then_some(changed.to);
        let detail = serde_json::json!({
            "extras": extras, "fmr": value(&fmr), "documentFmr": value(&document_fmr),
            "terms": policy.as_ref().map(|(policy, _)| policy),
        });
        let entry = self.audit_entry("client set", client_id, detail.to_string());
        let has_policy = policy.is_some();
        let (policy, revision) = policy.map(|(policy, revision)| (json(&policy), revision)).unzip();
        let found = self.db.once("client_set", |attempt| async move {
            let mut tx = attempt.begin().await?;
            let found = lock(&mut tx, client_id, &self.key).await?;
            if found != Integrity::Intact {
                return Ok(found);
            }
            let changed = tx.statement(
                "client_change",
                "UPDATE client SET
                     extras = coalesce($2, extras),
                     fmr = CASE WHEN $3 THEN $4 ELSE fmr END,
                     document_fmr = CASE WHEN $5 THEN $6 ELSE document_fmr END,
                     terms = coalesce($7, terms),
                     revision = revision + 1
                 WHERE client_id = $1 AND ($8 IS NULL OR revision = $8)",
            );
            let changed = changed
                .bind(client_id)
                .bind(extras)
                .bind(fmr.is)
                .bind(fmr.to)
                .bind(document_fmr.is)
                .bind(document_fmr.to)
                .bind(policy.as_deref())
                .bind(revision);
            if changed.run().await? == 0 {
                return Ok(Integrity::Missing);
            }
            stamp(&mut tx, client_id, &self.key).await?;
            append(&mut tx, &entry, &self.key).await?;
            tx.commit().await.map(|()| Integrity::Intact)
        });
        let found = found.await?;
        if found == Integrity::Missing && has_policy {
            return Err(ClientError::Rotating(client_id.to_owned()));
        }
        changed(client_id, found)
    }
}

async fn insert_keys(
    tx: &mut Transaction,
    client_id: &str,
    keys: &SealedKeys,
    now: UnixMillis,
) -> Result<(), Error> {
    let insert = tx.statement(
        "client_keys",
        "INSERT INTO client_key
             (client_id, version, merchant_key, server_key, access_key, secret_key, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    );
    let insert = insert
        .bind(client_id)
        .bind(i64::from(keys.version))
        .bind(keys.merchant_key.as_slice())
        .bind(keys.server_key.as_slice())
        .bind(keys.access_key.as_str())
        .bind(keys.secret_key.as_slice())
        .bind(now);
    insert.run().await.map(drop)
}

/// JSON of a value that always serialises.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn changed(client_id: &str, found: Integrity) -> Result<(), ClientError> {
    match found {
        Integrity::Intact => Ok(()),
        Integrity::Tampered => Err(ClientError::Tampered(client_id.to_owned())),
        Integrity::Missing => Err(ClientError::Unknown(client_id.to_owned())),
    }
}

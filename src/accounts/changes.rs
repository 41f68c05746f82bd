//! Changing accounts: each change in one transaction, with the MAC of the account and an audit
//! event.

use serde_json::json;
use sqlx::Error;
use uuid::Uuid;

use super::{
    error::AccountError,
    password::PasswordHash,
    role::Role,
    store::{AccountStore, select},
    user::{User, name_key},
};
use crate::{
    clients::{AuditEntry, append, check_name},
    db::Transaction,
};

/// The name that the audit has for logins with the token.
pub(crate) const TOKEN_NAME: &str = "token";

/// A new account.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its role.
    pub role: Role,
    /// Its password.
    pub password: PasswordHash,
}

/// A change of an account; `None` keeps a value.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// Its role.
    pub role: Option<Role>,
    /// Its password.
    pub password: Option<PasswordHash>,
    /// Whether it is disabled.
    pub disabled: Option<bool>,
    /// The sealed secret of the second factor; `Some(None)` removes it.
    pub code_key: Option<Option<Vec<u8>>>,
}

/// What became of a change.
enum Changed {
    Done,
    Missing,
    Tampered,
    Overtaken,
    LastAdministrator,
}

impl AccountStore {
    /// Adds an account.
    ///
    /// # Errors
    /// [`AccountError::NameUnfit`], [`AccountError::NameTaken`], or a failure of the database.
    pub async fn add(&self, new: NewUser<'_>) -> Result<(), AccountError> {
        let NewUser { name, role, password } = new;
        check_name(name)?;
        if name_key(name) == TOKEN_NAME {
            let reason = "the name token stands for logins with the token: choose another name";
            return Err(AccountError::NameUnfit(reason.to_owned()));
        }
        let entry = self.0.audit_entry("user add", name, json!({ "role": role }).to_string());
        let mut user = User {
            id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            role,
            password,
            code_key: None,
            revision: 1,
            created_at: entry.at,
            disabled_at: None,
            locked_until: 0,
            last_login_at: None,
            last_login_from: None,
            mac: Vec::new(),
        };
        user.stamp(&self.0.key)?;
        let added = self.0.db.once("console_user_adding", |attempt| async move {
            let mut tx = attempt.begin().await?;
            let key = name_key(&user.name);
            let insert = tx.statement(
                "console_user_add",
                "INSERT INTO console_user (id, name, name_key, role, password, code_step, revision,
                     created_at, failures, locked_until, mac)
                 VALUES ($1, $2, $3, $4, $5, 0, $6, $7, 0, 0, $8)
                 ON CONFLICT (name_key) DO NOTHING",
            );
            let insert = insert
                .bind(user.id.as_str())
                .bind(user.name.as_str())
                .bind(key.as_str())
                .bind(user.role.as_str())
                .bind(user.password.0.as_str())
                .bind(user.revision)
                .bind(user.created_at)
                .bind(user.mac.as_slice());
            if insert.run().await? == 0 {
                return Ok(false);
            }
            append(&mut tx, &entry, &self.0.key).await?;
            tx.commit().await.map(|()| true)
        });
        if added.await? { Ok(()) } else { Err(AccountError::NameTaken(name.to_owned())) }
    }

    /// Changes an account; all changes apply together and end its sessions. A new password and
    /// enabling also end a lock.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Tampered`], [`AccountError::LastAdministrator`],
    /// [`AccountError::Changed`], or a failure of the database.
    pub async fn change(&self, name: &str, change: &UserChange) -> Result<(), AccountError> {
        let detail = json!({
            "role": change.role,
            "password": change.password.as_ref().map(|_| "changed"),
            "disabled": change.disabled,
            "code": change.code_key.as_ref().map(Option::is_some),
        });
        let entry = self.0.audit_entry("user set", name, detail.to_string());
        let entry = &entry;
        let changed = self.0.db.once("console_user_changing", |attempt| async move {
            let mut tx = attempt.begin().await?;
            let Some(old) = get(&mut tx, name).await? else { return Ok(Changed::Missing) };
            if !old.is_intact(&self.0.key) {
                return Ok(Changed::Tampered);
            }
            let mut new = changed(&old, change, entry.at);
            new.stamp(&self.0.key).map_err(|e| Error::Encode(e.into()))?;
            // First: it is locked to the end of the transaction, so changes follow each other.
            append(&mut tx, entry, &self.0.key).await?;
            if old.is_enabled_administrator()
                && !new.is_enabled_administrator()
                && !has_other_administrator(&mut tx, &old).await?
            {
                return Ok(Changed::LastAdministrator);
            }
            if !write(&mut tx, &old, &new, change).await? {
                return Ok(Changed::Overtaken);
            }
            tx.commit().await.map(|()| Changed::Done)
        });
        result(name, &changed.await?)
    }

    /// Deletes an account and ends its sessions.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::LastAdministrator`], or a failure of the
    /// database.
    pub async fn delete(&self, name: &str) -> Result<(), AccountError> {
        let entry = self.0.audit_entry("user delete", name, "{}".to_owned());
        let entry: &AuditEntry = &entry;
        let deleted = self.0.db.once("console_user_deleting", |attempt| async move {
            let mut tx = attempt.begin().await?;
            append(&mut tx, entry, &self.0.key).await?;
            let Some(old) = get(&mut tx, name).await? else { return Ok(Changed::Missing) };
            if old.is_enabled_administrator() && !has_other_administrator(&mut tx, &old).await? {
                return Ok(Changed::LastAdministrator);
            }
            let delete =
                tx.statement("console_user_delete", "DELETE FROM console_user WHERE id = $1");
            delete.bind(old.id.as_str()).run().await?;
            tx.commit().await.map(|()| Changed::Done)
        });
        result(name, &deleted.await?)
    }
}

fn changed(old: &User, change: &UserChange, now: i64) -> User {
    let mut new = old.clone();
    new.revision += 1;
    if let Some(role) = change.role {
        new.role = role;
    }
    if let Some(password) = &change.password {
        new.password = password.clone();
    }
    if let Some(disabled) = change.disabled {
        new.disabled_at = disabled.then(|| old.disabled_at.unwrap_or(now));
    }
    if let Some(code_key) = &change.code_key {
        new.code_key.clone_from(code_key);
    }
    new
}

async fn get(tx: &mut Transaction, name: &str) -> Result<Option<User>, Error> {
    let key = name_key(name);
    let get = tx.statement("console_user_locked", select!("WHERE name_key = $1"));
    get.bind(key.as_str()).optional(User::read).await
}

async fn has_other_administrator(tx: &mut Transaction, user: &User) -> Result<bool, Error> {
    let other = tx.statement(
        "console_other_administrator",
        "SELECT id FROM console_user
         WHERE role = 'administrator' AND disabled_at IS NULL AND id <> $1 LIMIT 1",
    );
    let other = other.bind(user.id.as_str()).optional(|row| row.get::<String>("id"));
    Ok(other.await?.is_some())
}

/// Writes a user over its earlier revision; whether that was still there.
async fn write(
    tx: &mut Transaction,
    old: &User,
    new: &User,
    change: &UserChange,
) -> Result<bool, Error> {
    let unlocks = change.password.is_some() || change.disabled == Some(false);
    let write = tx.statement(
        "console_user_change",
        "UPDATE console_user SET role = $3, password = $4, code_key = $5, disabled_at = $6,
             revision = $7, mac = $8,
             failures = CASE WHEN $9 THEN 0 ELSE failures END,
             locked_until = CASE WHEN $9 THEN 0 ELSE locked_until END
         WHERE id = $1 AND revision = $2",
    );
    let write = write
        .bind(old.id.as_str())
        .bind(old.revision)
        .bind(new.role.as_str())
        .bind(new.password.0.as_str())
        .bind(new.code_key.as_deref())
        .bind(new.disabled_at)
        .bind(new.revision)
        .bind(new.mac.as_slice())
        .bind(unlocks);
    Ok(write.run().await? > 0)
}

fn result(name: &str, changed: &Changed) -> Result<(), AccountError> {
    let name = name.to_owned();
    match changed {
        Changed::Done => Ok(()),
        Changed::Missing => Err(AccountError::Unknown(name)),
        Changed::Tampered => Err(AccountError::Tampered(name)),
        Changed::Overtaken => Err(AccountError::Changed(name)),
        Changed::LastAdministrator => Err(AccountError::LastAdministrator(name)),
    }
}

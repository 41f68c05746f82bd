//! An account as it is stored, and its MAC.

use serde::Serialize;
use sqlx::Error;

use super::{password::PasswordHash, role::Role};
use crate::{
    clock::UnixMillis,
    db::Row,
    sealing::{MacInput, MasterKey, SealError},
};

const LABEL: &str = "console-user";

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    pub(crate) id: String,
    /// Its name, given by an administrator.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) password: PasswordHash,
    /// The secret of the second factor, sealed.
    pub(super) code_key: Option<Vec<u8>>,
    pub(super) revision: i64,
    pub(super) created_at: UnixMillis,
    pub(super) disabled_at: Option<UnixMillis>,
    pub(super) locked_until: UnixMillis,
    pub(super) last_login_at: Option<UnixMillis>,
    pub(super) last_login_from: Option<String>,
    pub(super) mac: Vec<u8>,
}

/// An account without its secrets, for administrators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether it has a second factor.
    pub has_code: bool,
    /// When it was created.
    pub(crate) created_at: UnixMillis,
    /// Since when it is disabled; `None`: it is not.
    pub disabled_at: Option<UnixMillis>,
    /// The last login.
    pub(crate) last_login_at: Option<UnixMillis>,
    /// The address of the last login.
    pub(crate) last_login_from: Option<String>,
    /// Whether the account was changed outside of Visavis and cannot be used.
    pub(crate) tampered: bool,
}

impl User {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let role: String = row.get("role")?;
        let role = Role::parse(&role)
            .ok_or_else(|| Error::Decode(format!("unknown role {role:?}").into()))?;
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            role,
            password: PasswordHash(row.get("password")?),
            code_key: row.get("code_key")?,
            revision: row.get("revision")?,
            created_at: row.get("created_at")?,
            disabled_at: row.get("disabled_at")?,
            locked_until: row.get("locked_until")?,
            last_login_at: row.get("last_login_at")?,
            last_login_from: row.get("last_login_from")?,
            mac: row.get("mac")?,
        })
    }

    /// Whether the account can be used.
    pub(crate) fn is_enabled(&self) -> bool {
        self.disabled_at.is_none()
    }

    pub(crate) fn has_code(&self) -> bool {
        self.code_key.is_some()
    }

    pub(super) fn is_enabled_administrator(&self) -> bool {
        self.role == Role::Administrator && self.is_enabled()
    }

    /// The MAC under the current key. What a login changes is left out.
    pub(super) fn stamp(&mut self, key: &MasterKey) -> Result<(), SealError> {
        self.mac = key.mac(LABEL, &self.input())?;
        Ok(())
    }

    /// Whether it is as Visavis stored it.
    pub(super) fn is_intact(&self, key: &MasterKey) -> bool {
        key.has_made(LABEL, &self.input(), &self.mac)
    }

    fn input(&self) -> MacInput {
        MacInput::default()
            .field(self.id.as_bytes())
            .field(self.name.as_bytes())
            .field(self.role.as_str().as_bytes())
            .field(self.password.0.as_bytes())
            .nullable(self.code_key.as_deref())
            .field(&self.revision.to_be_bytes())
            .nullable(self.disabled_at.map(i64::to_be_bytes))
    }

    pub(super) fn info(&self, key: &MasterKey) -> UserInfo {
        UserInfo {
            name: self.name.clone(),
            role: self.role,
            has_code: self.has_code(),
            created_at: self.created_at,
            disabled_at: self.disabled_at,
            last_login_at: self.last_login_at,
            last_login_from: self.last_login_from.clone(),
            tampered: !self.is_intact(key),
        }
    }
}

/// The name by which an account is found.
pub(super) fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// The label under which the secret of a second factor is sealed.
pub(super) fn code_label(user_id: &str) -> String {
    format!("console-code:{user_id}")
}

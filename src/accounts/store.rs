//! Looking up accounts.

use zeroize::Zeroizing;

use super::{
    code::CodeKey,
    error::AccountError,
    user::{User, UserInfo, code_label, name_key},
};
use crate::{
    clients::{ActOutcome, Actor, ClientStore},
    sealing::SealError,
};

/// The accounts in a database; clones share the connections.
#[derive(Debug, Clone)]
pub struct AccountStore(pub(super) ClientStore);

/// The columns of an account.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, role, password, code_key, revision, created_at, disabled_at,
                 locked_until, last_login_at, last_login_from, console_user.mac AS mac
             FROM console_user ",
            $rest
        )
    };
}
pub(super) use select;

impl AccountStore {
    /// The accounts in the database of these clients, under the same master key.
    pub fn new(store: ClientStore) -> Self {
        Self(store)
    }

    /// The same, with the actor of audit events.
    #[must_use]
    pub(crate) fn with_actor(&self, actor: Actor) -> Self {
        Self(self.0.clone().with_actor(actor))
    }

    /// Records an audit event that is not a change of an account.
    ///
    /// # Errors
    /// A failure of the database.
    pub(crate) async fn record(
        &self,
        act: &'static str,
        subject: &str,
        outcome: ActOutcome,
        detail: &serde_json::Value,
    ) -> Result<(), AccountError> {
        Ok(self.0.record_audit_event(act, subject, outcome, detail).await?)
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn list(&self) -> Result<Vec<UserInfo>, AccountError> {
        let users = self.users().await?;
        Ok(users.iter().map(|user| user.info(&self.0.key)).collect())
    }

    pub(super) async fn users(&self) -> Result<Vec<User>, sqlx::Error> {
        let users = self.0.db.read("console_users", select!("ORDER BY name_key"));
        users.all(User::read).await
    }

    /// The account with a name.
    ///
    /// # Errors
    /// [`AccountError::Tampered`], or a failure of the database.
    pub async fn find(&self, name: &str) -> Result<Option<User>, AccountError> {
        let key = name_key(name);
        let user = self.0.db.read("console_user", select!("WHERE name_key = $1"));
        let user = user.bind(key.as_str()).optional(User::read).await?;
        match user {
            Some(user) if !user.is_intact(&self.0.key) => Err(AccountError::Tampered(user.name)),
            user => Ok(user),
        }
    }

    /// Whether an administrator exists, so that a token opens nothing.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn has_administrator(&self) -> Result<bool, AccountError> {
        let any = self.0.db.read(
            "console_administrator",
            "SELECT id FROM console_user
             WHERE role = 'administrator' AND disabled_at IS NULL LIMIT 1",
        );
        Ok(any.optional(|row| row.get::<String>("id")).await?.is_some())
    }

    /// Seals what a browser keeps until it comes back, for the purpose `label`.
    ///
    /// # Errors
    /// [`AccountError::Seal`].
    pub(crate) fn seal(&self, label: &str, plain: &[u8]) -> Result<Vec<u8>, AccountError> {
        Ok(self.0.key.seal(label, plain)?)
    }

    /// Opens what [`seal`](Self::seal) made with the same label.
    ///
    /// # Errors
    /// [`SealError::DoesNotOpen`].
    pub(crate) fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.0.key.open(label, sealed)
    }

    /// Seals the secret of a second factor for a user.
    ///
    /// # Errors
    /// [`AccountError::Seal`].
    pub fn seal_code(&self, user: &User, key: &CodeKey) -> Result<Vec<u8>, AccountError> {
        Ok(self.0.key.seal(&code_label(&user.id), key.as_bytes())?)
    }

    /// Opens what [`seal_code`](Self::seal_code) made for the same user.
    ///
    /// # Errors
    /// [`SealError::DoesNotOpen`].
    pub(crate) fn open_code(&self, user: &User, sealed: &[u8]) -> Result<CodeKey, SealError> {
        self.0.key.open(&code_label(&user.id), sealed).map(CodeKey::from_bytes)
    }
}

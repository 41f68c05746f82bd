//! What can go wrong with accounts.

use crate::{bearer::NoRandomNumbers, clients::ClientError, sealing::SealError};

/// What can go wrong with accounts and sessions.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another account has this name, perhaps in other letters of upper and lower case.
    #[error("a user named `{0}` already exists: choose another name")]
    NameTaken(String),
    /// The name is not allowed.
    #[error("{0}")]
    NameUnfit(String),
    /// The password is not allowed.
    #[error("{0}")]
    PasswordUnfit(&'static str),
    /// No account has this name.
    #[error("no user `{0}`: `visavis console user list` lists all users")]
    Unknown(String),
    /// No enabled administrator would be left.
    #[error("`{0}` is the last enabled administrator: make another user administrator first")]
    LastAdministrator(String),
    /// Another administrator has changed the account at the same time.
    #[error("`{0}` was changed at the same time: check the account and try again")]
    Changed(String),
    /// The MAC of the account is wrong.
    #[error(
        "the user `{0}` was changed outside of Visavis: delete the account and create it again, or \
         restore the database from a backup"
    )]
    Tampered(String),
    /// The password could not be hashed.
    #[error("cannot hash the password: {0}")]
    Hash(String),
    /// The random number generator failed.
    #[error("no random numbers")]
    Random,
    /// The audit could not be written.
    #[error(transparent)]
    Audit(ClientError),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A value could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl AccountError {
    /// Whether no connection became free in time: the load is too high, and nothing is broken.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }
}

impl From<NoRandomNumbers> for AccountError {
    fn from(_: NoRandomNumbers) -> Self {
        Self::Random
    }
}

impl From<ClientError> for AccountError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NameUnfit(reason) => Self::NameUnfit(reason),
            ClientError::Database(error) => Self::Database(error),
            error => Self::Audit(error),
        }
    }
}

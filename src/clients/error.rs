//! What can go wrong with clients and their keys.

use visavis_signing::SigningError;

use super::audit::ActOutcome;
use crate::sealing::SealError;

/// What can go wrong with the client table.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Another client has this name.
    #[error("a client named `{0}` already exists: choose another name")]
    NameTaken(String),
    /// The name is not allowed.
    #[error("{0}")]
    NameUnfit(String),
    /// No client has this id or name.
    #[error("no client `{0}`: `visavis client list` lists all clients")]
    Unknown(String),
    /// The installation has no database with this number, or this process does not serve it.
    #[error("database number {0} does not exist here: the first of database.urls has the number 0")]
    NoShard(u32),
    /// No database of this process has the client, and other processes serve more databases.
    #[error("this process does not serve all databases: the client may be in another one")]
    NotServed,
    /// The client has the public key in keys that would remain valid.
    #[error(
        "the client already has this public key, so during the overlap it would be ambiguous \
         which server key the app uses: give another public key, or end the old keys at once \
         (--overlap 0)"
    )]
    SameKey,
    /// The public key is that of a key of ours, whose signatures are on every response.
    #[error("the public key is one of this server: give the public half of the app's own key pair")]
    ServerKey,
    /// No request could fulfil the policy.
    #[error(
        "access-key mode has no encryption, so a client that is limited to it cannot be required \
         to encrypt: allow the key pair (--modes all or key-pair), or make encryption optional"
    )]
    Contradiction,
    /// Another operator has changed the client at the same time.
    #[error(
        "`{0}` was changed by another operator at the same time: check its settings and try again"
    )]
    Rotating(String),
    /// The MAC of the client is wrong.
    #[error(
        "the client `{0}` was changed outside of Visavis: restore the database from a backup, or \
         check the client's settings and rotate its keys at once \
         (`visavis client rotate {0} --overlap 0`)"
    )]
    Tampered(String),
    /// Jobs or outcomes of the client are stored.
    #[error(
        "the client `{0}` has transactions: delete them too with --with-transactions, or wait \
         until their retention period has ended"
    )]
    HasTransactions(String),
    /// The clients were stored by an earlier version, and what protects them against changes is
    /// missing.
    #[error(
        "the clients are from an earlier version and have no MACs yet: stop all processes, then \
         run `visavis migrate`"
    )]
    NoMacs,
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
    /// What the audit says of a change that ended with this error.
    pub(super) fn outcome(&self) -> ActOutcome {
        match self {
            Self::Database(_) | Self::Seal(_) | Self::Signing(_) => ActOutcome::Failed,
            _ => ActOutcome::Refused,
        }
    }

    /// Whether no connection became free in time: the load is too high, and nothing is broken.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }
}

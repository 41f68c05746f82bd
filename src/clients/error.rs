//! What can go wrong with clients and their keys.

use visavis_signing::SigningError;

use crate::sealing::SealError;

/// What can go wrong with the client table.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Another client has that name.
    #[error("there is a client called `{0}` already; choose another name")]
    NameTaken(String),
    /// No client may have that name.
    #[error("{0}")]
    NameUnfit(String),
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
    /// The public key is that of a key of ours, whose signatures are on every response.
    #[error("the public key is one of this server: give the public half of the app's own key pair")]
    ServerKey,
    /// No request could fulfil the terms.
    #[error(
        "a client that signs with its access key cannot be made to encrypt: that mode has no encryption; allow it \
         the key pair (--modes all or key-pair), or leave encryption optional"
    )]
    Contradiction,
    /// Somebody else has changed the client in the same moment.
    #[error("`{0}` was changed by somebody else in the same moment; look at it and try again")]
    Rotating(String),
    /// The MAC of the client does not hold.
    #[error(
        "the client `{0}` was changed outside of Visavis: restore the database from a backup, or look at the client's \
         settings and give it new keys at once (`visavis client rotate {0} --overlap 0`)"
    )]
    Tampered(String),
    /// The clients were stored by an earlier version, and what protects them against changes is missing.
    #[error(
        "the clients are from an earlier version and have no MACs yet: stop all processes, then run `visavis migrate`"
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
    /// Whether no connection became free in time: too much is going on, and nothing is broken.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolTimedOut))
    }
}

//! What can go wrong with a login at a provider.

use crate::bearer::NoRandomNumbers;

/// Why a login at a provider failed. Contains no code, token or secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OidcError {
    /// It did not respond, or with an error of its own.
    #[error("the OpenID provider does not respond: {0}")]
    Away(String),
    /// It did not accept the login, or the person cancelled it; the error code of RFC 6749.
    #[error("the OpenID provider refused the login: {0}")]
    Refused(String),
    /// What it sent, or a setting, cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The random number generator failed.
    #[error("no random numbers")]
    Random,
}

impl From<NoRandomNumbers> for OidcError {
    fn from(_: NoRandomNumbers) -> Self {
        Self::Random
    }
}

impl OidcError {
    /// What a provider sent is not what the protocol demands.
    pub(super) fn unusable(what: &str, reason: impl std::fmt::Display) -> Self {
        Self::Unusable(format!("{what} of the OpenID provider is not valid: {reason}"))
    }
}

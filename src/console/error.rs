//! Errors of the console: an HTTP status, and a code for which the page has a sentence.

use axum::http::StatusCode;
use visavis_signing::SigningError;

use crate::{
    accounts::AccountError, clients::ClientError, oidc::OidcError, queue::QueueError,
    worker::CompareFailure,
};

/// Why a request failed; `assets/texts.*.js` have a sentence for each code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConsoleError {
    /// Not logged in, or the login has expired.
    LoggedOut,
    /// Wrong token.
    WrongToken,
    /// Wrong name or password.
    WrongPassword,
    /// The password is right, and the user has a second factor.
    CodeNeeded,
    /// Wrong one-time code, or one that was used before.
    WrongCode,
    /// Too many failed attempts.
    TooManyLogins,
    /// The login has not the right to do this.
    NotAllowed,
    /// The groups that an authenticating proxy or a provider names have no role.
    NoRole,
    /// The provider sends no name that can be used.
    NoName,
    /// The provider does not respond.
    ProviderAway,
    /// The provider did not accept the code.
    ProviderRefused,
    /// The provider, or a setting for it, cannot be used; the cause is in the log.
    ProviderUnusable,
    /// The login at the provider took too long, or began in another browser.
    LoginExpired,
    /// A login with the token, by a proxy or at a provider has no account.
    NoAccount,
    /// The accounts are in a database that this process does not serve.
    NoAccounts,
    /// Not a valid name of a user.
    InvalidUserName,
    /// Another user has the name.
    UserNameTaken,
    /// Unknown user.
    UnknownUser,
    /// The password is too short or too long.
    InvalidPassword,
    /// No enabled administrator would be left.
    LastAdministrator,
    /// The account was changed outside of Visavis.
    TamperedUser,
    /// The request was not sent by the console's page.
    CrossOrigin,
    /// Unknown path.
    NotFound,
    /// The body is not the expected JSON.
    Malformed,
    /// Not a valid name of a client.
    InvalidName,
    /// The name is reserved for the console's own client.
    ReservedName,
    /// Another client has the name.
    NameTaken,
    /// Unknown client.
    UnknownClient,
    /// The client is active, so it cannot be deleted.
    ActiveClient,
    /// The client has transactions, so it cannot be deleted yet.
    HasTransactions,
    /// Not a valid public key.
    InvalidKey,
    /// The public key is weak: an attacker can forge signatures.
    WeakKey,
    /// The public key belongs to this server.
    ServerKey,
    /// The client has this public key already.
    SameKey,
    /// The false match rate is out of range.
    InvalidRate,
    /// Not a positive integer.
    InvalidNumber,
    /// No request could satisfy these settings.
    Contradiction,
    /// The overlap is too long.
    OverlapTooLong,
    /// Another change was made at the same time.
    ConcurrentChange,
    /// The client or transaction may be in a database that this process does not serve.
    OtherDatabase,
    /// Unknown transaction.
    UnknownTransaction,
    /// This process serves no API requests.
    NoFrontEnd,
    /// This process does not compare.
    NoWorkers,
    /// The photo is not valid base64.
    InvalidPicture,
    /// A limit was reached; try again later.
    Busy,
    /// The request timed out.
    TimedOut,
    /// Internal error; the cause is in the log.
    Internal,
}

impl ConsoleError {
    pub(super) fn code(self) -> (StatusCode, &'static str) {
        match self {
            Self::LoggedOut => (StatusCode::UNAUTHORIZED, "loggedOut"),
            Self::WrongToken => (StatusCode::UNAUTHORIZED, "wrongToken"),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrongPassword"),
            Self::CodeNeeded => (StatusCode::UNAUTHORIZED, "codeNeeded"),
            Self::WrongCode => (StatusCode::UNAUTHORIZED, "wrongCode"),
            Self::TooManyLogins => (StatusCode::TOO_MANY_REQUESTS, "tooManyLogins"),
            Self::NotAllowed => (StatusCode::FORBIDDEN, "notAllowed"),
            Self::NoRole => (StatusCode::FORBIDDEN, "noRole"),
            Self::NoName => (StatusCode::FORBIDDEN, "noName"),
            Self::ProviderAway => (StatusCode::BAD_GATEWAY, "providerAway"),
            Self::ProviderRefused => (StatusCode::UNAUTHORIZED, "providerRefused"),
            Self::ProviderUnusable => (StatusCode::BAD_GATEWAY, "providerUnusable"),
            Self::LoginExpired => (StatusCode::UNAUTHORIZED, "loginExpired"),
            Self::NoAccount => (StatusCode::CONFLICT, "noAccount"),
            Self::NoAccounts => (StatusCode::CONFLICT, "noAccounts"),
            Self::InvalidUserName => (StatusCode::BAD_REQUEST, "userNameUnfit"),
            Self::UserNameTaken => (StatusCode::CONFLICT, "userNameTaken"),
            Self::UnknownUser => (StatusCode::NOT_FOUND, "unknownUser"),
            Self::InvalidPassword => (StatusCode::BAD_REQUEST, "passwordUnfit"),
            Self::LastAdministrator => (StatusCode::CONFLICT, "lastAdministrator"),
            Self::TamperedUser => (StatusCode::CONFLICT, "tamperedUser"),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "foreign"),
            Self::NotFound => (StatusCode::NOT_FOUND, "nothing"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            Self::InvalidName => (StatusCode::BAD_REQUEST, "nameUnfit"),
            Self::ReservedName => (StatusCode::BAD_REQUEST, "nameOwn"),
            Self::NameTaken => (StatusCode::CONFLICT, "nameTaken"),
            Self::UnknownClient => (StatusCode::NOT_FOUND, "unknownClient"),
            Self::ActiveClient => (StatusCode::CONFLICT, "activeClient"),
            Self::HasTransactions => (StatusCode::CONFLICT, "hasTransactions"),
            Self::InvalidKey => (StatusCode::BAD_REQUEST, "keyUnfit"),
            Self::WeakKey => (StatusCode::BAD_REQUEST, "keyWeak"),
            Self::SameKey => (StatusCode::CONFLICT, "sameKey"),
            Self::ServerKey => (StatusCode::CONFLICT, "serverKey"),
            Self::InvalidRate => (StatusCode::BAD_REQUEST, "rateUnfit"),
            Self::InvalidNumber => (StatusCode::BAD_REQUEST, "numberUnfit"),
            Self::Contradiction => (StatusCode::BAD_REQUEST, "contradiction"),
            Self::OverlapTooLong => (StatusCode::BAD_REQUEST, "overlapUnfit"),
            Self::ConcurrentChange => (StatusCode::CONFLICT, "overtaken"),
            Self::OtherDatabase => (StatusCode::CONFLICT, "elsewhere"),
            Self::UnknownTransaction => (StatusCode::NOT_FOUND, "unknownTransaction"),
            Self::NoFrontEnd => (StatusCode::CONFLICT, "noFrontEnd"),
            Self::NoWorkers => (StatusCode::CONFLICT, "noWorkers"),
            Self::InvalidPicture => (StatusCode::BAD_REQUEST, "pictureUnfit"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timedOut"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Logs the cause, which the response does not contain.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "console request failed");
        Self::Internal
    }
}

impl From<ClientError> for ConsoleError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NameTaken(_) => Self::NameTaken,
            ClientError::NameUnfit(_) => Self::InvalidName,
            ClientError::Unknown(_) => Self::UnknownClient,
            ClientError::HasTransactions(_) => Self::HasTransactions,
            ClientError::NoShard(_) | ClientError::NotServed => Self::OtherDatabase,
            ClientError::SameKey => Self::SameKey,
            ClientError::ServerKey => Self::ServerKey,
            ClientError::Signing(SigningError::Weak(_)) => Self::WeakKey,
            ClientError::Contradiction => Self::Contradiction,
            ClientError::Rotating(_) => Self::ConcurrentChange,
            error if error.is_crowded() => Self::Busy,
            error => Self::internal(&error),
        }
    }
}

impl From<AccountError> for ConsoleError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NameTaken(_) => Self::UserNameTaken,
            AccountError::NameUnfit(_) => Self::InvalidUserName,
            AccountError::PasswordUnfit(_) => Self::InvalidPassword,
            AccountError::Unknown(_) => Self::UnknownUser,
            AccountError::LastAdministrator(_) => Self::LastAdministrator,
            AccountError::Changed(_) => Self::ConcurrentChange,
            error @ AccountError::Tampered(_) => {
                tracing::error!(%error, "console request refused");
                Self::TamperedUser
            }
            error if error.is_crowded() => Self::Busy,
            error => Self::internal(&error),
        }
    }
}

impl From<OidcError> for ConsoleError {
    fn from(error: OidcError) -> Self {
        tracing::warn!(%error, "the OpenID provider did not do what the console asked for");
        match error {
            OidcError::Away(_) => Self::ProviderAway,
            OidcError::Refused(_) => Self::ProviderRefused,
            OidcError::Unusable(_) => Self::ProviderUnusable,
            OidcError::Random => Self::Internal,
        }
    }
}

impl From<QueueError> for ConsoleError {
    fn from(error: QueueError) -> Self {
        if error.is_crowded() { Self::Busy } else { Self::internal(&error) }
    }
}

impl From<SigningError> for ConsoleError {
    fn from(error: SigningError) -> Self {
        Self::internal(&error)
    }
}

impl From<CompareFailure> for ConsoleError {
    fn from(failure: CompareFailure) -> Self {
        match failure {
            CompareFailure::Busy => Self::Busy,
            CompareFailure::TimedOut => Self::TimedOut,
            // It is in the log already.
            CompareFailure::Failed => Self::Internal,
        }
    }
}

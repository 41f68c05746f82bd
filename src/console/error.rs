//! Why the console did not do something: a status for machines and a code that the page has a sentence for.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use visavis_signing::SigningError;

use super::api::Told;
use crate::{clients::ClientError, queue::QueueError, worker::CompareFailure};

/// A refusal; `assets/texts.js` has a sentence for each code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody is logged in, or not any more.
    LoggedOut,
    /// The token is not the one.
    WrongToken,
    /// Too many tokens were wrong of late.
    TooManyLogins,
    /// The request does not come from the console's page.
    Foreign,
    /// There is nothing at that address.
    Nothing,
    /// The body is not what is expected.
    Malformed,
    /// A client cannot be called that.
    NameUnfit,
    /// The console's own client is called that.
    NameOwn,
    /// Another client is called that.
    NameTaken,
    /// There is no such client.
    UnknownClient,
    /// The public key cannot be used.
    KeyUnfit,
    /// Anybody can forge signatures for the public key.
    KeyWeak,
    /// The public key is one of this server.
    ServerKey,
    /// The public key is one that stays good.
    SameKey,
    /// The rate is none that a decision may turn at.
    RateUnfit,
    /// It is no whole number, or none that can be.
    NumberUnfit,
    /// No request could fulfil what is asked for.
    Contradiction,
    /// The old keys cannot stay good for so long.
    OverlapUnfit,
    /// Somebody else was at it at the same time.
    Overtaken,
    /// It may lie in a database that this process does not serve.
    Elsewhere,
    /// There is no such transaction.
    UnknownTransaction,
    /// This process does not answer API requests.
    NoFrontEnd,
    /// This process does not compare.
    NoWorkers,
    /// The picture cannot be used as it is.
    PictureUnfit,
    /// Too much to do.
    Busy,
    /// It took too long.
    TimedOut,
    /// Something broke; the log knows what.
    Internal,
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
}

impl Refused {
    fn code(self) -> (StatusCode, &'static str) {
        match self {
            Self::LoggedOut => (StatusCode::UNAUTHORIZED, "loggedOut"),
            Self::WrongToken => (StatusCode::UNAUTHORIZED, "wrongToken"),
            Self::TooManyLogins => (StatusCode::TOO_MANY_REQUESTS, "tooManyLogins"),
            Self::Foreign => (StatusCode::FORBIDDEN, "foreign"),
            Self::Nothing => (StatusCode::NOT_FOUND, "nothing"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            Self::NameUnfit => (StatusCode::BAD_REQUEST, "nameUnfit"),
            Self::NameOwn => (StatusCode::BAD_REQUEST, "nameOwn"),
            Self::NameTaken => (StatusCode::CONFLICT, "nameTaken"),
            Self::UnknownClient => (StatusCode::NOT_FOUND, "unknownClient"),
            Self::KeyUnfit => (StatusCode::BAD_REQUEST, "keyUnfit"),
            Self::KeyWeak => (StatusCode::BAD_REQUEST, "keyWeak"),
            Self::SameKey => (StatusCode::CONFLICT, "sameKey"),
            Self::ServerKey => (StatusCode::CONFLICT, "serverKey"),
            Self::RateUnfit => (StatusCode::BAD_REQUEST, "rateUnfit"),
            Self::NumberUnfit => (StatusCode::BAD_REQUEST, "numberUnfit"),
            Self::Contradiction => (StatusCode::BAD_REQUEST, "contradiction"),
            Self::OverlapUnfit => (StatusCode::BAD_REQUEST, "overlapUnfit"),
            Self::Overtaken => (StatusCode::CONFLICT, "overtaken"),
            Self::Elsewhere => (StatusCode::CONFLICT, "elsewhere"),
            Self::UnknownTransaction => (StatusCode::NOT_FOUND, "unknownTransaction"),
            Self::NoFrontEnd => (StatusCode::CONFLICT, "noFrontEnd"),
            Self::NoWorkers => (StatusCode::CONFLICT, "noWorkers"),
            Self::PictureUnfit => (StatusCode::BAD_REQUEST, "pictureUnfit"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timedOut"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Logs what broke and tells nothing of it.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "the console could not do something");
        Self::Internal
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error) = self.code();
        (status, Told(Body { error })).into_response()
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NameTaken(_) => Self::NameTaken,
            ClientError::NameUnfit(_) => Self::NameUnfit,
            ClientError::Unknown(_) => Self::UnknownClient,
            ClientError::NoShard(_) | ClientError::NotServed => Self::Elsewhere,
            ClientError::SameKey => Self::SameKey,
            ClientError::ServerKey => Self::ServerKey,
            ClientError::Signing(SigningError::Weak(_)) => Self::KeyWeak,
            ClientError::Contradiction => Self::Contradiction,
            ClientError::Rotating(_) => Self::Overtaken,
            error if error.is_crowded() => Self::Busy,
            error => Self::internal(&error),
        }
    }
}

impl From<QueueError> for Refused {
    fn from(error: QueueError) -> Self {
        if error.is_crowded() { Self::Busy } else { Self::internal(&error) }
    }
}

impl From<SigningError> for Refused {
    fn from(error: SigningError) -> Self {
        Self::internal(&error)
    }
}

impl From<CompareFailure> for Refused {
    fn from(failure: CompareFailure) -> Self {
        match failure {
            CompareFailure::Busy => Self::Busy,
            CompareFailure::TimedOut => Self::TimedOut,
            // It is in the log already.
            CompareFailure::Failed => Self::Internal,
        }
    }
}

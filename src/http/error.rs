//! Everything that can be answered instead of a result: one table from kind to result code.
//!
//! Messages are plain ASCII without quotes, backslashes and percent signs, because some clients
//! re-serialise an answer before they verify it. What broke inside is logged, never answered.

use axum::response::{IntoResponse, Response};

use super::answer::{Answer, ResultPart};
use crate::{
    clients::ClientError,
    compare::{DecodeLimits, Refusal, TransactionId},
    queue::QueueError,
};

/// Every result code that can be answered, as they are published.
pub const RESULT_CODES: [&str; 15] = [
    "SUCCESS",
    "PROCESSING",
    "NO_INTERFACE_DEF",
    "PARAM_MISSING",
    "PARAM_ILLEGAL",
    "MERCHANT_NOT_FOUND",
    "KEY_NOT_FOUND",
    "ACCESS_DENIED",
    "SIGNATURE_INVALID",
    "MSG_PARSE_ERROR",
    "UNABLE_GET_IMAGE",
    "PROCESS_TIMEOUT",
    "INVALID_ARGUMENT",
    "REQUEST_TRAFFIC_EXCEED_LIMIT",
    "SYSTEM_ERROR",
];

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// No endpoint has that path, or not with that method.
    UnknownEndpoint,
    /// A required header is absent.
    MissingHeader(&'static str),
    /// A header is there and wrong.
    IllegalHeader(&'static str, String),
    /// No client has that id.
    UnknownClient,
    /// The client may not call any more.
    ClientDisabled,
    /// The client may call, but not in this way.
    NotAllowed(&'static str),
    /// The client has no such access key, or not any more.
    UnknownAccessKey,
    /// The signature is not by the client's key over this request.
    BadSignature,
    /// The signature is by a key that the client has replaced.
    KeyExpired,
    /// The body does not decrypt into a JSON object, for whatever reason.
    Undecryptable,
    /// Too many bodies of the client did not decrypt of late.
    TooManyUndecryptable,
    /// The body is empty.
    EmptyBody,
    /// The body is not a JSON object.
    NotJson,
    /// The body is larger than the limit, bytes.
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    BodyTooSlow,
    /// A member of the JSON object is wrong.
    Invalid(&'static str, String),
    /// A picture cannot be used; the name is the member that holds it.
    Picture(&'static str, Refusal, DecodeLimits, Option<TransactionId>),
    /// There is no such transaction of this client.
    UnknownTransaction,
    /// Too many requests from one address did not prove who they are of late.
    TooManyStrangers,
    /// Something is full, or the client has had what it may have.
    Overloaded(Limit),
    /// No outcome within the patience.
    TimedOut,
    /// The transaction was given up.
    GivenUp(TransactionId),
    /// Something broke on our side; details are in the log.
    Internal,
}

/// Which limit a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Jobs or bytes in the queue, or the client's share of them.
    Queue,
    /// Request bodies in memory.
    Memory,
    /// Callers who wait for a thread.
    Threads,
    /// Connections to the database.
    Database,
    /// Requests a second of the client.
    Rate,
    /// Comparisons a day of the client.
    Quota,
}

impl Limit {
    /// As the metrics have it.
    fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Memory => "memory",
            Self::Threads => "threads",
            Self::Database => "database",
            Self::Rate => "rate",
            Self::Quota => "quota",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Queue | Self::Memory | Self::Threads | Self::Database => {
                "the server is at its limit; try again in a moment"
            }
            Self::Rate => "this client sends more requests than it may; try again in a moment",
            Self::Quota => {
                "this client has made as many comparisons today as it may; its day ends at midnight UTC"
            }
        }
    }
}

impl ApiError {
    /// Why a request was refused, if it was because of a limit; as the metrics have it.
    fn refused_for(&self) -> Option<&'static str> {
        match self {
            Self::Overloaded(limit) => Some(limit.name()),
            Self::TooManyUndecryptable => Some("decrypt"),
            Self::TooManyStrangers => Some("signature"),
            Self::BodyTooLarge(_) => Some("size"),
            Self::BodyTooSlow => Some("slow"),
            _ => None,
        }
    }

    /// Result code, status and message, as in the published tables.
    fn result(&self) -> ResultPart {
        let part = |code, status, message: String| ResultPart { code, status, message };
        match self {
            Self::UnknownEndpoint => part("NO_INTERFACE_DEF", "F", "no such API; check path and method".to_owned()),
            Self::MissingHeader(name) => part("PARAM_MISSING", "F", format!("the header {name} is missing")),
            Self::IllegalHeader(name, why) => part("PARAM_ILLEGAL", "F", format!("the header {name} {why}")),
            Self::UnknownClient => {
                part("MERCHANT_NOT_FOUND", "F", "no client with this Client-Id is registered".to_owned())
            }
            Self::ClientDisabled => part("ACCESS_DENIED", "F", "this client has been disabled".to_owned()),
            Self::NotAllowed(why) => part("ACCESS_DENIED", "F", (*why).to_owned()),
            Self::BadSignature => part(
                "SIGNATURE_INVALID",
                "F",
                "the signature does not match; check key, path, time and that the body is sent as signed".to_owned(),
            ),
            Self::UnknownAccessKey => part(
                "KEY_NOT_FOUND",
                "F",
                "this client has no such Access-Key, or not any more".to_owned(),
            ),
            Self::KeyExpired => part(
                "KEY_NOT_FOUND",
                "F",
                "the key of this signature has been replaced; use the current one of the client".to_owned(),
            ),
            Self::Undecryptable => part(
                "MSG_PARSE_ERROR",
                "F",
                "the request body does not decrypt into a JSON object; check the AES key, the padding and the \
                 public key of the server"
                    .to_owned(),
            ),
            Self::TooManyUndecryptable => part(
                "PARAM_ILLEGAL",
                "F",
                "too many request bodies did not decrypt; encrypted requests are refused for a minute".to_owned(),
            ),
            Self::EmptyBody => part("PARAM_MISSING", "F", "the request body is empty".to_owned()),
            Self::NotJson => part("MSG_PARSE_ERROR", "F", "the request body is not a JSON object, or names a member twice".to_owned()),
            Self::BodyTooLarge(limit) => part(
                "UNABLE_GET_IMAGE",
                "F",
                format!("IMAGE_CHECK_FAILED: the request body has more than {limit} bytes"),
            ),
            Self::BodyTooSlow => part("PROCESS_TIMEOUT", "F", "the request body took too long to arrive".to_owned()),
            Self::Invalid(field, why) => part("INVALID_ARGUMENT", "F", format!("{field} {why}")),
            Self::Picture(name, refusal, limits, _) => part(
                "UNABLE_GET_IMAGE",
                "F",
                format!("{}: {}", sub_reason(refusal), refusal.describe(name, limits)),
            ),
            Self::UnknownTransaction => part(
                "INVALID_ARGUMENT",
                "F",
                "transactionId names no transaction of this client, or one that has expired".to_owned(),
            ),
            Self::TooManyStrangers => part(
                "REQUEST_TRAFFIC_EXCEED_LIMIT",
                "F",
                "too many requests from this address did not prove who they are; check Client-Id and keys, and try \
                 again in a minute"
                    .to_owned(),
            ),
            Self::Overloaded(limit) => {
                part("REQUEST_TRAFFIC_EXCEED_LIMIT", "F", limit.message().to_owned())
            }
            Self::TimedOut => part(
                "PROCESS_TIMEOUT",
                "F",
                "the comparison took too long; try again or use asynccompare".to_owned(),
            ),
            Self::GivenUp(_) => part("SYSTEM_ERROR", "F", "the comparison failed and was given up".to_owned()),
            Self::Internal => part("SYSTEM_ERROR", "U", "internal error; try again".to_owned()),
        }
    }

    /// Whether the request did not prove who it is from.
    pub(super) fn is_of_a_stranger(&self) -> bool {
        matches!(self, Self::UnknownClient | Self::UnknownAccessKey | Self::BadSignature)
    }

    fn transaction_id(&self) -> Option<&TransactionId> {
        match self {
            Self::Picture(_, _, _, id) => id.as_ref(),
            Self::GivenUp(id) => Some(id),
            _ => None,
        }
    }

    /// A database that is only busy is told apart from one that is broken.
    fn of_store(error: &dyn std::error::Error, crowded: bool) -> Self {
        if crowded {
            metrics::counter!("visavis_store_errors_total").increment(1);
            tracing::warn!(%error, "refused: no connection to the database became free");
            return Self::Overloaded(Limit::Database);
        }
        metrics::counter!("visavis_store_errors_total").increment(1);
        Self::internal(error)
    }

    /// Logs what broke and answers without it.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "request failed");
        Self::Internal
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        Self::of_store(&error, error.is_crowded())
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        Self::of_store(&error, error.is_crowded())
    }
}

/// The three reasons that are published under `UNABLE_GET_IMAGE`.
fn sub_reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoFace => "NO_FACE",
        Refusal::Undecodable => "FACE_IMAGE_VIDEO_TYPE_NOT_SUPPORTED",
        Refusal::Empty
        | Refusal::TooManyBytes { .. }
        | Refusal::UnknownFormat
        | Refusal::Dimensions { .. } => "IMAGE_CHECK_FAILED",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(reason) = self.refused_for() {
            metrics::counter!("visavis_refused_total", "reason" => reason).increment(1);
        }
        Answer::bare(self.result(), self.transaction_id()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<ApiError> {
        let id = TransactionId::new(time::OffsetDateTime::UNIX_EPOCH, 0);
        let limits = DecodeLimits::default();
        let refusals = [
            Refusal::Empty,
            Refusal::TooManyBytes { bytes: 2, limit: 1 },
            Refusal::UnknownFormat,
            Refusal::Dimensions { width: 1, height: 1 },
            Refusal::Undecodable,
            Refusal::NoFace,
        ];
        let mut all = vec![
            ApiError::UnknownEndpoint,
            ApiError::MissingHeader("Signature"),
            ApiError::IllegalHeader("Request-Time", "is wrong".to_owned()),
            ApiError::UnknownClient,
            ApiError::ClientDisabled,
            ApiError::NotAllowed("this client must encrypt its requests"),
            ApiError::UnknownAccessKey,
            ApiError::BadSignature,
            ApiError::KeyExpired,
            ApiError::Undecryptable,
            ApiError::TooManyUndecryptable,
            ApiError::EmptyBody,
            ApiError::NotJson,
            ApiError::BodyTooLarge(1),
            ApiError::BodyTooSlow,
            ApiError::Invalid("bizId", "is missing".to_owned()),
            ApiError::UnknownTransaction,
            ApiError::TooManyStrangers,
            ApiError::Overloaded(Limit::Queue),
            ApiError::Overloaded(Limit::Rate),
            ApiError::Overloaded(Limit::Quota),
            ApiError::TimedOut,
            ApiError::GivenUp(id.clone()),
            ApiError::Internal,
        ];
        all.extend(
            refusals.map(|r| ApiError::Picture("face1.content", r, limits, Some(id.clone()))),
        );
        all
    }

    #[test]
    fn every_message_is_plain_ascii_that_any_client_prints_back_unchanged() {
        for error in all() {
            let message = error.result().message;
            let plain =
                |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | '/') || c == ' ';
            assert!(!message.is_empty() && message.chars().all(plain), "{message}");
        }
    }

    #[test]
    fn every_code_is_one_of_the_published_ones_and_every_published_one_is_used() {
        let mut used: Vec<_> = all().iter().map(|error| error.result().code).collect();
        used.extend([ResultPart::success().code, ResultPart::processing().code]);
        for code in RESULT_CODES {
            assert!(used.contains(&code), "{code}");
        }
        assert!(used.iter().all(|code| RESULT_CODES.contains(code)), "{used:?}");
    }
}

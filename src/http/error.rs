//! Everything that can be returned instead of a result: one table from kind to result code.
//!
//! Messages are plain ASCII without quotes, backslashes and percent signs, because some clients
//! re-serialise a response before they verify it. Internal errors are logged, never returned.

use axum::{
    http::{HeaderValue, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};

use super::answer::{Answer, ResultPart};
use crate::{
    compare::{DecodeLimits, Refusal, TransactionId},
    gate::{NotAnObject, Refused, Rejection},
    queue::QueueError,
};

/// Every result code, as they are published.
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

/// Whether an unauthenticated request with this result code counts against its address.
pub(super) fn is_sender_at_fault(code: &str) -> bool {
    !["SYSTEM_ERROR", "REQUEST_TRAFFIC_EXCEED_LIMIT"].contains(&code)
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// No endpoint has that path, or not with that method.
    UnknownEndpoint,
    /// It did not pass the gate.
    Gate(Rejection),
    /// The body is empty.
    EmptyBody,
    /// The body is not a JSON object.
    NotJson,
    /// A member of the JSON object is wrong.
    Invalid(&'static str, String),
    /// A picture cannot be used; the name is the member that holds it.
    Picture(&'static str, Refusal, DecodeLimits, Option<TransactionId>),
    /// There is no such transaction of this client.
    UnknownTransaction,
    /// No outcome within the timeout.
    TimedOut,
    /// The transaction was given up.
    GivenUp(TransactionId),
    /// Something broke on our side; details are in the log.
    Internal,
}

impl ApiError {
    /// The limit that was met.
    fn refused(&self) -> Option<Refused> {
        match self {
            Self::Gate(Rejection::Refused(refused)) => Some(*refused),
            _ => None,
        }
    }

    /// Result code, status and message, as in the published tables.
    fn result(&self) -> ResultPart {
        let part = |code, status, message: String| ResultPart { code, status, message };
        match self {
            Self::UnknownEndpoint => {
                part("NO_INTERFACE_DEF", "F", "no such API; check path and method".to_owned())
            }
            Self::Gate(rejection) => gate_result(rejection),
            Self::EmptyBody => part("PARAM_MISSING", "F", "the request body is empty".to_owned()),
            Self::NotJson => part(
                "MSG_PARSE_ERROR",
                "F",
                "the request body is not a JSON object, or names a member twice".to_owned(),
            ),
            Self::Invalid(field, why) => part("INVALID_ARGUMENT", "F", format!("{field} {why}")),
            Self::Picture(name, refusal, limits, _) => part(
                "UNABLE_GET_IMAGE",
                "F",
                format!("{}: {}", sub_reason(refusal), refusal.describe(name, limits)),
            ),
            Self::UnknownTransaction => part(
                "INVALID_ARGUMENT",
                "F",
                "transactionId names no transaction of this client, or one that has expired"
                    .to_owned(),
            ),
            Self::TimedOut => part(
                "PROCESS_TIMEOUT",
                "F",
                "the comparison took too long; try again or use asynccompare".to_owned(),
            ),
            Self::GivenUp(_) => {
                part("SYSTEM_ERROR", "F", "the comparison failed and was given up".to_owned())
            }
            Self::Internal => internal(),
        }
    }

    fn transaction_id(&self) -> Option<&TransactionId> {
        match self {
            Self::Picture(_, _, _, id) => id.as_ref(),
            Self::GivenUp(id) => Some(id),
            _ => None,
        }
    }

    /// For the log and those who search it: the kind of mistake and where it is, nothing that the
    /// client sent.
    fn reason(&self) -> String {
        match self {
            Self::UnknownEndpoint => "unknown_endpoint".to_owned(),
            Self::Gate(rejection) => rejection.reason(),
            Self::EmptyBody => "empty_body".to_owned(),
            Self::NotJson => "not_json".to_owned(),
            Self::Invalid(field, _) => format!("invalid {field}"),
            Self::Picture(name, refusal, ..) => format!("{} {name}", sub_reason(refusal)),
            Self::UnknownTransaction => "unknown_transaction".to_owned(),
            Self::TimedOut => "timed_out".to_owned(),
            Self::GivenUp(_) => "given_up".to_owned(),
            Self::Internal => "internal".to_owned(),
        }
    }

    /// Logs the error; the client gets none of it.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "request failed");
        Self::Internal
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::Gate(rejection)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::Gate(refused.into())
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        Self::Gate(error.into())
    }
}

impl NotAnObject for ApiError {
    fn is_not_an_object(&self) -> bool {
        matches!(self, Self::NotJson | Self::EmptyBody)
    }
}

/// Result code, status and message of a request that did not pass the gate.
fn gate_result(rejection: &Rejection) -> ResultPart {
    let part = |code, message: String| ResultPart { code, status: "F", message };
    match rejection {
        Rejection::MissingHeader(name) => {
            part("PARAM_MISSING", format!("the header {name} is missing"))
        }
        Rejection::IllegalHeader(name, why) => {
            part("PARAM_ILLEGAL", format!("the header {name} {why}"))
        }
        Rejection::UnknownClient => {
            part("MERCHANT_NOT_FOUND", "no client with this Client-Id is registered".to_owned())
        }
        Rejection::ClientDisabled => {
            part("ACCESS_DENIED", "this client has been disabled".to_owned())
        }
        Rejection::NotAllowed(why) => part("ACCESS_DENIED", (*why).to_owned()),
        Rejection::BadSignature => part(
            "SIGNATURE_INVALID",
            "the signature does not match; check key, path, time and that the body is sent as \
             signed; replaced keys are no longer valid"
                .to_owned(),
        ),
        Rejection::UnknownAccessKey => part(
            "KEY_NOT_FOUND",
            "this client has no such Access-Key, or it has expired".to_owned(),
        ),
        Rejection::Undecryptable => part(
            "MSG_PARSE_ERROR",
            "the request body does not decrypt into a JSON object; check the AES key, the padding \
             and the public key of the server"
                .to_owned(),
        ),
        Rejection::CutOff => {
            part("MSG_PARSE_ERROR", "the connection ended inside the request body".to_owned())
        }
        Rejection::Refused(Refused { limit, .. }) => part(limit.result_code(), limit.message()),
        Rejection::Internal => internal(),
    }
}

fn internal() -> ResultPart {
    ResultPart {
        code: "SYSTEM_ERROR",
        status: "U",
        message: "internal error; try again".to_owned(),
    }
}

/// The three reasons that are published under `UNABLE_GET_IMAGE`.
fn sub_reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoFace => "NO_FACE",
        Refusal::Undecodable { .. } => "FACE_IMAGE_VIDEO_TYPE_NOT_SUPPORTED",
        Refusal::Empty
        | Refusal::TooManyBytes { .. }
        | Refusal::UnknownFormat { .. }
        | Refusal::Dimensions { .. }
        | Refusal::PixelMemory { .. } => "IMAGE_CHECK_FAILED",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let refused = self.refused();
        let limit = refused.map(|refused| refused.limit.name());
        let answer = Answer::bare(self.result(), self.transaction_id()).because_of(self.reason());
        let mut response = answer.into_response();
        if let Some(limit) = limit {
            metrics::counter!("visavis_refused_total", "reason" => limit).increment(1);
        }
        if let Some(wait) = refused.and_then(|refused| refused.retry_after) {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        compare::{Flaw, Format},
        gate::Limit,
    };

    fn all() -> Vec<ApiError> {
        let id = TransactionId::new(time::OffsetDateTime::UNIX_EPOCH, 0);
        let limits = DecodeLimits::default();
        let refusals = [
            Refusal::Empty,
            Refusal::TooManyBytes { bytes: 2, limit: 1 },
            Refusal::UnknownFormat { found: None },
            Refusal::Dimensions { width: 1, height: 1 },
            Refusal::PixelMemory { bytes: 2, limit: 1 },
            Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::Jpeg) },
            Refusal::NoFace,
        ];
        let mut all = vec![
            ApiError::UnknownEndpoint,
            ApiError::EmptyBody,
            ApiError::NotJson,
            ApiError::Invalid("bizId", "is missing".to_owned()),
            ApiError::UnknownTransaction,
            ApiError::TimedOut,
            ApiError::GivenUp(id.clone()),
            ApiError::Internal,
        ];
        all.extend(Limit::ALL.map(|limit| ApiError::from(limit.refuse())));
        let rejections = [
            Rejection::MissingHeader("Signature"),
            Rejection::IllegalHeader("Request-Time", "is wrong".to_owned()),
            Rejection::UnknownClient,
            Rejection::ClientDisabled,
            Rejection::NotAllowed("this client must encrypt its requests"),
            Rejection::UnknownAccessKey,
            Rejection::BadSignature,
            Rejection::Undecryptable,
            Rejection::CutOff,
            Rejection::Internal,
        ];
        all.extend(rejections.map(ApiError::from));
        all.extend(
            refusals.map(|r| ApiError::Picture("face1.content", r, limits, Some(id.clone()))),
        );
        all
    }

    /// Does not compile when a kind is added: give it the next number, and add it to `all`.
    fn number(error: &ApiError) -> usize {
        match error {
            ApiError::UnknownEndpoint => 0,
            ApiError::EmptyBody => 1,
            ApiError::NotJson => 2,
            ApiError::Invalid(..) => 3,
            ApiError::Picture(..) => 4,
            ApiError::UnknownTransaction => 5,
            ApiError::TimedOut => 6,
            ApiError::GivenUp(_) => 7,
            ApiError::Internal => 8,
            ApiError::Gate(rejection) => {
                9 + match rejection {
                    Rejection::MissingHeader(_) => 0,
                    Rejection::IllegalHeader(..) => 1,
                    Rejection::UnknownClient => 2,
                    Rejection::ClientDisabled => 3,
                    Rejection::NotAllowed(_) => 4,
                    Rejection::UnknownAccessKey => 5,
                    Rejection::BadSignature => 6,
                    Rejection::Undecryptable => 7,
                    Rejection::CutOff => 8,
                    Rejection::Refused(_) => 9,
                    Rejection::Internal => 10,
                }
            }
        }
    }

    #[test]
    fn the_list_of_kinds_is_complete() {
        let listed: BTreeSet<_> = all().iter().map(number).collect();
        assert_eq!(listed, (0..20).collect());
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

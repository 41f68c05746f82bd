//! Everything that can be returned instead of a result: one table from kind to result code.
//!
//! Messages are plain ASCII without quotes, backslashes and percent signs, because some clients
//! re-serialise a response before they verify it. Internal errors are logged, never returned.

use axum::{
    http::{HeaderValue, Method, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::error::Category;
use visavis_signing::endpoints;

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

/// Why no endpoint takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unrouted {
    /// There is no such path.
    Path,
    /// There is, without the slash at the end.
    SlashAtEnd,
    /// There is, for POST.
    Method(Method),
}

/// What is wrong with a body that should be a JSON object, by line and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonFlaw {
    /// It begins with something else.
    NotObject,
    /// From this byte on it is not UTF-8.
    NotUtf8(usize),
    /// It is not JSON.
    Syntax(usize, usize),
    /// It is the beginning of one.
    EndsEarly(usize, usize),
    /// It has a member twice.
    NamedTwice(usize, usize),
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// No endpoint has that path, or not with that method.
    UnknownEndpoint(Unrouted),
    /// It did not pass the gate.
    Gate(Rejection),
    /// The body is empty.
    EmptyBody,
    /// The body is not a JSON object.
    NotJson(JsonFlaw),
    /// A member of the JSON object is wrong.
    Invalid(&'static str, String),
    /// The same, where the code for it is that of a header.
    Illegal(&'static str, String),
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
            Self::UnknownEndpoint(why) => part("NO_INTERFACE_DEF", "F", why.message()),
            Self::Gate(rejection) => gate_result(rejection),
            Self::EmptyBody => part("PARAM_MISSING", "F", "the request body is empty".to_owned()),
            Self::NotJson(flaw) => part("MSG_PARSE_ERROR", "F", flaw.message()),
            Self::Invalid(field, why) => part("INVALID_ARGUMENT", "F", format!("{field} {why}")),
            Self::Illegal(field, why) => part("PARAM_ILLEGAL", "F", format!("{field} {why}")),
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
            Self::UnknownEndpoint(_) => "unknown_endpoint".to_owned(),
            Self::Gate(rejection) => rejection.reason(),
            Self::EmptyBody => "empty_body".to_owned(),
            Self::NotJson(_) => "not_json".to_owned(),
            Self::Invalid(field, _) | Self::Illegal(field, _) => format!("invalid {field}"),
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

impl Unrouted {
    /// Why a request with this method for this path is not routed.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let exists = |path: &str| endpoints::ALL.contains(&path);
        if exists(path) {
            Self::Method(method.clone())
        } else if exists(path.trim_end_matches('/')) {
            Self::SlashAtEnd
        } else {
            Self::Path
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Path => {
                let known = endpoints::ALL.join(", ");
                format!("no such endpoint; this server has {known}")
            }
            Self::SlashAtEnd => {
                "no such endpoint; remove the slash at the end of the path".to_owned()
            }
            Self::Method(method) => {
                let standard =
                    [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
                let method = if standard.contains(method) { method.as_str() } else { "another" };
                format!("this endpoint does not have the method {method}; send POST")
            }
        }
    }
}

impl JsonFlaw {
    /// What a parser of JSON has found.
    pub(super) fn of(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof => Self::EndsEarly(line, column),
            // The types of members are checked later: here only a second one is refused.
            Category::Data => Self::NamedTwice(line, column),
            Category::Syntax | Category::Io => Self::Syntax(line, column),
        }
    }

    fn message(self) -> String {
        let (what, (line, column)) = match self {
            Self::NotObject => {
                return "the request body is not a JSON object; if it is encrypted, send the \
                        header Encrypt"
                    .to_owned();
            }
            Self::NotUtf8(at) => {
                return format!("the request body is not UTF-8 from byte {at} on");
            }
            Self::Syntax(line, column) => ("is not valid JSON", (line, column)),
            Self::EndsEarly(line, column) => ("is incomplete JSON: it ends", (line, column)),
            Self::NamedTwice(line, column) => ("names a member twice", (line, column)),
        };
        format!("the request body {what} at line {line}, column {column}")
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
        matches!(self, Self::NotJson(_) | Self::EmptyBody)
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
        Rejection::UnknownClient => part(
            "MERCHANT_NOT_FOUND",
            "no client with this Client-Id is registered; check the id, or ask the operator \
                 to register the client"
                .to_owned(),
        ),
        Rejection::ClientDisabled => {
            part("ACCESS_DENIED", "this client has been disabled; ask the operator".to_owned())
        }
        Rejection::NotAllowed(why) => part("ACCESS_DENIED", (*why).to_owned()),
        Rejection::BadSignature(fault) => part("SIGNATURE_INVALID", fault.message()),
        Rejection::UnknownAccessKey => part(
            "KEY_NOT_FOUND",
            "this client has no such Access-Key, or it was replaced; use the current keys"
                .to_owned(),
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
        gate::{Limit, SignatureFault},
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
            ApiError::UnknownEndpoint(Unrouted::Path),
            ApiError::UnknownEndpoint(Unrouted::SlashAtEnd),
            ApiError::UnknownEndpoint(Unrouted::Method(Method::GET)),
            ApiError::UnknownEndpoint(Unrouted::Method(
                Method::from_bytes(b"X\"%").unwrap_or_default(),
            )),
            ApiError::EmptyBody,
            ApiError::NotJson(JsonFlaw::NotObject),
            ApiError::NotJson(JsonFlaw::NotUtf8(7)),
            ApiError::NotJson(JsonFlaw::Syntax(1, 17)),
            ApiError::NotJson(JsonFlaw::EndsEarly(1, 17)),
            ApiError::NotJson(JsonFlaw::NamedTwice(1, 17)),
            ApiError::Invalid("bizId", "is missing".to_owned()),
            ApiError::Illegal("transactionId", "is missing".to_owned()),
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
            Rejection::Undecryptable,
            Rejection::CutOff,
            Rejection::Internal,
        ];
        all.extend(rejections.map(ApiError::from));
        let faults = SignatureFault::all().into_iter();
        all.extend(faults.map(|fault| Rejection::BadSignature(Box::new(fault)).into()));
        all.extend(
            refusals.map(|r| ApiError::Picture("face1.content", r, limits, Some(id.clone()))),
        );
        all
    }

    /// Does not compile when a kind is added: give it the next number, and add it to `all`.
    fn number(error: &ApiError) -> usize {
        match error {
            ApiError::UnknownEndpoint(_) => 0,
            ApiError::EmptyBody => 1,
            ApiError::NotJson(_) => 2,
            ApiError::Invalid(..) => 3,
            ApiError::Picture(..) => 4,
            ApiError::UnknownTransaction => 5,
            ApiError::TimedOut => 6,
            ApiError::GivenUp(_) => 7,
            ApiError::Internal => 8,
            ApiError::Illegal(..) => 20,
            ApiError::Gate(rejection) => {
                9 + match rejection {
                    Rejection::MissingHeader(_) => 0,
                    Rejection::IllegalHeader(..) => 1,
                    Rejection::UnknownClient => 2,
                    Rejection::ClientDisabled => 3,
                    Rejection::NotAllowed(_) => 4,
                    Rejection::UnknownAccessKey => 5,
                    Rejection::BadSignature(_) => 6,
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
        assert_eq!(listed, (0..21).collect());
    }

    #[test]
    fn every_message_is_plain_ascii_that_any_client_prints_back_unchanged() {
        for error in all() {
            let message = error.result().message;
            let plain =
                |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ';
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

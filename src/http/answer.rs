//! A response before it is signed: JSON in exactly the form that `JSON.stringify` prints.
//!
//! One line, no spaces, no `88.0`, no `\/`: some clients parse a response, serialise it again and
//! verify the signature over the result.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::compare::TransactionId;

/// The `result` member of every response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResultPart {
    /// `resultCode`
    pub(super) code: &'static str,
    /// `resultStatus`: S, F or U.
    pub(super) status: &'static str,
    /// `resultMessage`
    pub(super) message: String,
}

impl Serialize for ResultPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("resultCode", self.code)?;
        map.serialize_entry("resultStatus", self.status)?;
        map.serialize_entry("resultMessage", &self.message)?;
        map.end()
    }
}

impl ResultPart {
    /// `SUCCESS`: finished, whatever the verdict.
    pub(super) fn success() -> Self {
        Self { code: "SUCCESS", status: "S", message: "success".to_owned() }
    }

    /// `PROCESSING`: accepted and not finished; the status is S.
    pub(super) fn processing() -> Self {
        Self { code: "PROCESSING", status: "S", message: "It is still under processing".to_owned() }
    }
}

/// A JSON body, and its result code for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    body: Vec<u8>,
    log: ResponseLog,
}

/// What the log says about a response, kept in its extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ResponseLog {
    /// `resultCode`
    pub(super) code: &'static str,
    /// Which transaction it is about.
    pub(super) transaction_id: Option<TransactionId>,
    /// Why the request was refused: nothing personal.
    pub(super) reason: Option<String>,
}

#[derive(Serialize)]
struct Bare<'a> {
    result: ResultPart,
    #[serde(rename = "transactionId", skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a TransactionId>,
}

impl Answer {
    /// A result and nothing else but, perhaps, the transaction.
    pub(super) fn bare(result: ResultPart, transaction_id: Option<&TransactionId>) -> Self {
        let code = result.code;
        let bare = Bare { result, transaction_id };
        // Serialising strings into memory cannot fail.
        let log = ResponseLog { code, transaction_id: transaction_id.cloned(), reason: None };
        Self { body: serde_json::to_vec(&bare).unwrap_or_default(), log }
    }

    /// A whole body about a transaction; `code` is its `resultCode`.
    ///
    /// # Errors
    /// The body cannot be written as JSON.
    pub(super) fn about(
        transaction_id: &TransactionId,
        code: &'static str,
        body: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let log = ResponseLog { code, transaction_id: Some(transaction_id.clone()), reason: None };
        Ok(Self { body: serde_json::to_vec(body)?, log })
    }

    /// The same with the reason of a refusal.
    pub(super) fn because_of(mut self, reason: String) -> Self {
        self.log.reason = Some(reason);
        self
    }

    /// A body that is JSON text already.
    pub(super) fn text(body: String, code: &'static str) -> Self {
        Self {
            body: body.into_bytes(),
            log: ResponseLog { code, transaction_id: None, reason: None },
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response.extensions_mut().insert(self.log);
        response
    }
}

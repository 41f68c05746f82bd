//! Why a request does not pass the gate.

use super::{
    limit::{Limit, Refused},
    signature_fault::SignatureFault,
};
use crate::{clients::ClientError, queue::QueueError};

/// Why a request does not pass the gate. All of it may be sent to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// A required header is missing.
    MissingHeader(&'static str),
    /// A header has an invalid value.
    IllegalHeader(&'static str, String),
    /// No client has that id.
    UnknownClient,
    /// The client is disabled.
    ClientDisabled,
    /// The client is enabled, but not for this signing mode or without encryption.
    NotAllowed(&'static str),
    /// The client has no such access key, or it has expired.
    UnknownAccessKey,
    /// The signature is not by a valid key of the client over this request.
    BadSignature(Box<SignatureFault>),
    /// The body does not decrypt into a JSON object, for whatever reason.
    Undecryptable,
    /// The connection ended inside the body.
    CutOff,
    /// A limit was met.
    Refused(Refused),
    /// Something failed on our side; details are in the log.
    Internal,
}

impl Rejection {
    /// Whether the sender could not have avoided it.
    pub(super) fn is_ours(&self) -> bool {
        match self {
            Self::Internal => true,
            Self::Refused(refused) => matches!(refused.limit, Limit::Memory | Limit::Database),
            _ => false,
        }
    }

    /// For the log and those who search it: nothing that the sender chose.
    pub(crate) fn reason(&self) -> String {
        let name = match self {
            Self::MissingHeader(name) => return format!("missing {name}"),
            Self::IllegalHeader(name, _) => return format!("illegal {name}"),
            Self::BadSignature(fault) => return format!("bad_signature {}", fault.name()),
            Self::Refused(refused) => refused.limit.name(),
            Self::UnknownClient => "unknown_client",
            Self::ClientDisabled => "client_disabled",
            Self::NotAllowed(_) => "mode_not_allowed",
            Self::UnknownAccessKey => "unknown_access_key",
            Self::Undecryptable => "undecryptable",
            Self::CutOff => "cut_off",
            Self::Internal => "internal",
        };
        name.to_owned()
    }

    /// Logs the error; the client gets none of it.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "request failed");
        Self::Internal
    }

    /// Distinguishes a database that is only busy from one that failed.
    fn from_store(error: &dyn std::error::Error, is_crowded: bool) -> Self {
        metrics::counter!("visavis_store_errors_total").increment(1);
        if is_crowded {
            tracing::warn!(%error, "refused: no connection to the database became free");
            return Limit::Database.refuse().into();
        }
        Self::internal(error)
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<QueueError> for Rejection {
    fn from(error: QueueError) -> Self {
        Self::from_store(&error, error.is_crowded())
    }
}

impl From<ClientError> for Rejection {
    fn from(error: ClientError) -> Self {
        // The registry logs it, once a minute.
        if matches!(error, ClientError::Tampered(_)) {
            return Self::Internal;
        }
        Self::from_store(&error, error.is_crowded())
    }
}

//! The seam behind `compare`: something that takes a request and has an outcome soon, and its smaller
//! sibling that looks at one picture.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use visavis_face::{Inspection, PictureKind};

use super::{
    outcome::Outcome,
    request::{PictureData, Request},
};

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompareFailure {
    /// Too many comparisons are waiting already.
    #[error("too many comparisons are waiting")]
    Busy,
    /// There was no outcome within the patience of the caller.
    #[error("the comparison took too long")]
    TimedOut,
    /// Something broke on our side.
    #[error("the comparison failed")]
    Failed,
}

/// What [`Comparer::compare`] returns.
pub type ComparerFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Outcome, CompareFailure>> + Send + 'a>>;

/// Compares while the caller waits.
pub trait Comparer: Send + Sync + Debug {
    /// The outcome of a request of this client, or a failure after at most `patience`.
    fn compare<'a>(
        &'a self,
        client_id: &'a str,
        request: Request,
        patience: Duration,
    ) -> ComparerFuture<'a>;

    /// Whether [`compare`](Self::compare) would not be [`CompareFailure::Busy`] now, for those who would rather know
    /// before they make a request. It may be busy all the same a moment later.
    fn has_room(&self, client_id: &str) -> bool;
}

/// What [`Viewer::look`] returns.
pub type InspectionFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Inspection, CompareFailure>> + Send + 'a>>;

/// Looks at one picture while the caller waits: for people who want to see what a comparison sees.
pub trait Viewer: Send + Sync + Debug {
    /// What is found on `picture`, or a failure after at most `patience`.
    fn inspect(
        &self,
        picture: PictureData,
        kind: PictureKind,
        patience: Duration,
    ) -> InspectionFuture<'_>;
}

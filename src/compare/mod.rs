//! The domain: request, outcome, and when two faces are one person.
//!
//! Valid by construction: a [`Request`] has two pictures that passed the cheap checks, an
//! [`Outcome`] holds no picture and no embedding.

mod decision;
mod fmr;
mod ids;
mod outcome;
mod policy;
mod request;
mod score;
mod several_faces;
mod trace;

pub use decision::Decision;
pub use fmr::{ClientFmr, Fmr, FmrSettings, NoFmr, WrongCode, is_selfie};
pub use ids::{BizId, Place, TransactionId};
pub use outcome::{Outcome, Verdict};
pub use policy::Policy;
pub use request::{PictureData, Request, RequestOptions};
pub use score::Score;
pub use several_faces::SeveralFaces;
pub use trace::{NoTraceContext, TraceContext};

pub use visavis_face::{
    DecodeLimits, FaceReport, Flaw, Format, Inspection, PictureKind, Refusal, Side,
    geometry::BoundingBox,
    quality::{
        Bounds, Component, QualityLimits, QualityVerdict, Reason, ReasonCode, bounds_of, components,
    },
};

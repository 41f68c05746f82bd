//! Model packs as files on this machine: fetching, checking, converting.
//!
//! What a pack *is* stands in [`visavis_face::manifest`]; here its bytes come from the
//! pinned public sources or a mirror, are checked against their digests, converted to ONNX where they
//! are published as something else, and moved into place in one step.

mod error;
mod fetch;
mod pull;

pub use error::PullError;
pub use fetch::{Fetcher, Mirror, Progress};
pub use pull::{FileState, pull, ranges, state};

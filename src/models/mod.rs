//! Model packs as files on this machine: fetching, checking, converting.
//!
//! [`visavis_face::manifest`] defines a pack. This module fetches its files from the pinned public
//! sources or a mirror, verifies their digests, converts them to ONNX if they have another format,
//! and renames them into place.

mod error;
mod fetch;
mod pull;

pub use error::PullError;
pub use fetch::{Fetcher, Mirror, Progress};
pub use pull::{FileState, pull, ranges, state};

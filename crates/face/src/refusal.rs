//! Why a picture cannot be compared: an answer, not an error.
//!
//! A refusal is the sender's to mend and the same on every try, so it is never retried; what broke
//! on our side is a [`FaceError`](super::FaceError).

use serde::{Deserialize, Serialize};

use super::decode::DecodeLimits;

const MIB: u64 = 1 << 20;

/// What is wrong with one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Refusal {
    /// There are no bytes.
    Empty,
    /// More bytes than are accepted.
    TooManyBytes {
        /// Size of the picture file, bytes.
        bytes: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// The first bytes are of no format that is read here.
    UnknownFormat,
    /// The header promises a picture outside the limits on sides or area.
    Dimensions {
        /// Pixels from left to right, as the header says.
        width: u32,
        /// Pixels from top to bottom, as the header says.
        height: u32,
    },
    /// Decoding the picture, or looking at it closely, takes more memory than there is for pixels in all.
    PixelMemory {
        /// What it takes, bytes.
        bytes: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// The format is known but the file is damaged, or of a variety that is not read.
    Undecodable,
    /// The picture was read and shows no face.
    NoFace,
}

impl Refusal {
    /// A few words for a table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty file",
            Self::TooManyBytes { .. } => "file too large",
            Self::UnknownFormat => "unknown format",
            Self::Dimensions { .. } => "too small or too large",
            Self::PixelMemory { .. } => "too much memory",
            Self::Undecodable => "damaged",
            Self::NoFace => "no face",
        }
    }

    /// One ASCII sentence for the sender; `name` is what they call the picture.
    pub fn describe(&self, name: &str, limits: &DecodeLimits) -> String {
        match self {
            Self::Empty => format!("{name} is empty"),
            Self::TooManyBytes { bytes, limit } => {
                format!("{name} has {bytes} bytes, more than the {limit} that are accepted")
            }
            Self::UnknownFormat => format!("{name} is not a JPEG, PNG, BMP or WebP picture"),
            Self::Dimensions { width, height } => format!(
                "{name} is {width} x {height} pixels; sides of {} to {} and at most {} pixels are accepted",
                limits.min_side, limits.max_side, limits.max_pixels
            ),
            Self::PixelMemory { bytes, limit } => format!(
                "analysing {name} takes {} MiB of memory, more than the {} MiB that are allowed; send fewer pixels",
                bytes.div_ceil(MIB),
                limit / MIB
            ),
            Self::Undecodable => {
                format!("{name} is damaged or of a variety of its format that is not supported")
            }
            Self::NoFace => format!("no face was found in {name}"),
        }
    }
}

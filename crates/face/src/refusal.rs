//! Why a picture cannot be compared: an answer, not an error.
//!
//! A refusal is the sender's to mend and the same on every try, so it is never retried; what broke
//! on our side is a [`FaceError`](super::FaceError).

use std::io::ErrorKind;

use image::ImageError;
use serde::{Deserialize, Serialize};

use super::limits::DecodeLimits;

const MIB: u64 = 1 << 20;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Baseline or progressive, 8 bits a sample.
    Jpeg,
    /// All kinds.
    Png,
    /// All kinds but JPEG and PNG inside.
    Bmp,
    /// Lossy and lossless; of an animation the first frame.
    WebP,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::WebP => "WebP",
        }
    }
}

/// What is wrong with a file of a known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Damaged, or of a variety that is not read: outcomes of earlier versions do not say which.
    #[default]
    Unknown,
    /// The file ends before the picture does.
    EndsEarly(Format),
    /// The file has errors in it, or something that no decoder here knows.
    Damaged(Format),
    /// A JPEG that is lossless, arithmetically coded or of 12 bits.
    JpegCoding,
    /// A JPEG whose components have sampling factors that this build does not read.
    JpegSampling,
}

impl Flaw {
    fn describe(self, name: &str) -> String {
        match self {
            Self::Unknown => {
                format!("{name} is damaged or of a variety of its format that is not supported")
            }
            Self::EndsEarly(format) => {
                format!("{name} is incomplete (the {} ends early): upload it again", format.name())
            }
            Self::Damaged(format) => format!(
                "{name} is damaged (the {} has errors in it): upload it again",
                format.name()
            ),
            Self::JpegCoding => format!(
                "{name} is a lossless, arithmetically coded or 12-bit JPEG, which is not supported: save it as baseline JPEG"
            ),
            Self::JpegSampling => format!(
                "{name} is a JPEG with sampling factors that are not supported: save it as baseline JPEG with 4:4:4 or 4:2:0"
            ),
        }
    }
}

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
    Undecodable {
        /// What is wrong with it.
        #[serde(default)]
        flaw: Flaw,
    },
    /// The picture was read and shows no face.
    NoFace,
}

impl Refusal {
    /// From what a decoder says of a file.
    pub(super) fn from_image(error: &ImageError, format: Format) -> Self {
        let flaw = match error {
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Flaw::EndsEarly(format)
            }
            _ => Flaw::Damaged(format),
        };
        Self::Undecodable { flaw }
    }

    /// A few words for a table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty file",
            Self::TooManyBytes { .. } => "file too large",
            Self::UnknownFormat => "unknown format",
            Self::Dimensions { .. } => "too small or too large",
            Self::PixelMemory { .. } => "too much memory",
            Self::Undecodable { .. } => "damaged",
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
            Self::Undecodable { flaw } => flaw.describe(name),
            Self::NoFace => format!("no face was found in {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As earlier versions have it.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Earlier {
        Undecodable,
    }

    #[test]
    fn versions_that_know_a_flaw_and_those_that_do_not_read_each_other_s_outcomes() {
        let without = serde_json::from_str(r#"{"kind":"undecodable"}"#).unwrap();
        assert_eq!(Refusal::Undecodable { flaw: Flaw::Unknown }, without);
        for flaw in [Flaw::Unknown, Flaw::EndsEarly(Format::WebP), Flaw::JpegSampling] {
            let with = serde_json::to_string(&Refusal::Undecodable { flaw }).unwrap();
            assert_eq!(serde_json::from_str::<Earlier>(&with).unwrap(), Earlier::Undecodable);
        }
    }
}

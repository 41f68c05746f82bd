//! Why a photo cannot be compared: an outcome, not an error.
//!
//! Only the sender can fix it, and it is the same on every try, so it is never retried. An internal
//! failure is a [`FaceError`](super::FaceError).

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

/// A format that is recognised only to name it to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsupportedFormat {
    /// Photos of phones: HEVC in HEIF.
    Heic,
    /// AV1 in HEIF.
    Avif,
    /// Also animations.
    Gif,
    /// Of either byte order.
    Tiff,
}

impl UnsupportedFormat {
    /// The format of a file by its first bytes.
    pub(super) fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Gif),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [_, _, _, length, b'f', b't', b'y', b'p', ..] => {
                let brands = bytes.get(8..usize::from(*length).min(bytes.len()))?.as_chunks().0;
                let has = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
                if has(&[b"avif", b"avis"]) {
                    Some(Self::Avif)
                } else {
                    // Files of both formats can have the brand of HEIF first.
                    has(&[b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"])
                        .then_some(Self::Heic)
                }
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Heic => "HEIC",
            Self::Avif => "AVIF",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
        }
    }
}

/// What is wrong with a file of a known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Damaged, or of an unsupported variety: outcomes of earlier versions do not distinguish them.
    #[default]
    Unknown,
    /// The file ends before the image is complete.
    EndsEarly(Format),
    /// The file has errors, or data that the decoder does not know.
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
                "{name} is a lossless, arithmetically coded or 12-bit JPEG, which is not \
                 supported: save it as baseline JPEG"
            ),
            Self::JpegSampling => format!(
                "{name} is a JPEG with sampling factors that are not supported: save it as \
                 baseline JPEG with 4:4:4 or 4:2:0"
            ),
        }
    }
}

/// What is wrong with one photo.
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
    UnknownFormat {
        /// The format, if it is a known one; outcomes of earlier versions do not have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<UnsupportedFormat>,
    },
    /// The size in the header is outside the limits on sides or area.
    Dimensions {
        /// Width in the header, pixels.
        width: u32,
        /// Height in the header, pixels.
        height: u32,
    },
    /// Decoding the picture, or looking at it closely, takes more memory than there is for pixels
    /// in all.
    PixelMemory {
        /// Needed memory, bytes.
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
    /// The photo was read and shows no face.
    NoFace,
}

impl Refusal {
    /// From the error of a decoder.
    pub(super) fn from_image(error: &ImageError, format: Format) -> Self {
        let flaw = match error {
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Flaw::EndsEarly(format)
            }
            _ => Flaw::Damaged(format),
        };
        Self::Undecodable { flaw }
    }

    /// A short name for a table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty file",
            Self::TooManyBytes { .. } => "file too large",
            Self::UnknownFormat { .. } => "unknown format",
            Self::Dimensions { .. } => "too small or too large",
            Self::PixelMemory { .. } => "too much memory",
            Self::Undecodable { .. } => "damaged",
            Self::NoFace => "no face",
        }
    }

    /// One ASCII sentence for the sender; `name` is the field or file.
    pub fn describe(&self, name: &str, limits: &DecodeLimits) -> String {
        match self {
            Self::Empty => format!("{name} is empty"),
            Self::TooManyBytes { bytes, limit } => {
                format!("{name} has {bytes} bytes, more than the {limit} that are accepted")
            }
            Self::UnknownFormat { found: Some(format) } => format!(
                "{name} is {}, which is not supported; convert it to JPEG \
                 (accepted: JPEG, PNG, BMP, WebP)",
                format.name()
            ),
            Self::UnknownFormat { found: None } => {
                format!("{name}: unsupported image format (expected JPEG, PNG, BMP or WebP)")
            }
            Self::Dimensions { width, height } => format!(
                "{name} is {width} x {height} pixels; sides of {} to {} and at most {} pixels are \
                 accepted",
                limits.min_side, limits.max_side, limits.max_pixels
            ),
            Self::PixelMemory { bytes, limit } => format!(
                "analysing {name} takes {} MiB of memory, more than the {} MiB that are allowed; \
                 send fewer pixels",
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
    use crate::decode::check_envelope;

    /// As earlier versions have it.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Earlier {
        Undecodable,
        UnknownFormat,
    }

    #[test]
    fn a_format_that_is_not_supported_is_named_with_what_to_do() {
        let described = |bytes: &[u8]| {
            let limits = DecodeLimits::default();
            check_envelope(bytes, &limits).unwrap_err().describe("face1.content", &limits)
        };
        for (bytes, format) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheic", "HEIC"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif", "AVIF"),
            (b"\0\0\0\x14ftypavif\0\0\0\0avif", "AVIF"),
            (b"GIF89a\x01\0\x01\0", "GIF"),
            (b"II*\0\x08\0\0\0", "TIFF"),
            (b"MM\0*\0\0\0\x08", "TIFF"),
        ] {
            let expected = format!(
                "face1.content is {format}, which is not supported; convert it to JPEG \
                 (accepted: JPEG, PNG, BMP, WebP)"
            );
            assert_eq!(described(bytes), expected);
        }
        for bytes in [&b"%PDF-1.7"[..], b"\0\0\0\x14ftypisom\0\0\0\0mp42", b"\0\0\0\x04ftypheic"] {
            assert_eq!(
                described(bytes),
                "face1.content: unsupported image format (expected JPEG, PNG, BMP or WebP)"
            );
        }
    }

    #[test]
    fn versions_that_name_a_format_and_those_that_do_not_read_each_other_s_outcomes() {
        let without = r#"{"kind":"unknown_format"}"#;
        let unnamed = Refusal::UnknownFormat { found: None };
        assert_eq!(unnamed, serde_json::from_str(without).unwrap());
        assert_eq!(serde_json::to_string(&unnamed).unwrap(), without);
        let named = Refusal::UnknownFormat { found: Some(UnsupportedFormat::Heic) };
        let with = serde_json::to_string(&named).unwrap();
        assert_eq!(serde_json::from_str::<Earlier>(&with).unwrap(), Earlier::UnknownFormat);
        assert_eq!(serde_json::from_str::<Refusal>(&with).unwrap(), named);
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

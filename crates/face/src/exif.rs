//! How an EXIF block says that its picture is to be turned.

use image::metadata::Orientation;

/// The orientation that an EXIF block has. A block that is damaged turns nothing.
pub(super) fn orientation(block: Option<&[u8]>) -> Orientation {
    block.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

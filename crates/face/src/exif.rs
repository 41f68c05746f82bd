//! The orientation in an EXIF block.

use image::metadata::Orientation;

/// The orientation in an EXIF block of any format: some programs write the prefix of JPEG in WebP
/// and PNG too. A damaged block means no rotation.
pub(super) fn orientation(block: Option<&[u8]>) -> Orientation {
    let block = block.map(|block| match block {
        // The byte after the name is a second 0 or padding.
        [b'E', b'x', b'i', b'f', 0, _, rest @ ..] => rest,
        _ => block,
    });
    block.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

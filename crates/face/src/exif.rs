//! How an EXIF block says that its picture is to be turned.

use image::metadata::Orientation;

/// The orientation that an EXIF block has, as stored in any format: some programs write the name that JPEG puts before a
/// block in WebP and PNG, too. A block that is damaged turns nothing.
pub(super) fn orientation(block: Option<&[u8]>) -> Orientation {
    let block = block.map(|block| match block {
        // The byte behind the name is a 0 of its own or fills the place of one.
        [b'E', b'x', b'i', b'f', 0, _, rest @ ..] => rest,
        _ => block,
    });
    block.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

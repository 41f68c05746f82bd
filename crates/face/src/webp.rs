//! What decoding a WebP file takes, by its header; image-webp 0.2 decodes it.

/// What a WebP file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Lossy,
    LossyWithAlpha,
    Lossless { alpha: bool },
    Animated,
}

/// Bytes of the animation and of the alpha channel in the flags of an extended header.
const ANIMATION: u8 = 0x02;
const ALPHA: u8 = 0x10;

/// The most bytes that decoding takes, with the picture itself, beside copies of the file.
pub(super) fn decoding_bytes((width, height): (u32, u32), file: &[u8]) -> u64 {
    // In hundredths of a byte for each pixel. Luma, and chroma with a quarter of its pixels each; then the headers of blocks.
    const PLANES: u64 = 150;
    const HEADERS: u64 = 40;
    // Four channels; images of predictors, colours and entropies at a sixteenth of the pixels.
    const LOSSLESS: u64 = 400 + 90;
    let per_pixel = match content(file) {
        Content::Lossy => PLANES + HEADERS + 300,
        // The alpha channel is a lossless picture of its own first.
        Content::LossyWithAlpha => PLANES + 400 + LOSSLESS + 100,
        // An allocator may copy what is left when alpha was dropped.
        Content::Lossless { alpha: true } => LOSSLESS.max(400 + 300),
        Content::Lossless { alpha: false } => LOSSLESS + 300,
        // The picture, the canvas, and the first frame with its alpha channel.
        Content::Animated => 400 + 400 + PLANES + HEADERS + 400 + 100,
    };
    // Blocks are whole.
    let blocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
    blocks * 256 * per_pixel / 100
}

/// Whether its EXIF block, if it has one, is in the file from end to end. One that is not can claim to have 4 GiB, which
/// image-webp 0.2.4 allocates before it reads them.
pub(super) fn has_whole_exif(file: &[u8]) -> bool {
    chunks(file).all(|chunk| chunk.name != b"EXIF" || chunk.length <= chunk.data.len())
}

fn content(file: &[u8]) -> Content {
    let has_alpha = |byte: Option<&u8>, flag| byte.is_none_or(|byte| byte & flag != 0);
    let Some(Chunk { name, data, .. }) = chunks(file).next() else { return Content::Lossy };
    match name {
        // Behind the signature 14 bits of width and of height, then whether there is an alpha channel.
        b"VP8L" => Content::Lossless { alpha: has_alpha(data.get(4), 0x10) },
        b"VP8X" if has_alpha(data.first(), ANIMATION) => Content::Animated,
        b"VP8X" => {
            let alpha = has_alpha(data.first(), ALPHA);
            match (chunks(file).any(|chunk| chunk.name == b"VP8L"), alpha) {
                (true, alpha) => Content::Lossless { alpha },
                (false, true) => Content::LossyWithAlpha,
                (false, false) => Content::Lossy,
            }
        }
        _ => Content::Lossy,
    }
}

struct Chunk<'a> {
    name: &'a [u8; 4],
    /// As its header says.
    length: usize,
    /// As far as it is in the file.
    data: &'a [u8],
}

fn chunks(file: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = file.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, data) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        rest = data.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some(Chunk { name, length, data: &data[..length.min(data.len())] })
    })
}

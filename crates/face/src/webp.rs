//! The memory that decoding a WebP file needs, by the data before its pixels; image-webp 0.2
//! decodes it.

use super::{
    memory::PixelMemory,
    refusal::{Flaw, Format, Refusal},
    vp8l::Bitstream,
};

const DAMAGED: Refusal = Refusal::Undecodable { flaw: Flaw::Damaged(Format::WebP) };

/// What a WebP file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WebPContent {
    Lossy,
    LossyWithAlpha,
    Lossless { alpha: bool },
    Animated,
}

/// Bytes of the animation and of the alpha channel in the flags of an extended header.
const ANIMATION: u8 = 0x02;
const ALPHA: u8 = 0x10;

/// The most bytes that decoding takes, with the picture itself, beside copies of the file. Waits
/// until there is memory to read what comes before the pixels.
///
/// # Errors
/// [`Refusal::Undecodable`] or [`Refusal::PixelMemory`].
pub(super) fn decoding_bytes(
    size: (u32, u32),
    file: &[u8],
    memory: &PixelMemory,
) -> Result<u64, Refusal> {
    // In hundredths of a byte for each pixel. Luma, and chroma with a quarter of its pixels each;
    // then the headers of blocks.
    const PLANES: u64 = 150;
    const HEADERS: u64 = 40;
    // Four channels; images of predictors, colours and entropies at a sixteenth of the pixels.
    const LOSSLESS: u64 = 400 + 90;
    let (content, lossless) = content(file, size).ok_or(DAMAGED)?;
    let per_pixel = match content {
        WebPContent::Lossy => PLANES + HEADERS + 300,
        // The alpha channel is a lossless picture of its own first.
        WebPContent::LossyWithAlpha => PLANES + 400 + LOSSLESS + 100,
        // An allocator may copy what is left when alpha was dropped.
        WebPContent::Lossless { alpha: true } => LOSSLESS.max(400 + 300),
        WebPContent::Lossless { alpha: false } => LOSSLESS + 300,
        // The picture, the canvas, and the first frame with its alpha channel.
        WebPContent::Animated => 400 + 400 + PLANES + HEADERS + 400 + 100,
    };
    // Blocks are whole.
    let blocks = u64::from(size.0.div_ceil(16)) * u64::from(size.1.div_ceil(16));
    let pixels = blocks * 256 * per_pixel / 100;
    let Some(lossless) = lossless else { return Ok(pixels) };
    let _lease = memory.lease(lossless.reading_bytes())?;
    Ok(pixels + lossless.table_bytes().ok_or(DAMAGED)?)
}

/// Its EXIF block. image-webp 0.2.4 allocates what a block claims to have before it reads it, up to
/// 4 GiB.
pub(super) fn exif(file: &[u8]) -> Option<&[u8]> {
    let chunk = chunks(body(file)).find(|chunk| chunk.name == b"EXIF")?;
    (chunk.length <= chunk.data.len()).then_some(chunk.data)
}

/// Whether the file is as long as its header says.
pub(super) fn is_whole(file: &[u8]) -> bool {
    let Some((_, [l0, l1, l2, l3, rest @ ..])) = file.split_first_chunk::<4>() else {
        return false;
    };
    u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize <= rest.len()
}

/// What image-webp decodes of a file whose header claims this size, and the lossless bitstream in
/// that; `None` if the file is damaged.
fn content(file: &[u8], size: (u32, u32)) -> Option<(WebPContent, Option<Bitstream<'_>>)> {
    let first = chunks(body(file)).next()?;
    let find = |name| chunks(body(file)).find(|chunk| chunk.name == name);
    match first.name {
        b"VP8 " => Some((WebPContent::Lossy, None)),
        // Behind the signature 14 bits of width and of height, then whether there is an alpha
        // channel.
        b"VP8L" => {
            let alpha = first.data.get(4)? & 0x10 != 0;
            Some((WebPContent::Lossless { alpha }, Some(picture(&first, size))))
        }
        b"VP8X" => {
            let alpha = first.data.first()? & ALPHA != 0;
            let frame = first_frame(file);
            if first.data.first()? & ANIMATION != 0 {
                return animated(frame?, size);
            }
            // image-webp takes missing values from a frame, if it exists.
            if frame.is_some() {
                return None;
            }
            match (find(b"VP8 "), find(b"VP8L")) {
                (Some(lossy), None) if has_size(&lossy, size) => Some(if alpha {
                    let channel = find(b"ALPH").and_then(|chunk| alpha_channel(&chunk, size));
                    (WebPContent::LossyWithAlpha, channel)
                } else {
                    (WebPContent::Lossy, None)
                }),
                (None, Some(lossless)) => {
                    Some((WebPContent::Lossless { alpha }, Some(picture(&lossless, size))))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// What is decoded of an animation of this size, by its first frame.
fn animated(
    (frame, inner): ((u32, u32), &[u8]),
    size: (u32, u32),
) -> Option<(WebPContent, Option<Bitstream<'_>>)> {
    if frame.0 > size.0 || frame.1 > size.1 {
        return None;
    }
    let mut inner = chunks(inner);
    let first = inner.next()?;
    let lossless = match first.name {
        b"VP8L" => Some(picture(&first, frame)),
        b"VP8 " if has_size(&first, frame) => None,
        // What follows is decoded whatever its name.
        b"ALPH" if has_size(&inner.next()?, frame) => alpha_channel(&first, frame),
        _ => return None,
    };
    Some((WebPContent::Animated, lossless))
}

/// Width and height of the first frame of an animation, pixels, and its chunks.
fn first_frame(file: &[u8]) -> Option<((u32, u32), &[u8])> {
    let frame = chunks(body(file)).find(|chunk| chunk.name == b"ANMF")?;
    let (header, inner) = frame.data.split_first_chunk::<16>()?;
    let [.., w0, w1, w2, h0, h1, h2, _, _, _, _] = *header;
    let three = |bytes: [u8; 3]| {
        let [low, middle, high] = bytes;
        u32::from_le_bytes([low, middle, high, 0]) + 1
    };
    Some(((three([w0, w1, w2]), three([h0, h1, h2])), inner))
}

fn picture<'a>(chunk: &Chunk<'a>, size: (u32, u32)) -> Bitstream<'a> {
    Bitstream { data: chunk.data, size, has_header: true }
}

/// The bitstream of an alpha channel, if it is compressed.
fn alpha_channel<'a>(chunk: &Chunk<'a>, size: (u32, u32)) -> Option<Bitstream<'a>> {
    let (method, data) = chunk.data.split_first()?;
    (method & 3 == 1).then_some(Bitstream { data, size, has_header: false })
}

/// Whether a lossy frame is a whole picture of this size. image-webp 0.2.4 decodes one of any size
/// before it compares that with the container's.
fn has_size(lossy: &Chunk<'_>, size: (u32, u32)) -> bool {
    let [tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *lossy.data else { return false };
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    tag & 1 == 0 && (side(w0, w1), side(h0, h1)) == size
}

struct Chunk<'a> {
    name: &'a [u8; 4],
    /// As its header says.
    length: usize,
    /// As far as it is in the file.
    data: &'a [u8],
}

/// All behind the signature.
fn body(file: &[u8]) -> &[u8] {
    file.get(12..).unwrap_or_default()
}

fn chunks(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, data) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        rest = data.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some(Chunk { name, length, data: &data[..length.min(data.len())] })
    })
}

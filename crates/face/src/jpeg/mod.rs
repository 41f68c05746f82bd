//! JPEG at a fraction of its size: the inverse cosine transform of a block of 8 × 8 pixels can give 4 × 4, 2 × 2 or 1
//! right away, each the mean of those that it stands for, and most of the arithmetic is not done.
//!
//! libjpeg-turbo does it, a library in C. Builds without the feature `turbojpeg` have no C between a stranger's
//! picture and its pixels, and decode large photos three times as slowly (docs/decisions/0015).

#[cfg(feature = "turbojpeg")]
pub(super) use turbo::decode;

/// What decodes JPEG in this build, as `visavis check` and `/health` tell it: the two kinds of build differ in the second
/// decimal of a similarity, so all processes of one service should be of one kind.
pub const DECODER: &str =
    if cfg!(feature = "turbojpeg") { "libjpeg-turbo" } else { "zune-jpeg, at full size only" };

/// Whether this build can decode a JPEG with this frame at a fraction of its size.
pub(super) fn can_reduce(frame: &Frame) -> bool {
    cfg!(feature = "turbojpeg") && matches!(frame.channels, 1 | 3)
}

/// Never: this build decodes at full size only.
#[cfg(not(feature = "turbojpeg"))]
pub(super) fn decode(_bytes: &[u8], _size: (u32, u32), _reduction: u32) -> Option<image::RgbImage> {
    None
}

/// What the header of a JPEG says about the memory that decoding takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Grey 1, colour 3, for print 4.
    pub(super) channels: u64,
    /// Bytes of the coefficients of the whole picture, which are held if it comes in several scans; else 0.
    coefficients: u64,
    /// Rows that are held, in bytes for each pixel of the width.
    rows: u64,
    width: u64,
}

/// Bytes of one coefficient.
const COEFFICIENT: u64 = 2;

impl Frame {
    /// Reads the header. One that is not as it should be is taken for the dearest that there can be.
    pub(super) fn read(file: &[u8], (width, height): (u32, u32)) -> Self {
        let (width, height) = (u64::from(width), u64::from(height));
        let (samples, in_scans) = samples(file).unwrap_or_else(|| (vec![(1, 1); 4], true));
        let across = samples.iter().map(|(h, _)| *h).max().unwrap_or(1);
        let down = samples.iter().map(|(_, v)| *v).max().unwrap_or(1);
        let blocks = width.div_ceil(8 * across) * height.div_ceil(8 * down);
        let in_block: u64 = samples.iter().map(|(h, v)| h * v * 64).sum();
        let channels = samples.len() as u64;
        Self {
            channels,
            coefficients: if in_scans { blocks * in_block * COEFFICIENT } else { 0 },
            // A row of blocks of each channel, before and after it is brought to the size of the picture.
            rows: channels * down * 64,
            width,
        }
    }

    /// What a decoder takes at most beside the picture itself, bytes.
    pub(super) fn working_bytes(&self) -> u64 {
        self.coefficients + self.rows * self.width
    }
}

/// The sampling factors of the components, to the right and downwards, and whether the picture comes in several scans: a
/// progressive one does, and one whose first scan does not have all components. `None` if the header is damaged.
fn samples(file: &[u8]) -> Option<(Vec<(u64, u64)>, bool)> {
    let (mut rest, mut frame) = (file.get(2..)?, None);
    loop {
        // Behind the segment may lie what belongs to none.
        let at = rest.windows(2).position(|two| two[0] == 0xFF && !matches!(two[1], 0 | 0xFF))?;
        let (marker, after) = rest[at + 1..].split_first()?;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            rest = after;
            continue;
        }
        let (length, _) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (segment, behind) = (after.get(2..length)?, after.get(length..)?);
        match (*marker, frame.as_ref()) {
            (0xC4 | 0xC8 | 0xCC, _) => {}
            (0xC0..=0xCF, None) => {
                let count = usize::from(*segment.get(5)?);
                let components = segment.get(6..6 + 3 * count)?.as_chunks::<3>().0;
                let factors = components.iter().map(|[_, factors, _]| {
                    (u64::from(factors >> 4).clamp(1, 4), u64::from(factors & 15).clamp(1, 4))
                });
                let factors: Vec<_> = factors.collect();
                if !(1..=4).contains(&factors.len()) {
                    return None;
                }
                frame = Some((factors, !matches!(marker, 0xC0 | 0xC1 | 0xC9)));
            }
            // A second frame.
            (0xC0..=0xCF, Some(_)) => return None,
            (0xDA, _) => {
                let (factors, in_scans) = frame?;
                let all = usize::from(*segment.first()?) == factors.len();
                return Some((factors, in_scans || !all));
            }
            _ => {}
        }
        rest = behind;
    }
}

#[cfg(feature = "turbojpeg")]
mod turbo {
    use image::RgbImage;
    use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

    /// Scans of a progressive file: cameras and converters write about ten, a file made to cost time has thousands.
    const MOST_SCANS: u32 = 30;

    /// The picture with `reduction` × `reduction` of its pixels in one, not turned by EXIF; `None` for everything that
    /// is not as it should be, which is left to the decoder at full size, so that it decides what is a picture. `size`
    /// is what that decoder read from the header.
    pub(crate) fn decode(bytes: &[u8], size: (u32, u32), reduction: u32) -> Option<RgbImage> {
        let mut decoder = Decompressor::new().ok()?;
        decoder.set_scan_limit(MOST_SCANS).ok()?;
        let header = decoder.read_header(bytes).ok()?;
        let usual = [Colorspace::YCbCr, Colorspace::Gray, Colorspace::RGB];
        let expected = (usize::try_from(size.0).ok()?, usize::try_from(size.1).ok()?);
        if !usual.contains(&header.colorspace) || (header.width, header.height) != expected {
            return None;
        }
        let factor = ScalingFactor::new(1, usize::try_from(reduction).ok()?);
        decoder.set_scaling_factor(factor).ok()?;
        let (width, height) = (factor.scale(header.width), factor.scale(header.height));
        let mut pixels = vec![0; width * height * 3];
        let target = Image {
            pixels: &mut pixels[..],
            width,
            pitch: width * 3,
            height,
            format: PixelFormat::RGB,
        };
        decoder.decompress(bytes, target).ok()?;
        RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels)
    }
}

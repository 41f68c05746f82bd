//! JPEG: its header, whether the file is complete, and its pixels, at a fraction of the size where
//! that is cheaper. The inverse cosine transform of a block of 8 × 8 pixels can produce 4 × 4, 2 ×
//! 2 or 1 pixels directly, each the mean of the pixels that it replaces, with a fraction of the
//! arithmetic.
//!
//! libjpeg-turbo does it, a library in C. Builds without the feature `turbojpeg` decode untrusted
//! pictures without any C, large photos three times as slowly, and read fewer varieties
//! (docs/decisions/0015).

mod blocks;
mod check;
mod codes;
mod damage;
#[cfg(test)]
mod encoder;
mod segments;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, io::Cursor};

use image::{DynamicImage, ImageDecoder as _, RgbImage, codecs::jpeg::JpegDecoder};

use self::{
    check::{check, check_scans, has_long_run},
    damage::Damage,
    segments::{Frame, Scan, Segment, Segments},
};
use super::refusal::{Flaw, Format, Refusal};

/// The JPEG decoder of this build, reported by `visavis check` and `/health`. The two kinds of
/// build differ in the second decimal of a similarity, so all processes of one service should be of
/// one kind.
pub const DECODER: &str =
    if cfg!(feature = "turbojpeg") { "libjpeg-turbo" } else { "zune-jpeg, at full size only" };

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        let flaw = match damage {
            Damage::EndsEarly => Flaw::EndsEarly(Format::Jpeg),
            Damage::Garbled => Flaw::Damaged(Format::Jpeg),
        };
        Self::Undecodable { flaw }
    }
}

/// What the header of a JPEG says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// Width and height as it is stored, pixels.
    pub(super) size: (u32, u32),
    /// Grey 1, colour 3, for print 4.
    pub(super) channels: u64,
    /// Its first EXIF block.
    pub(super) exif: Option<&'a [u8]>,
    /// What a decoder takes at most beside the picture itself, bytes.
    pub(super) working_bytes: u64,
    /// Where the first scan begins. Before it there are previews, notes and what is left free for
    /// more.
    scans: usize,
    /// Whether zune-jpeg has its pixels right.
    is_plain: bool,
}

/// Bytes of one coefficient, and of the marks of a block of a progressive picture while it is
/// checked.
const COEFFICIENT: u64 = 2;
const MARKS: u64 = 8;

impl<'a> Header<'a> {
    /// Reads all that comes before the first scan.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`].
    pub(super) fn read(file: &'a [u8]) -> Result<Self, Refusal> {
        let (mut exif, mut frame) = (None, None);
        for (range, part) in Segments::headers(file) {
            match part {
                // The byte behind the name is a 0 of its own or fills the place of one.
                Segment::Marker(0xE1, [b'E', b'x', b'i', b'f', 0, _, data @ ..]) => {
                    exif = exif.or(Some(data));
                }
                Segment::Marker(marker, data) if Frame::is_header(marker) && frame.is_none() => {
                    frame = Some(Frame::parse(marker, data).ok_or(Damage::Garbled)?);
                }
                Segment::Scan(data, _) => {
                    let frame: Frame = frame.ok_or(Damage::Garbled)?;
                    let scan = Scan::parse(data, &frame).ok_or(Damage::Garbled)?;
                    return Self::new(&frame, &scan, range.start, exif);
                }
                Segment::Marker(..) => {}
                Segment::End | Segment::Broken => return Err(Damage::Garbled.into()),
                Segment::Cut => break,
            }
        }
        Err(Damage::EndsEarly.into())
    }

    fn new(
        frame: &Frame,
        scan: &Scan,
        scans: usize,
        exif: Option<&'a [u8]>,
    ) -> Result<Self, Refusal> {
        let count = frame.components.len();
        // Or with a number of components that has no meaning.
        if !matches!(frame.marker, 0xC0..=0xC2) || frame.precision != 8 || count == 2 {
            return Err(Refusal::Undecodable { flaw: Flaw::JpegCoding });
        }
        let (across, down) = frame.most();
        let is_whole = |one: &segments::FrameComponent| {
            across.is_multiple_of(one.across) && down.is_multiple_of(one.down)
        };
        if !frame.components.iter().all(is_whole) {
            return Err(Refusal::Undecodable { flaw: Flaw::JpegSampling });
        }
        let (columns, rows) = frame.units();
        let blocks: usize = frame.components.iter().map(|one| one.across * one.down).sum();
        let blocks = (columns * rows * blocks) as u64;
        let in_scans = frame.is_progressive() || scan.components.len() < count;
        let marks = if frame.is_progressive() { MARKS } else { 0 };
        let coefficients = if in_scans { blocks * (64 * COEFFICIENT + marks) } else { 0 };
        // A row of blocks of each channel, before and after it is brought to the size of the
        // picture.
        let lines = (count * down * 64) as u64 * u64::from(frame.size.0);
        Ok(Self {
            size: frame.size,
            channels: count as u64,
            exif,
            working_bytes: coefficients + lines,
            scans,
            is_plain: is_plain(frame, scan),
        })
    }

    /// Whether this build can decode it at a fraction of its size.
    pub(super) fn is_reducible(&self) -> bool {
        cfg!(feature = "turbojpeg") && matches!(self.channels, 1 | 3)
    }

    /// The picture with `reduction` × `reduction` of its pixels in one, not turned by EXIF; `None`
    /// if it can only be had with all of them.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`].
    pub(super) fn decode(&self, file: &[u8], reduction: u32) -> Result<Option<RgbImage>, Refusal> {
        Ok(self.decode_or_check(file, reduction)?.ok())
    }

    /// The picture with all of its pixels, not turned by EXIF.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`].
    pub(super) fn decode_whole(&self, file: &[u8]) -> Result<RgbImage, Refusal> {
        let whole = match self.decode_or_check(file, 1)? {
            Ok(picture) => return Ok(picture),
            Err(whole) => whole,
        };
        if !self.is_plain {
            return Err(Refusal::Undecodable { flaw: Flaw::JpegSampling });
        }
        let damaged = |_| Refusal::from(Damage::Garbled);
        let decoder = JpegDecoder::new(Cursor::new(&whole[..])).map_err(damaged)?;
        if decoder.dimensions() != self.size {
            return Err(Damage::Garbled.into());
        }
        Ok(DynamicImage::from_decoder(decoder).map_err(damaged)?.into_rgb8())
    }

    /// The picture by libjpeg-turbo, or the file as it should be if it is left to another decoder.
    fn decode_or_check<'f>(
        &self,
        file: &'f [u8],
        reduction: u32,
    ) -> Result<Result<RgbImage, Cow<'f, [u8]>>, Damage> {
        check_scans(file)?;
        // Reading all codes takes as long as decoding. libjpeg-turbo reports damage at the end of a
        // scan at the latest, but not how much, and not always where one byte is repeated many
        // times.
        if !has_long_run(&file[self.scans..])
            && let Some(picture) = turbo::decode(file, self, reduction)
        {
            return Ok(Ok(picture));
        }
        let whole = check(file)?;
        match turbo::decode(&whole, self, reduction) {
            Some(picture) => Ok(Ok(picture)),
            None => Ok(Err(whole)),
        }
    }
}

/// What zune-jpeg 0.5.15 has right, by the first scan: not a luma that is coarser than chroma or
/// has a third of the pixels, and of what is baseline and comes in several scans hardly anything.
fn is_plain(frame: &Frame, scan: &Scan) -> bool {
    let (across, down) = frame.most();
    let is_in_scans = !frame.is_progressive() && scan.components.len() < frame.components.len();
    let luma_comes_alone = matches!(scan.components[..], [(0, ..)]);
    across != 3
        && down != 3
        && frame.components[0].across == across
        && (!is_in_scans || down == 1 && (across == 1 || luma_comes_alone))
}

#[cfg(not(feature = "turbojpeg"))]
mod turbo {
    use image::RgbImage;

    use super::Header;

    /// Never: this build has another decoder.
    pub(super) fn decode(_file: &[u8], _header: &Header<'_>, _reduction: u32) -> Option<RgbImage> {
        None
    }
}

#[cfg(feature = "turbojpeg")]
mod turbo {
    use image::RgbImage;
    use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

    use super::Header;

    /// Scans of a progressive file: cameras and converters write about ten, a file made to cost
    /// time has thousands.
    const MOST_SCANS: u32 = 30;

    /// `None` for everything that it complains about, and for pictures for print.
    pub(super) fn decode(file: &[u8], header: &Header<'_>, reduction: u32) -> Option<RgbImage> {
        let mut decoder = Decompressor::new().ok()?;
        decoder.set_scan_limit(MOST_SCANS).ok()?;
        let found = decoder.read_header(file).ok()?;
        let usual = [Colorspace::YCbCr, Colorspace::Gray, Colorspace::RGB];
        let expected = (usize::try_from(header.size.0).ok()?, usize::try_from(header.size.1).ok()?);
        if !usual.contains(&found.colorspace) || (found.width, found.height) != expected {
            return None;
        }
        let factor = ScalingFactor::new(1, usize::try_from(reduction).ok()?);
        decoder.set_scaling_factor(factor).ok()?;
        let (width, height) = (factor.scale(found.width), factor.scale(found.height));
        let mut pixels = vec![0; width * height * 3];
        let target = Image {
            pixels: &mut pixels[..],
            width,
            pitch: width * 3,
            height,
            format: PixelFormat::RGB,
        };
        decoder.decompress(file, target).ok()?;
        RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels)
    }
}

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

/// Never: this build decodes at full size only.
#[cfg(not(feature = "turbojpeg"))]
pub(super) fn decode(_bytes: &[u8], _size: (u32, u32), _reduction: u32) -> Option<image::RgbImage> {
    None
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

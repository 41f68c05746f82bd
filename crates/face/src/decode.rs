//! Bytes to an upright RGB picture: format sniffing, limits before decoding, EXIF orientation,
//! alpha over white.
//!
//! Nothing is believed but the bytes: no file name, no content type. The size limits are checked on
//! the header, so a picture that promises a billion pixels costs microseconds.
//!
//! A JPEG can be decoded at a half, a quarter or an eighth of its size, which costs a third of the time on a photo of
//! 12 megapixels, and less memory: see [`Reduced`].

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage, RgbaImage,
    metadata::Orientation,
};
use serde::{Deserialize, Serialize};

use super::{jpeg, png::Png, refusal::Refusal};

/// What a picture may be at most, and at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeLimits {
    /// Size of the file, bytes.
    pub max_bytes: usize,
    /// Pixels of the shorter side, at least.
    pub min_side: u32,
    /// Pixels of the longer side.
    pub max_side: u32,
    /// Pixels in all.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    /// Room for a 50-megapixel phone photo in a file of 10 MiB.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, min_side: 16, max_side: 16_384, max_pixels: 64_000_000 }
    }
}

/// Which of the formats that are read here the bytes claim to be, by their first bytes.
pub fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(ImageFormat::Png),
        [b'B', b'M', ..] => Some(ImageFormat::Bmp),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageFormat::WebP),
        _ => None,
    }
}

/// The checks that need no decoder: there are bytes, not too many, of a known format.
///
/// # Errors
/// [`Refusal::Empty`], [`Refusal::TooManyBytes`] or [`Refusal::UnknownFormat`].
pub fn check_envelope(bytes: &[u8], limits: &DecodeLimits) -> Result<ImageFormat, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(Refusal::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    sniff(bytes).ok_or(Refusal::UnknownFormat)
}

/// A decoded picture, upright, of which several pixels may have become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// `⌈height ÷ reduction⌉` rows of `⌈width ÷ reduction⌉` pixels.
    pub image: RgbImage,
    /// So many pixels of the file, to the right as well as downwards, are one of `image`: 1, 2, 4 or 8.
    pub reduction: u32,
    /// Width and height of the upright picture in the file, pixels.
    pub size: (u32, u32),
}

/// Decodes a JPEG, PNG, BMP or WebP file to 8-bit RGB, upright by its EXIF orientation.
///
/// Grey, palette, 16-bit, CMYK and YCCK pictures become RGB; transparent pixels are laid over white,
/// as a viewer shows them. Returns `height` rows of `width` pixels after the orientation is applied.
///
/// # Errors
/// Any [`Refusal`] but [`Refusal::NoFace`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, Refusal> {
    decode_reduced(bytes, limits, u32::MAX).map(|decoded| decoded.image)
}

/// As [`decode`], but with as few pixels as can be had at no cost while the longer side keeps `long_side` of them.
///
/// Only JPEG can be had with fewer, and only an undamaged one in a build with the feature `turbojpeg`; everything
/// else comes at its own size.
///
/// # Errors
/// As [`decode`].
pub fn decode_reduced(
    bytes: &[u8],
    limits: &DecodeLimits,
    long_side: u32,
) -> Result<Reduced, Refusal> {
    let format = check_envelope(bytes, limits)?;
    let (decode, (width, height), orientation) = open(bytes, format)?;
    if width.min(height) < limits.min_side
        || width.max(height) > limits.max_side
        || u64::from(width) * u64::from(height) > limits.max_pixels
    {
        return Err(Refusal::Dimensions { width, height });
    }
    let reduction = reduction(width.max(height), long_side);
    let reduced = (format == ImageFormat::Jpeg && reduction > 1)
        .then(|| jpeg::decode(bytes, (width, height), reduction))
        .flatten();
    let (picture, reduction) = match reduced {
        Some(picture) => (picture, reduction),
        None => (decode()?, 1),
    };
    let mut upright = DynamicImage::ImageRgb8(picture);
    upright.apply_orientation(orientation);
    let size = if lies_on_a_side(orientation) { (height, width) } else { (width, height) };
    Ok(Reduced { image: upright.into_rgb8(), reduction, size })
}

/// What decodes the whole picture, as it is stored.
type Decode<'a> = Box<dyn FnOnce() -> Result<RgbImage, Refusal> + 'a>;

/// Reads the header: what decodes the picture, its size, and how it is to be turned.
fn open(
    bytes: &[u8],
    format: ImageFormat,
) -> Result<(Decode<'_>, (u32, u32), Orientation), Refusal> {
    if format == ImageFormat::Png {
        let png = Png::open(bytes)?;
        let orientation = png.orientation().unwrap_or(Orientation::NoTransforms);
        let size = png.size();
        return Ok((Box::new(|| png.decode()), size, orientation));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The size is checked by the caller.
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(|_| Refusal::Undecodable)?;
    let size = decoder.dimensions();
    // A picture whose EXIF block is damaged is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decode = || {
        let picture = DynamicImage::from_decoder(decoder).map_err(|_| Refusal::Undecodable)?;
        Ok(flatten(picture))
    };
    Ok((Box::new(decode), size, orientation))
}

fn lies_on_a_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
}

/// The largest reduction that leaves `wanted` pixels of `long`.
fn reduction(long: u32, wanted: u32) -> u32 {
    [8, 4, 2].into_iter().find(|reduction| long / reduction >= wanted).unwrap_or(1)
}

/// Drops the alpha channel by laying the picture over white.
fn flatten(picture: DynamicImage) -> RgbImage {
    match picture {
        DynamicImage::ImageRgba8(rgba) => flatten_in_place(rgba),
        picture if picture.color().has_alpha() => flatten_in_place(picture.into_rgba8()),
        picture => picture.into_rgb8(),
    }
}

/// Writes each pixel over those that were read before it.
fn flatten_in_place(rgba: RgbaImage) -> RgbImage {
    let (width, height) = rgba.dimensions();
    let mut samples = rgba.into_raw();
    let pixels = samples.len() / 4;
    for pixel in 0..pixels {
        let from = pixel * 4;
        let [r, g, b, a] = [0, 1, 2, 3].map(|channel| samples[from + channel]);
        samples[pixel * 3..pixel * 3 + 3].copy_from_slice(&over_white([r, g, b, a]));
    }
    samples.truncate(pixels * 3);
    samples.shrink_to_fit();
    RgbImage::from_raw(width, height, samples).unwrap_or_default()
}

/// An RGBA pixel laid over white.
pub(super) fn over_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    let alpha = u16::from(alpha);
    [r, g, b].map(|channel| {
        let sum = u16::from(channel) * alpha + 255 * (255 - alpha);
        u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageEncoder, Rgba, RgbaImage, codecs::png::PngEncoder};

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels =
            RgbaImage::from_fn(width, height, |x, _| Rgba([200, 100, 0, u8::from(x > 0) * 255]));
        PngEncoder::new(&mut bytes)
            .write_image(&pixels, width, height, image::ExtendedColorType::Rgba8)
            .unwrap();
        bytes
    }

    #[test]
    fn transparent_pixels_become_white_and_opaque_ones_stay() {
        let picture = decode(&png(20, 20), &DecodeLimits::default()).unwrap();
        assert_eq!(picture.get_pixel(0, 5).0, [255, 255, 255]);
        assert_eq!(picture.get_pixel(1, 5).0, [200, 100, 0]);
        assert_eq!(over_white([100, 100, 100, 128]), [177; 3]);
    }

    #[test]
    fn a_picture_beyond_the_limits_is_refused_by_its_header() {
        let limits = DecodeLimits { max_pixels: 399, ..DecodeLimits::default() };
        let refused = decode(&png(20, 20), &limits);
        assert_eq!(refused, Err(Refusal::Dimensions { width: 20, height: 20 }));
        let limits = DecodeLimits { max_bytes: 10, ..DecodeLimits::default() };
        assert!(matches!(decode(&png(20, 20), &limits), Err(Refusal::TooManyBytes { .. })));
    }

    #[cfg(feature = "turbojpeg")]
    fn photo(width: u32, height: u32) -> Vec<u8> {
        let grain = |x: u32, y: u32| u8::try_from((x * 7 + y * 13) % 50).unwrap();
        let picture = RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([100 + grain(x, y), 90, 200 - grain(y, x)])
        });
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn a_jpeg_comes_with_as_few_pixels_as_are_wanted_each_the_mean_of_its_block() {
        let (file, limits) = (photo(1_601, 900), DecodeLimits::default());
        let all = decode(&file, &limits).unwrap();
        for (wanted, reduction) in [(2_000, 1), (801, 1), (800, 2), (401, 2), (400, 4), (10, 8)] {
            let Reduced { image, reduction: got, size } =
                decode_reduced(&file, &limits, wanted).unwrap();
            assert_eq!((got, size), (reduction, (1_601, 900)), "{wanted}");
            let expected = (1_601_u32.div_ceil(reduction), 900_u32.div_ceil(reduction));
            assert_eq!(image.dimensions(), expected);
            let mean = |picture: &RgbImage| {
                picture.iter().map(|value| f64::from(*value)).sum::<f64>() / picture.len() as f64
            };
            assert!((mean(&image) - mean(&all)).abs() < 0.5, "{reduction}");
        }
    }

    /// A JPEG whose EXIF block says how it is to be turned; dark to the left and upwards as it is stored.
    #[cfg(feature = "turbojpeg")]
    fn turned_photo(width: u32, height: u32, orientation: u8) -> Vec<u8> {
        let shade = |at: u32, end: u32| u8::try_from(at * 255 / end).unwrap();
        let picture = RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([shade(x, width), shade(y, height), 90])
        });
        let exif = [
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0",
            &[orientation, 0, 0, 0, 0, 0, 0, 0][..],
        ];
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif.concat()).unwrap();
        picture.write_with_encoder(encoder).unwrap();
        bytes.into_inner()
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn fewer_pixels_lie_where_all_of_them_do_however_the_photo_is_to_be_turned() {
        let limits = DecodeLimits::default();
        for orientation in 1..=8 {
            let file = turned_photo(1_301, 998, orientation);
            let all = decode(&file, &limits).unwrap();
            let few = decode_reduced(&file, &limits, 300).unwrap();
            assert_eq!((few.reduction, few.size), (4, all.dimensions()), "{orientation}");
            assert_eq!(all.width() < all.height(), orientation >= 5);
            for (x, y) in [(20, 20), (200, 30), (100, 220), (230, 240)] {
                let (one, other) = (few.image.get_pixel(x, y), all.get_pixel(4 * x + 2, 4 * y + 2));
                let apart = one.0.iter().zip(other.0).map(|(a, b)| a.abs_diff(b)).max();
                assert!(apart < Some(6), "{orientation}: {one:?} {other:?}");
            }
        }
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn a_damaged_jpeg_is_left_to_the_decoder_at_full_size() {
        let (file, limits) = (photo(1_600, 900), DecodeLimits::default());
        let cut = &file[..file.len() * 2 / 3];
        let full = decode(cut, &limits);
        let reduced = decode_reduced(cut, &limits, 400);
        assert_eq!(reduced.as_ref().map(|r| r.reduction), full.as_ref().map(|_| 1));
        assert_eq!(reduced.map(|r| r.image), full);
    }

    #[test]
    fn the_first_bytes_decide_the_format() {
        assert_eq!(sniff(b"\xFF\xD8\xFF\xE0"), Some(ImageFormat::Jpeg));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some(ImageFormat::WebP));
        assert_eq!(sniff(b"GIF89a"), None);
        assert_eq!(decode(b"", &DecodeLimits::default()), Err(Refusal::Empty));
        assert_eq!(decode(b"hello", &DecodeLimits::default()), Err(Refusal::UnknownFormat));
        assert_eq!(
            decode(b"\xFF\xD8\xFF\xE0", &DecodeLimits::default()),
            Err(Refusal::Undecodable)
        );
    }
}

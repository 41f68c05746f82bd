//! Bytes to an upright RGB picture: format sniffing, limits before decoding, EXIF orientation,
//! alpha over white.
//!
//! Only the bytes count, not the file name or content type. The size limits are checked on
//! the header, so an image that claims a billion pixels costs microseconds.
//!
//! A JPEG can be decoded at a half, a quarter or an eighth of its size, which takes a third of the
//! time on a photo of 12 megapixels, and less memory: see [`Reduced`].

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder as _, RgbImage, RgbaImage, codecs::webp::WebPDecoder,
    metadata::Orientation,
};

use super::{
    alpha::over_white,
    bmp::Bmp,
    exif::orientation,
    jpeg,
    limits::DecodeLimits,
    memory::PixelMemory,
    png::{self, Png},
    refusal::{Flaw, Format, Refusal, UnsupportedFormat},
    webp,
};

/// Which of the formats that are read here the bytes claim to be, by their first bytes.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(Format::Png),
        [b'B', b'M', ..] => Some(Format::Bmp),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::WebP),
        _ => None,
    }
}

/// The checks that need no decoder: the file is not empty, not too large, and of a known format.
///
/// # Errors
/// [`Refusal::Empty`], [`Refusal::TooManyBytes`] or [`Refusal::UnknownFormat`].
pub fn check_envelope(bytes: &[u8], limits: &DecodeLimits) -> Result<Format, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(Refusal::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    sniff(bytes).ok_or_else(|| Refusal::UnknownFormat { found: UnsupportedFormat::sniff(bytes) })
}

/// A decoded picture, upright, of which several pixels may have become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// `⌈height ÷ reduction⌉` rows of `⌈width ÷ reduction⌉` pixels.
    pub image: RgbImage,
    /// Number of pixels of the file per pixel of `image`, on each axis: 1, 2, 4 or 8.
    pub reduction: u32,
    /// Width and height of the upright picture in the file, pixels.
    pub size: (u32, u32),
}

/// Decodes a JPEG, PNG, BMP or WebP file to 8-bit RGB, upright by its EXIF orientation.
///
/// Grey, palette, 16-bit, CMYK and YCCK images become RGB; transparent pixels are laid over white,
/// as a viewer shows them. Returns `height` rows of `width` pixels after the orientation is
/// applied.
///
/// # Errors
/// Any [`Refusal`] but [`Refusal::NoFace`] and [`Refusal::PixelMemory`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, Refusal> {
    decode_reduced(bytes, limits, u32::MAX).map(|decoded| decoded.image)
}

/// As [`decode`], but reduced where that is free and the longer side keeps at least `long_side`
/// pixels.
///
/// JPEG is reduced in a build with the feature `turbojpeg`. An image that EXIF rotates by a quarter
/// is reduced before it is rotated, in any build and format. All others keep their size.
///
/// # Errors
/// As [`decode`].
pub fn decode_reduced(
    bytes: &[u8],
    limits: &DecodeLimits,
    long_side: u32,
) -> Result<Reduced, Refusal> {
    let file = PictureFile::read(bytes, limits, &PixelMemory::default())?;
    let (reduction, size) = (file.reduction(long_side), file.upright_size());
    match file.decode_with(reduction)? {
        Some(image) => Ok(Reduced { image, reduction, size }),
        None => Ok(Reduced { image: file.decode_whole()?, reduction: 1, size }),
    }
}

/// An image file whose header was read and is within the limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct PictureFile<'a> {
    bytes: &'a [u8],
    kind: FormatHeader<'a>,
    /// As it is stored.
    size: (u32, u32),
    orientation: Orientation,
    /// Maximum memory of decoding all pixels, in bytes, with the image itself.
    whole_bytes: u64,
}

/// The format of a file, with the header that decoding needs again.
#[derive(Debug, Clone, Copy)]
enum FormatHeader<'a> {
    Jpeg(jpeg::Header<'a>),
    Png,
    Bmp,
    WebP,
}

impl<'a> PictureFile<'a> {
    /// Reads the header, and of a lossless WebP all data before the pixels; waits until memory for
    /// that is free.
    ///
    /// # Errors
    /// As [`decode`], and [`Refusal::PixelMemory`].
    pub(super) fn read(
        bytes: &'a [u8],
        limits: &DecodeLimits,
        memory: &PixelMemory,
    ) -> Result<Self, Refusal> {
        // The decoders for JPEG and WebP copy the file.
        let copied = 3 * bytes.len() as u64 + OTHER_BYTES;
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let (kind, size, orientation, whole_bytes) = match check_envelope(bytes, limits)? {
            Format::Jpeg => {
                let header = jpeg::Header::read(bytes)?;
                let (size, working) = (header.size, header.working_bytes + copied);
                check_size(size, limits)?;
                let whole_bytes = if header.channels == 1 {
                    // It becomes RGB when the decoder is done.
                    (working + pixels(size)).max(copied + 4 * pixels(size))
                } else {
                    working + rgb_bytes(size)
                };
                (FormatHeader::Jpeg(header), size, orientation(header.exif), whole_bytes)
            }
            Format::Png => {
                let png = Png::open(bytes)?;
                let size = png.size();
                check_size(size, limits)?;
                let whole_bytes = png::working_bytes(size, bytes) + rgb_bytes(size);
                (FormatHeader::Png, size, orientation(png.exif()), whole_bytes)
            }
            Format::Bmp => {
                let bmp = Bmp::open(bytes)?;
                let size = bmp.size();
                check_size(size, limits)?;
                // An allocator may copy the pixels after the alpha channel is dropped.
                let in_pixel = if bmp.has_alpha() { 7 } else { 3 };
                (
                    FormatHeader::Bmp,
                    size,
                    Orientation::NoTransforms,
                    in_pixel * pixels(size) + copied,
                )
            }
            Format::WebP => {
                let size = open_webp(bytes)?.dimensions();
                check_size(size, limits)?;
                let whole_bytes = webp::decoding_bytes(size, bytes, memory)? + copied;
                (FormatHeader::WebP, size, orientation(webp::exif(bytes)), whole_bytes)
            }
        };
        Ok(Self { bytes, kind, size, orientation, whole_bytes })
    }

    /// Width and height of the upright picture, pixels.
    pub(super) fn upright_size(&self) -> (u32, u32) {
        let (width, height) = self.size;
        if lies_on_a_side(self.orientation) { (height, width) } else { (width, height) }
    }

    /// The largest reduction that leaves `long_side` pixels on the longer side.
    pub(super) fn reduction(&self, long_side: u32) -> u32 {
        if self.decodes_fewer() || lies_on_a_side(self.orientation) {
            reduction(self.size.0.max(self.size.1), long_side)
        } else {
            1
        }
    }

    /// Whether its decoder can reduce the image.
    fn decodes_fewer(&self) -> bool {
        matches!(self.kind, FormatHeader::Jpeg(header) if header.is_reducible())
    }

    /// The size of the decoded picture, bytes.
    pub(super) fn image_bytes(&self, reduction: u32) -> u64 {
        rgb_bytes((self.size.0.div_ceil(reduction), self.size.1.div_ceil(reduction)))
    }

    /// Maximum memory of decoding it upright, in bytes, with the decoded image.
    pub(super) fn decoding_bytes(&self, reduction: u32) -> u64 {
        let image = self.image_bytes(reduction);
        let decoding = match self.kind {
            FormatHeader::Jpeg(header) if reduction > 1 && self.decodes_fewer() => {
                header.working_bytes + 3 * self.bytes.len() as u64 + OTHER_BYTES + image
            }
            _ if reduction > 1 => self.whole_bytes.max(rgb_bytes(self.size) + image),
            _ => self.whole_bytes,
        };
        let upright = if lies_on_a_side(self.orientation) { 2 * image } else { image };
        decoding.max(upright)
    }

    /// The upright picture with fewer pixels; `None` if this takes all of them.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`].
    pub(super) fn decode_with(&self, reduction: u32) -> Result<Option<RgbImage>, Refusal> {
        let picture = match self.kind {
            _ if reduction == 1 => None,
            FormatHeader::Jpeg(header) if self.decodes_fewer() => {
                header.decode(self.bytes, reduction)?
            }
            // Rotating all pixels would take several times as long as decoding them.
            _ => Some(shrunk(&self.decode_as_stored()?, reduction)),
        };
        Ok(picture.map(|picture| upright(picture, self.orientation)))
    }

    /// The upright picture with all pixels.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`].
    pub(super) fn decode_whole(&self) -> Result<RgbImage, Refusal> {
        Ok(upright(self.decode_as_stored()?, self.orientation))
    }

    fn decode_as_stored(&self) -> Result<RgbImage, Refusal> {
        match self.kind {
            FormatHeader::Jpeg(header) => header.decode_whole(self.bytes),
            FormatHeader::Png => Png::open(self.bytes)?.decode(),
            FormatHeader::Bmp => Ok(flatten(Bmp::open(self.bytes)?.decode()?)),
            FormatHeader::WebP => {
                let picture = DynamicImage::from_decoder(open_webp(self.bytes)?);
                let refused = |error| Refusal::from_image(&error, Format::WebP);
                Ok(flatten(picture.map_err(refused)?))
            }
        }
    }
}

/// Small buffers of decoders, bytes.
const OTHER_BYTES: u64 = 1 << 20;

fn open_webp(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, Refusal> {
    if !webp::is_whole(bytes) {
        return Err(Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::WebP) });
    }
    WebPDecoder::new(Cursor::new(bytes)).map_err(|error| Refusal::from_image(&error, Format::WebP))
}

fn check_size((width, height): (u32, u32), limits: &DecodeLimits) -> Result<(), Refusal> {
    if width.min(height) < limits.min_side
        || width.max(height) > limits.max_side
        || u64::from(width) * u64::from(height) > limits.max_pixels
    {
        return Err(Refusal::Dimensions { width, height });
    }
    Ok(())
}

/// Bytes of a picture in 8-bit RGB.
fn rgb_bytes((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height) * 3
}

fn upright(picture: RgbImage, orientation: Orientation) -> RgbImage {
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

fn lies_on_a_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
}

/// The largest reduction that leaves `wanted` pixels of `long`.
fn reduction(long: u32, wanted: u32) -> u32 {
    [8, 4, 2].into_iter().find(|reduction| long / reduction >= wanted).unwrap_or(1)
}

/// The means of blocks of `reduction` × `reduction` pixels; those at the right and at the lower
/// edge may be smaller.
fn shrunk(picture: &RgbImage, reduction: u32) -> RgbImage {
    let width = picture.width().div_ceil(reduction);
    let height = picture.height().div_ceil(reduction);
    let (line, side) = (picture.width() as usize * 3, reduction as usize);
    let mut means = Vec::with_capacity(width as usize * height as usize * 3);
    // Whole rows first, which the compiler adds up many values at a time.
    let mut sums = vec![0_u16; line];
    for rows in picture.chunks(line * side) {
        sums.fill(0);
        for row in rows.chunks_exact(line) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += u16::from(*value));
        }
        let height = rows.len() / line;
        for block in sums.chunks(3 * side) {
            let pixels = block.as_chunks::<3>().0;
            let count = u32::try_from(pixels.len() * height).unwrap_or(1);
            for channel in 0..3 {
                let sum: u32 = pixels.iter().map(|pixel| u32::from(pixel[channel])).sum();
                means.push(u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX));
            }
        }
    }
    RgbImage::from_raw(width, height, means).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use image::{ImageEncoder, Rgba, RgbaImage, codecs::png::PngEncoder};

    #[cfg(feature = "turbojpeg")]
    use image::ImageFormat;

    use super::*;
    use crate::flat;

    const DAMAGED_WEBP: Refusal = Refusal::Undecodable { flaw: Flaw::Damaged(Format::WebP) };

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

    /// A JPEG whose EXIF block says how it is to be turned; dark to the left and upwards as it is
    /// stored.
    fn turned_photo(width: u32, height: u32, orientation: u8) -> Vec<u8> {
        let shade = |at: u32, end: u32| u8::try_from(at * 255 / end).unwrap();
        let picture = RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([shade(x, width), shade(y, height), 90])
        });
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        picture.write_with_encoder(encoder).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn fewer_pixels_lie_where_all_of_them_do_however_the_photo_is_to_be_turned() {
        let limits = DecodeLimits::default();
        for orientation in 1..=8 {
            let jpeg = turned_photo(1_301, 998, orientation);
            let stored = RgbImage::from_fn(1_301, 998, |x, y| {
                image::Rgb([x, y, 300].map(|value| (value / 6).to_le_bytes()[0]))
            });
            let mut png = Cursor::new(Vec::new());
            stored.write_to(&mut png, image::ImageFormat::Png).unwrap();
            let png = png.into_inner();
            let chunk = png::tests::chunk("eXIf", &exif(orientation));
            let png = [&png[..33], &chunk, &png[33..]].concat();
            for (file, decodes_fewer) in [(jpeg, cfg!(feature = "turbojpeg")), (png, false)] {
                let all = decode(&file, &limits).unwrap();
                let few = decode_reduced(&file, &limits, 300).unwrap();
                let reduction = if decodes_fewer || orientation >= 5 { 4 } else { 1 };
                assert_eq!(
                    (few.reduction, few.size),
                    (reduction, all.dimensions()),
                    "{orientation}"
                );
                assert_eq!(all.width() < all.height(), orientation >= 5);
                let picture = PictureFile::read(&file, &limits, &PixelMemory::default()).unwrap();
                let taken = allocation_counter::measure(|| {
                    picture.decode_with(reduction).unwrap();
                });
                assert!(taken.bytes_max <= picture.decoding_bytes(reduction), "{orientation}");
                for (x, y) in [(20, 20), (200, 30), (100, 220), (230, 240)] {
                    let at = |at: u32| reduction * at + reduction / 2;
                    let (one, other) = (few.image.get_pixel(x, y), all.get_pixel(at(x), at(y)));
                    let apart = one.0.iter().zip(other.0).map(|(a, b)| a.abs_diff(b)).max();
                    assert!(apart < Some(6), "{orientation}: {one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_pixel_of_a_shrunk_picture_is_the_mean_of_its_block() {
        let picture = RgbImage::from_fn(5, 3, |x, y| {
            image::Rgb([x * 10, y * 10, 7].map(|value| value.to_le_bytes()[0]))
        });
        let small = shrunk(&picture, 2);
        assert_eq!(small.dimensions(), (3, 2));
        assert_eq!(small.into_raw(), [5, 5, 7, 25, 5, 7, 40, 5, 7, 5, 20, 7, 25, 20, 7, 40, 20, 7]);
    }

    #[test]
    fn the_first_bytes_decide_the_format() {
        assert_eq!(sniff(b"\xFF\xD8\xFF\xE0"), Some(Format::Jpeg));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some(Format::WebP));
        assert_eq!(sniff(b"GIF89a"), None);
        assert_eq!(decode(b"", &DecodeLimits::default()), Err(Refusal::Empty));
        assert_eq!(
            decode(b"hello", &DecodeLimits::default()),
            Err(Refusal::UnknownFormat { found: None })
        );
        assert_eq!(
            decode(b"\xFF\xD8\xFF\xE0", &DecodeLimits::default()),
            Err(Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::Jpeg) })
        );
    }

    /// What decoding is said to take and what it took of this process' own allocator, bytes.
    fn said_and_taken(file: &[u8]) -> (u64, u64) {
        let picture =
            PictureFile::read(file, &DecodeLimits::default(), &PixelMemory::default()).unwrap();
        let size = picture.upright_size();
        let mut decoded = None;
        let taken = allocation_counter::measure(|| decoded = Some(picture.decode_whole()));
        assert_eq!(decoded.unwrap().map(|image| image.dimensions()), Ok(size));
        (picture.decoding_bytes(1), taken.bytes_max)
    }

    #[test]
    fn decoding_takes_no_more_memory_than_is_said_and_not_much_less() {
        use ::png::{
            BitDepth::{Eight, Sixteen},
            ColorType::{Grayscale, Rgb, Rgba},
        };
        const W: u32 = 3_001;
        const H: u32 = 2_003;
        let turned =
            |orientation| flat::oriented(&flat::jpeg(W, H, flat::HALVED, false), orientation);
        let files = [
            ("png rgb", flat::png(W, H, Rgb, Eight)),
            ("png rgba", flat::png(W, H, Rgba, Eight)),
            ("png rgba 16", flat::png(W, H, Rgba, Sixteen)),
            ("png grey 16", flat::png(W, H, Grayscale, Sixteen)),
            ("jpeg", flat::jpeg(W, H, flat::HALVED, false)),
            ("jpeg full", flat::jpeg(W, H, flat::FULL, false)),
            ("jpeg grey", flat::jpeg(W, H, flat::GREY, false)),
            ("jpeg progressive", flat::jpeg(W, H, flat::HALVED, true)),
            ("jpeg progressive full", flat::jpeg(W, H, flat::FULL, true)),
            ("jpeg progressive grey", flat::jpeg(W, H, flat::GREY, true)),
            ("jpeg progressive cmyk", flat::jpeg(W, H, &[(1, 1); 4], true)),
            ("jpeg on its head", turned(3)),
            ("jpeg on its side", turned(6)),
            ("jpeg on its side, mirrored", turned(5)),
            ("bmp", flat::bmp(W, H)),
            ("webp lossy", flat::webp_lossy(W, H)),
            ("webp lossy with alpha", flat::webp_lossy_with_alpha(W, H)),
            ("webp lossless", flat::webp_lossless(W, H, false)),
            ("webp lossless with alpha", flat::webp_lossless(W, H, true)),
            ("webp with many codes", flat::webp_groups((128, 128), 1_023, 0, SHALLOW)),
            ("webp with many codes and a cache", flat::webp_groups((128, 128), 1_023, 11, SHALLOW)),
            (
                "webp with many codes of its alpha",
                flat::webp_alpha_groups((128, 128), 1_023, SHALLOW),
            ),
            (
                "webp with many codes of a frame",
                flat::webp_lossless_animation((128, 128), 1_023, SHALLOW),
            ),
        ];
        let mut wrong = Vec::new();
        for (name, file) in files {
            let (said, taken) = said_and_taken(&file);
            // What a library in C takes is not counted.
            let is_counted = !cfg!(feature = "turbojpeg") || !name.contains("progressive");
            if said < taken || is_counted && said > taken * 3 / 2 {
                wrong.push(format!("{name}: {taken} bytes, and said were {said}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_webp_that_claims_to_have_much_exif_takes_no_memory_for_it() {
        let lossy = flat::webp_lossy(64, 48);
        let header = b"VP8X\x0A\0\0\0\x08\0\0\0\x3F\0\0\x2F\0\0";
        let claim = b"EXIF\xF0\xFF\xFF\xFFII*\0";
        let still = [&lossy[..12], header, &lossy[12..], claim].concat();
        let mut animation = [&flat::webp_lossy_animation((64, 48), (64, 48))[..], claim].concat();
        // The frame, behind the headers of file and animation, ends with the file.
        let frame = u32::try_from(animation.len() - 52).unwrap();
        animation[48..52].copy_from_slice(&frame.to_le_bytes());
        for mut file in [still, animation] {
            let length = u32::try_from(file.len() - 8).unwrap();
            file[4..8].copy_from_slice(&length.to_le_bytes());
            let mut decoded = None;
            let taken = allocation_counter::measure(|| {
                decoded = Some(decode(&file, &DecodeLimits::default()));
            });
            assert_eq!(decoded.unwrap().map(|picture| picture.dimensions()), Ok((64, 48)));
            assert!(taken.bytes_max < 10 << 20, "{}", taken.bytes_max);
        }
    }

    /// The lengths of codes with the largest table for the fewest bits.
    const SHALLOW: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10];

    #[test]
    fn a_webp_with_more_codes_than_it_can_use_is_refused_before_they_are_built() {
        for file in [
            flat::webp_groups((16, 16), u16::MAX, 0, SHALLOW),
            flat::webp_alpha_groups((16, 16), u16::MAX, SHALLOW),
            flat::webp_lossless_animation((16, 16), u16::MAX, SHALLOW),
        ] {
            let mut decoded = None;
            let taken = allocation_counter::measure(|| {
                decoded = Some(decode(&file, &DecodeLimits::default()));
            });
            assert_eq!(decoded, Some(Err(DAMAGED_WEBP)));
            assert!(taken.bytes_max < 2 << 20, "{}", taken.bytes_max);
        }
    }

    #[test]
    fn reading_the_codes_of_a_webp_takes_memory_too() {
        let (limits, file) =
            (DecodeLimits::default(), flat::webp_groups((2_000, 1_000), 99, 0, SHALLOW));
        let read =
            |mib: u64| PictureFile::read(&file, &limits, &PixelMemory::new(mib << 20)).map(|_| ());
        assert_eq!(read(2), Ok(()));
        assert_eq!(
            read(1),
            Err(Refusal::PixelMemory { bytes: 500_000 + (1 << 20), limit: 1 << 20 })
        );
    }

    #[test]
    fn a_webp_takes_no_more_memory_than_is_said_whatever_byte_of_it_is_changed() {
        let groups = include_bytes!("../../../fuzz/seeds/picture/groups.webp");
        let alpha = include_bytes!("../../../fuzz/seeds/picture/alpha.webp");
        let (limits, memory) = (DecodeLimits::default(), PixelMemory::default());
        // The alpha channel ends where the lossy frame begins.
        for (file, end) in [(&groups[..], groups.len()), (&alpha[..], 304)] {
            let mut decoded = 0;
            for (at, bit) in (0..end).flat_map(|at| [(at, 1), (at, 16), (at, 128)]) {
                let mut file = file.to_vec();
                file[at] ^= bit;
                let Ok(picture) = PictureFile::read(&file, &limits, &memory) else { continue };
                let taken = allocation_counter::measure(|| {
                    decoded += u32::from(picture.decode_whole().is_ok());
                });
                assert!(taken.bytes_max <= picture.decoding_bytes(1), "{at} {bit}");
            }
            assert!(decoded > 100, "{decoded}");
            for end in 0..file.len() {
                assert!(decode(&file[..end], &limits).is_err(), "{end}");
            }
        }
    }

    /// A BMP of any bits a pixel, with masks for red, green, blue and alpha if it has them; each
    /// row is as `row` says.
    fn bmp(header: u32, bits: u16, masks: Option<[u32; 4]>, row: &[u8], rows: u32) -> Vec<u8> {
        let width = u32::try_from(row.len() * 8).unwrap() / u32::from(bits);
        let (compression, masks) = (u32::from(masks.is_some()) * 3, masks.unwrap_or_default());
        let mut file = b"BM".to_vec();
        let long = u32::try_from(row.len()).unwrap() * rows;
        let start = 14 + header.max(52);
        for number in [start + long, 0, start, header, width, rows] {
            file.extend(number.to_le_bytes());
        }
        file.extend([1, 0]);
        file.extend(bits.to_le_bytes());
        for number in [compression, long, 0, 0, 0, 0].into_iter().chain(masks) {
            file.extend(number.to_le_bytes());
        }
        file.resize(start as usize, 0);
        file.extend(row.repeat(rows as usize));
        file
    }

    #[test]
    fn a_picture_that_was_cut_short_is_incomplete_wherever_it_ends() {
        let (size, limits) = ((40, 33), DecodeLimits::default());
        let rgb = RgbImage::from_fn(40, 33, |x, y| {
            image::Rgb([x, y, x * y].map(|value| value.to_le_bytes()[0]))
        });
        let lossless = {
            let mut bytes = Cursor::new(Vec::new());
            rgb.write_to(&mut bytes, image::ImageFormat::WebP).unwrap();
            bytes.into_inner()
        };
        for (name, format, file) in [
            ("24 bits", Format::Bmp, bmp(40, 24, None, &[7; 120], 33)),
            ("32 bits", Format::Bmp, bmp(40, 32, None, &[7; 160], 33)),
            ("16 bits", Format::Bmp, bmp(40, 16, None, &[7; 80], 33)),
            ("runs", Format::Bmp, flat::bmp(40, 33)),
            ("lossless", Format::WebP, lossless),
            ("one colour", Format::WebP, flat::webp_lossless(40, 33, true)),
            ("lossy", Format::WebP, flat::webp_lossy(40, 33)),
            ("lossy with alpha", Format::WebP, flat::webp_lossy_with_alpha(40, 33)),
            ("extended", Format::WebP, flat::webp_of_another_size(size, size)),
            ("animation", Format::WebP, flat::webp_lossy_animation(size, size)),
        ] {
            assert!(decode(&file, &limits).is_ok_and(|whole| whole.dimensions() == size), "{name}");
            let incomplete = Refusal::Undecodable { flaw: Flaw::EndsEarly(format) };
            // Without the code for the end of the runs all pixels are there.
            let end_code = if name == "runs" { 2 } else { 0 };
            for end in 16..file.len() - end_code {
                let cut = decode(&file[..end], &limits).map(|_| "an image");
                assert_eq!(cut, Err(incomplete.clone()), "{name} {end} of {}", file.len());
            }
        }
    }

    #[test]
    fn a_bmp_whose_alpha_is_zero_everywhere_is_opaque() {
        const MASKS: [u32; 4] = [0xFF_0000, 0xFF00, 0xFF, 0xFF00_0000];
        const MASKS_16: [u32; 4] = [0x7C00, 0x3E0, 0x1F, 0x8000];
        let limits = DecodeLimits::default();
        // Blue first.
        let opaque = [[10, 60, 200, 0]; 16].concat();
        let one = [&[[10, 60, 200, 0]; 15].concat()[..], &[10, 60, 200, 255]].concat();
        let red = [[0x00, 0x7C]; 16].concat();
        for (name, file, last, others) in [
            ("V5", bmp(124, 32, Some(MASKS), &opaque, 16), [200, 60, 10], [200, 60, 10]),
            ("V4", bmp(108, 32, Some(MASKS), &opaque, 16), [200, 60, 10], [200, 60, 10]),
            ("V3", bmp(56, 32, Some(MASKS), &opaque, 16), [200, 60, 10], [200, 60, 10]),
            ("no masks", bmp(40, 32, None, &opaque, 16), [200, 60, 10], [200, 60, 10]),
            ("16 bits", bmp(124, 16, Some(MASKS_16), &red, 16), [255, 0, 0], [255, 0, 0]),
            ("some alpha", bmp(124, 32, Some(MASKS), &one, 16), [200, 60, 10], [255; 3]),
            ("no masks, some alpha", bmp(40, 32, None, &one, 16), [200, 60, 10], [200, 60, 10]),
        ] {
            let picture = decode(&file, &limits).unwrap();
            assert_eq!(picture.get_pixel(15, 9).0, last, "{name}");
            assert_eq!(picture.get_pixel(3, 9).0, others, "{name}");
        }
    }

    /// An EXIF block that says how its picture is to be turned, 1 to 8.
    fn exif(orientation: u8) -> Vec<u8> {
        [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]]
            .concat()
    }

    #[test]
    fn exif_turns_a_picture_whether_or_not_its_name_stands_before_it_and_the_first_of_two_counts() {
        let rgb = RgbImage::new(40, 32);
        let encoded = |format| {
            let mut bytes = Cursor::new(Vec::new());
            rgb.write_to(&mut bytes, format).unwrap();
            bytes.into_inner()
        };
        let jpeg = |blocks: &[Vec<u8>]| {
            let file = flat::jpeg(40, 32, flat::FULL, false);
            let segments = blocks.iter().flat_map(|data| {
                let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
                [&[0xFF, 0xE1][..], &length, data].concat()
            });
            [&file[..2], &segments.collect::<Vec<_>>(), &file[2..]].concat()
        };
        let png = |data: &[u8]| {
            let file = encoded(image::ImageFormat::Png);
            // Behind the signature and the header.
            [&file[..33], &png::tests::chunk("eXIf", data), &file[33..]].concat()
        };
        let webp = |blocks: &[&[u8]]| {
            let picture = encoded(image::ImageFormat::WebP);
            let mut body = b"WEBPVP8X\x0A\0\0\0\x08\0\0\0\x27\0\0\x1F\0\0".to_vec();
            body.extend(&picture[12..]);
            for data in blocks {
                body.extend(b"EXIF");
                body.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
                body.extend(*data);
                body.resize(body.len().next_multiple_of(2), 0);
            }
            [&b"RIFF"[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), &body].concat()
        };
        let named = |block: Vec<u8>| [&b"Exif\0\0"[..], &block].concat();
        let filled = |block: Vec<u8>| [&b"Exif\0\xFF"[..], &block].concat();
        for (name, file, is_turned) in [
            ("jpeg", jpeg(&[named(exif(6))]), true),
            ("jpeg, filled", jpeg(&[filled(exif(8))]), true),
            ("jpeg, 6 then 1", jpeg(&[named(exif(6)), named(exif(1))]), true),
            ("jpeg, 1 then 6", jpeg(&[named(exif(1)), named(exif(6))]), false),
            ("jpeg, damaged then 6", jpeg(&[named(vec![0; 9]), named(exif(6))]), false),
            (
                "jpeg, XMP then 6",
                jpeg(&[b"http://ns.adobe.com/xap/1.0/\0".to_vec(), named(exif(6))]),
                true,
            ),
            ("png", png(&exif(5)), true),
            ("png, named", png(&named(exif(7))), true),
            ("png, 3", png(&named(exif(3))), false),
            ("webp", webp(&[&exif(6)]), true),
            ("webp, named", webp(&[&named(exif(6))]), true),
            ("webp, 6 then 1", webp(&[&named(exif(6)), &exif(1)]), true),
            ("webp, 1 then 6", webp(&[&exif(1), &exif(6)]), false),
        ] {
            let size = decode(&file, &DecodeLimits::default()).unwrap().dimensions();
            assert_eq!(size, if is_turned { (32, 40) } else { (40, 32) }, "{name}");
        }
    }

    #[test]
    fn a_lossy_webp_with_a_frame_of_another_size_is_refused_before_it_is_decoded() {
        let (said, large) = ((64, 48), (4_000, 3_000));
        for (file, is_whole) in [
            (flat::webp_of_another_size(said, said), true),
            (flat::webp_of_another_size(said, large), false),
            (flat::webp_lossy_animation(said, said), true),
            (flat::webp_lossy_animation(said, large), false),
        ] {
            let mut decoded = None;
            let taken = allocation_counter::measure(|| {
                decoded = Some(decode(&file, &DecodeLimits::default()));
            });
            let expected = if is_whole { Ok(said) } else { Err(DAMAGED_WEBP) };
            assert_eq!(decoded.unwrap().map(|picture| picture.dimensions()), expected);
            assert!(taken.bytes_max < 2 << 20, "{}", taken.bytes_max);
        }
    }
}

//! PNG row by row into 8-bit RGB, so that no copy of the picture with 16 bits or with transparency
//! is ever in memory.

use std::io::{Cursor, ErrorKind};

use image::RgbImage;
use png::{
    BitDepth, ColorType, Decoder, DecodingError, InterlaceInfo, Limits, Reader, Transformations,
    expand_interlaced_row,
};

use super::{
    alpha::over_white,
    refusal::{Flaw, Format, Refusal},
};

/// What the decoder may hold beside twice the file: some rows, each of 8 bytes a pixel at most.
const ROWS_BYTES: usize = 16 << 20;

/// What decoding takes at most beside the picture itself, bytes: rows, and chunks of the file.
pub(super) fn working_bytes((width, _): (u32, u32), file: &[u8]) -> u64 {
    // Some rows of 8 bytes a pixel that wait for their filter, and one that is converted.
    u64::from(width) * 8 * 8 + 2 * file.len() as u64 + (1 << 20)
}

/// A PNG file whose header was read.
pub(super) struct Png<'a>(Reader<Cursor<&'a [u8]>>);

impl<'a> Png<'a> {
    /// Reads all that comes before the pixels. Texts and colour profiles are left alone: a profile
    /// of some kilobytes can be inflated to a gigabyte.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let limits = Limits { bytes: bytes.len() * 2 + ROWS_BYTES };
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        decoder.set_transformations(Transformations::EXPAND);
        decoder.read_info().map(Self).map_err(|error| refused(&error))
    }

    /// Width and height, pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        self.0.info().size()
    }

    /// Its EXIF block.
    pub(super) fn exif(&self) -> Option<&[u8]> {
        self.0.info().exif_metadata.as_deref()
    }

    /// Its pixels, transparent ones over white.
    pub(super) fn decode(mut self) -> Result<RgbImage, Refusal> {
        let (width, height) = self.size();
        let mut image = RgbImage::new(width, height);
        self.read_rows(&mut image, width as usize * 3).map_err(|error| refused(&error))?;
        Ok(image)
    }

    fn read_rows(&mut self, pixels: &mut [u8], stride: usize) -> Result<(), DecodingError> {
        let reader = &mut self.0;
        let (color, depth) = reader.output_color_type();
        if (color, depth) == (ColorType::Rgb, BitDepth::Eight) && !reader.info().interlaced {
            for row in pixels.chunks_exact_mut(stride) {
                reader.read_row(row)?;
            }
            // Reads and checks what is left of the pixel data, and the file to its end.
            reader.read_row(&mut [])?;
            return reader.finish();
        }
        let (mut line, mut start) = (vec![0; stride], 0);
        while let Some(row) = reader.next_interlaced_row()? {
            match row.interlace() {
                InterlaceInfo::Null(_) => {
                    to_rgb(row.data(), color, depth, &mut pixels[start..start + stride]);
                    start += stride;
                }
                InterlaceInfo::Adam7(pass) => {
                    let samples = row.data().len() * 8 / (color.samples() * depth as usize);
                    let line = &mut line[..samples * 3];
                    to_rgb(row.data(), color, depth, line);
                    expand_interlaced_row(pixels, stride, line, pass, 24);
                }
            }
        }
        reader.finish()
    }
}

fn refused(error: &DecodingError) -> Refusal {
    let flaw = match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Flaw::EndsEarly(Format::Png)
        }
        _ => Flaw::Damaged(Format::Png),
    };
    Refusal::Undecodable { flaw }
}

/// One row of whole samples into 8-bit RGB over white.
fn to_rgb(row: &[u8], color: ColorType, depth: BitDepth, line: &mut [u8]) {
    if depth == BitDepth::Sixteen {
        each(row, color, line, |sample: [u8; 2]| {
            let value = (u32::from(u16::from_be_bytes(sample)) + 128) / 257;
            u8::try_from(value).unwrap_or(u8::MAX)
        });
    } else {
        each(row, color, line, |[sample]: [u8; 1]| sample);
    }
}

/// `N` bytes a sample, `to_byte` to 8 bits.
fn each<const N: usize>(
    row: &[u8],
    color: ColorType,
    line: &mut [u8],
    to_byte: impl Fn([u8; N]) -> u8,
) {
    let (samples, _) = row.as_chunks::<N>();
    let (pixels, _) = line.as_chunks_mut::<3>();
    match color {
        ColorType::Rgba => {
            for (to, from) in pixels.iter_mut().zip(samples.as_chunks::<4>().0) {
                *to = over_white(from.map(&to_byte));
            }
        }
        ColorType::GrayscaleAlpha => {
            for (to, [grey, alpha]) in pixels.iter_mut().zip(samples.as_chunks::<2>().0) {
                let (grey, alpha) = (to_byte(*grey), to_byte(*alpha));
                *to = over_white([grey, grey, grey, alpha]);
            }
        }
        ColorType::Grayscale => {
            for (to, grey) in pixels.iter_mut().zip(samples) {
                *to = [to_byte(*grey); 3];
            }
        }
        // A palette was expanded.
        ColorType::Rgb | ColorType::Indexed => {
            for (to, from) in pixels.iter_mut().zip(samples.as_chunks::<3>().0) {
                *to = from.map(&to_byte);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 }
            })
        })
    }

    pub(crate) fn chunk(name: &str, data: &[u8]) -> Vec<u8> {
        let named = [name.as_bytes(), data].concat();
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&length[..], &named, &crc(&named).to_be_bytes()].concat()
    }

    /// In blocks that are not compressed.
    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (a + b) % 65_521)
        });
        let mut stream = vec![0x78, 0x01];
        let blocks = bytes.chunks(60_000);
        let last = blocks.len() - 1;
        for (number, block) in blocks.enumerate() {
            let length = u16::try_from(block.len()).unwrap();
            stream.push(u8::from(number == last));
            stream.extend(length.to_le_bytes());
            stream.extend((!length).to_le_bytes());
            stream.extend(block);
        }
        stream.extend((b << 16 | a).to_be_bytes());
        stream
    }

    fn mixed(at: usize) -> u8 {
        (at * 37 + at * at).to_le_bytes()[0]
    }

    /// Any bytes as the pixels of a picture, with a palette or one transparent colour where `color`
    /// can have them.
    fn file(
        (width, height): (u32, u32),
        color: ColorType,
        depth: u8,
        transparent: bool,
        interlaced: bool,
    ) -> Vec<u8> {
        let passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ];
        let passes = if interlaced { &passes[..] } else { &[(0, 0, 1, 1)] };
        let mut rows = Vec::new();
        for (x, y, dx, dy) in passes {
            let columns = width.saturating_sub(*x).div_ceil(*dx) as usize;
            let lines = height.saturating_sub(*y).div_ceil(*dy);
            let bytes = (columns * color.samples() * usize::from(depth)).div_ceil(8);
            for line in 0..lines {
                if bytes > 0 {
                    // No filter.
                    rows.push(0);
                    let line = u8::try_from(line).unwrap();
                    rows.extend((0..bytes).map(|at| mixed(at).wrapping_add(line)));
                }
            }
        }
        let header = [
            &width.to_be_bytes()[..],
            &height.to_be_bytes(),
            &[depth, color as u8, 0, 0, u8::from(interlaced)],
        ];
        let mut bytes = b"\x89PNG\r\n\x1A\n".to_vec();
        bytes.extend(chunk("IHDR", &header.concat()));
        if color == ColorType::Indexed {
            let palette: Vec<u8> = (0..256 * 3).map(mixed).collect();
            bytes.extend(chunk("PLTE", &palette[..3 << depth]));
        }
        if transparent {
            let colors: &[u8] = match color {
                ColorType::Grayscale => &[0, 1],
                ColorType::Rgb => &[0, 0, 0, 38, 0, 78],
                _ => &[0, 100],
            };
            bytes.extend(chunk("tRNS", colors));
        }
        bytes.extend(chunk("IDAT", &zlib(&rows)));
        bytes.extend(chunk("IEND", &[]));
        bytes
    }

    /// The whole picture at its own depth first, then in 8 bits, then over white.
    fn by_whole_copies(file: &[u8]) -> RgbImage {
        let picture = image::load_from_memory_with_format(file, ImageFormat::Png).unwrap();
        if !picture.color().has_alpha() {
            return picture.into_rgb8();
        }
        let picture = picture.into_rgba8();
        RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
            image::Rgb(over_white(picture.get_pixel(x, y).0))
        })
    }

    fn decoded(file: &[u8]) -> Result<RgbImage, Refusal> {
        Png::open(file)?.decode()
    }

    #[test]
    fn every_kind_of_png_has_the_pixels_that_whole_copies_of_it_would_have() {
        use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let kinds: [(ColorType, &[u8]); 5] = [
            (Grayscale, &[1, 2, 4, 8, 16]),
            (GrayscaleAlpha, &[8, 16]),
            (Indexed, &[1, 2, 4, 8]),
            (Rgb, &[8, 16]),
            (Rgba, &[8, 16]),
        ];
        let mut tried = 0;
        for (color, depths) in kinds {
            for depth in depths {
                for (transparent, interlaced) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    if transparent && matches!(color, GrayscaleAlpha | Rgba) {
                        continue;
                    }
                    for size in [(1, 1), (17, 9), (33, 40)] {
                        let file = file(size, color, *depth, transparent, interlaced);
                        assert_eq!(
                            decoded(&file).unwrap(),
                            by_whole_copies(&file),
                            "{color:?} {depth} {transparent} {interlaced} {size:?}"
                        );
                        tried += 1;
                    }
                }
            }
        }
        assert_eq!(tried, 3 * (11 * 4 + 4 * 2));
    }

    #[test]
    fn every_sixteen_bit_value_is_rounded_as_before() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 256, 256);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::Sixteen);
        let samples: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_be_bytes).collect();
        encoder.write_header().unwrap().write_image_data(&samples).unwrap();
        assert_eq!(decoded(&bytes).unwrap(), by_whole_copies(&bytes));
        let sixteen = DynamicImage::ImageRgba16(image::ImageBuffer::from_fn(256, 256, |x, y| {
            let value = u16::try_from(x * 256 + y).unwrap();
            image::Rgba([value, !value, value.rotate_left(5), value.rotate_left(9)])
        }));
        let mut bytes = Cursor::new(Vec::new());
        sixteen.write_to(&mut bytes, ImageFormat::Png).unwrap();
        let bytes = bytes.into_inner();
        assert_eq!(decoded(&bytes).unwrap(), by_whole_copies(&bytes));
    }

    #[test]
    fn a_png_that_was_cut_short_is_incomplete_wherever_it_ends() {
        let incomplete = Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::Png) };
        for (color, interlaced) in [
            (ColorType::Rgb, false),
            (ColorType::Rgb, true),
            (ColorType::Rgba, false),
            (ColorType::Indexed, false),
        ] {
            let file = file((33, 40), color, 8, false, interlaced);
            for end in 8..file.len() {
                let cut = decoded(&file[..end]).map(|_| "an image");
                assert_eq!(cut, Err(incomplete.clone()), "{color:?} {interlaced} {end}");
            }
        }
    }
}

//! Images of one colour for tests: small files that need as much memory as any image of their kind
//! and size.

use std::io::Write as _;

/// The sampling factors of the three components of a JPEG, to the right and downwards: full colour.
pub(crate) const FULL: &[(u8, u8)] = &[(1, 1); 3];
/// Colour with half of the columns and rows, as cameras write it.
pub(crate) const HALVED: &[(u8, u8)] = &[(2, 2), (1, 1), (1, 1)];
/// One component.
pub(crate) const GREY: &[(u8, u8)] = &[(1, 1)];

fn high_first(value: u32) -> [u8; 2] {
    u16::try_from(value).unwrap().to_be_bytes()
}

/// A JPEG with one scan if it is baseline; if it is progressive, one for the means of blocks and
/// one for each component.
pub(crate) fn jpeg(width: u32, height: u32, factors: &[(u8, u8)], progressive: bool) -> Vec<u8> {
    let count = u8::try_from(factors.len()).unwrap();
    let mut file = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, parts: &[&[u8]]| {
        let data = parts.concat();
        file.extend([0xFF, marker]);
        file.extend(high_first(u32::try_from(data.len()).unwrap() + 2));
        file.extend(data);
    };
    segment(0xDB, &[&[0], &[1; 64]]);
    let components: Vec<u8> =
        (1..).zip(factors).flat_map(|(id, (h, v))| [id, h << 4 | v, 0]).collect();
    let size = [high_first(height), high_first(width)].concat();
    segment(if progressive { 0xC2 } else { 0xC0 }, &[&[8], &size, &[count], &components]);
    // One code of one bit: no difference, or the end of the block.
    let one_code = [&[1_u8][..], &[0; 16]].concat();
    segment(0xC4, &[&[0x00], &one_code]);
    segment(0xC4, &[&[0x10], &one_code]);
    let scanned: Vec<u8> = (1..=count).flat_map(|id| [id, 0]).collect();
    segment(0xDA, &[&[count], &scanned, &[0, if progressive { 0 } else { 63 }, 0]]);
    let most = |of: fn(&(u8, u8)) -> u8| u32::from(factors.iter().map(of).max().unwrap());
    let (across, down) = (most(|(h, _)| *h), most(|(_, v)| *v));
    let in_unit: u32 = factors.iter().map(|(h, v)| u32::from(h * v)).sum();
    let blocks = width.div_ceil(8 * across) * height.div_ceil(8 * down) * in_unit;
    let bits = if progressive { blocks } else { 2 * blocks };
    file.resize(file.len() + bits.div_ceil(8) as usize, 0);
    if progressive {
        for (id, (h, v)) in (1..).zip(factors) {
            file.extend([0xFF, 0xDA, 0, 8, 1, id, 0, 1, 63, 0]);
            let blocks = (width * u32::from(*h)).div_ceil(8 * across)
                * (height * u32::from(*v)).div_ceil(8 * down);
            file.resize(file.len() + blocks.div_ceil(8) as usize, 0);
        }
    }
    file.extend([0xFF, 0xD9]);
    file
}

/// A JPEG with an EXIF block of this orientation, 1 to 8.
pub(crate) fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
    let data = [&exif[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
    let length = high_first(u32::try_from(data.len()).unwrap() + 2);
    [&jpeg[..2], &[0xFF, 0xE1], &length, &data, &jpeg[2..]].concat()
}

/// A PNG, written row by row.
pub(crate) fn png(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Sub);
    let mut writer = encoder.write_header().unwrap();
    let mut rows = writer.stream_writer().unwrap();
    let row = vec![0x80; width as usize * color.samples() * depth as usize / 8];
    for _ in 0..height {
        rows.write_all(&row).unwrap();
    }
    rows.finish().unwrap();
    writer.finish().unwrap();
    file
}

/// A BMP with a palette and runs of pixels.
pub(crate) fn bmp(width: u32, height: u32) -> Vec<u8> {
    let mut row: Vec<u8> = (0..width / 255).flat_map(|_| [255, 7]).collect();
    row.extend([u8::try_from(width % 255).unwrap().max(1), 7, 0, 0]);
    let pixels = [row.repeat(height as usize), vec![0, 1]].concat();
    let start = 14 + 40 + 256 * 4;
    let length = u32::try_from(pixels.len()).unwrap();
    let mut file = b"BM".to_vec();
    for number in [start + length, 0, start, 40, width, height] {
        file.extend(number.to_le_bytes());
    }
    // One plane of eight bits a pixel, in runs.
    file.extend([1, 0, 8, 0]);
    for number in [1, length, 0, 0, 256, 256] {
        file.extend(u32::to_le_bytes(number));
    }
    file.extend([0x80, 0x80, 0x80, 0].repeat(256));
    file.extend(pixels);
    file
}

fn chunks(chunks: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in chunks {
        bytes.extend(name.as_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        bytes.extend(vec![0; data.len() % 2]);
    }
    bytes
}

fn riff(all: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let body = [&b"WEBP"[..], &chunks(all)].concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&b"RIFF"[..], &length, &body].concat()
}

/// A lossless picture behind its header, lowest bits first: no transform, no cache, one group of
/// five codes with one symbol each.
const ONE_COLOUR: u64 = 0b000_1000_1000_1000_1000_1000;

/// A lossless WebP.
pub(crate) fn webp_lossless(width: u32, height: u32, alpha: bool) -> Vec<u8> {
    let header = u64::from(width - 1) | u64::from(height - 1) << 14 | u64::from(alpha) << 28;
    let bits = (header | ONE_COLOUR << 32).to_le_bytes();
    riff(&[("VP8L", [&[0x2F][..], &bits, &[0; 16]].concat())])
}

/// A lossy frame of zeros, which its arithmetic decoder reads as the likelier value everywhere.
fn lossy_frame(width: u32, height: u32) -> Vec<u8> {
    let blocks = width.div_ceil(16) * height.div_ceil(16);
    let first = 1_000 + blocks;
    // A key frame that is shown, with so many bytes of headers.
    let tag = (0x10 | first << 5).to_le_bytes();
    let low_first = |value: u32| u16::try_from(value).unwrap().to_le_bytes();
    let head = [&tag[..3], &[0x9D, 0x01, 0x2A], &low_first(width), &low_first(height)].concat();
    [head, vec![0; (first + blocks * 4) as usize]].concat()
}

/// A lossy WebP.
pub(crate) fn webp_lossy(width: u32, height: u32) -> Vec<u8> {
    riff(&[("VP8 ", lossy_frame(width, height))])
}

/// The header of an extended WebP.
fn extended(flags: u8, (width, height): (u32, u32)) -> (&'static str, Vec<u8>) {
    let three = |value: u32| (value - 1).to_le_bytes()[..3].to_vec();
    ("VP8X", [vec![flags, 0, 0, 0], three(width), three(height)].concat())
}

fn lossy_with_alpha(size: (u32, u32), alpha: &[u8]) -> Vec<u8> {
    let alpha = ("ALPH", [&[1], alpha].concat());
    riff(&[extended(0x10, size), alpha, ("VP8 ", lossy_frame(size.0, size.1))])
}

/// A lossy WebP with a frame of another size than its header says.
pub(crate) fn webp_of_another_size(said: (u32, u32), (width, height): (u32, u32)) -> Vec<u8> {
    riff(&[extended(0, said), ("VP8 ", lossy_frame(width, height))])
}

/// An animation of one frame: chunks of a picture.
fn animation((width, height): (u32, u32), frame: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let three = |value: u32| (value - 1).to_le_bytes()[..3].to_vec();
    let at_start = [vec![0; 6], three(width), three(height), vec![0; 4]].concat();
    let frame = [at_start, chunks(frame)].concat();
    riff(&[extended(0x12, (width, height)), ("ANIM", vec![0; 6]), ("ANMF", frame)])
}

/// An animation with a lossy frame of a size.
pub(crate) fn webp_lossy_animation(said: (u32, u32), (width, height): (u32, u32)) -> Vec<u8> {
    animation(said, &[("VP8 ", lossy_frame(width, height))])
}

/// An animation with a lossless frame that has so many groups of codes and one more.
pub(crate) fn webp_lossless_animation(size: (u32, u32), largest: u16, lengths: &[u32]) -> Vec<u8> {
    animation(size, &[("VP8L", grouped(size, largest, 0, lengths))])
}

/// A lossy WebP with an alpha channel.
pub(crate) fn webp_lossy_with_alpha(width: u32, height: u32) -> Vec<u8> {
    lossy_with_alpha((width, height), &[&ONE_COLOUR.to_le_bytes()[..], &[0; 16]].concat())
}

/// Bits, the lowest of each byte first.
#[derive(Default)]
struct BitSink {
    bytes: Vec<u8>,
    buffer: u64,
    count: u32,
}

impl BitSink {
    fn add(&mut self, value: u32, count: u32) {
        self.buffer |= u64::from(value) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.buffer.to_le_bytes()[0]);
            self.buffer >>= 8;
            self.count -= 8;
        }
    }

    /// A code with one symbol.
    fn add_symbol(&mut self, symbol: u32) {
        self.add(0b101, 3);
        self.add(symbol, 8);
    }

    /// A code whose first symbols have codes of these lengths, and the others none.
    fn add_code(&mut self, lengths: &[u32]) {
        // A length is a code of four bits, which come highest first; 16, 17 and 18 are none.
        self.add(15 << 1, 5);
        for length in [&[0, 0, 4, 4, 4, 4, 4, 4, 0][..], &[4; 10]].concat() {
            self.add(length, 3);
        }
        // The number of lengths, in 12 bits.
        self.add(1 | 5 << 1, 4);
        self.add(u32::try_from(lengths.len()).unwrap() - 2, 12);
        for length in lengths {
            self.add(length.reverse_bits() >> 28, 4);
        }
    }

    /// A lossless picture behind its header: all blocks of 4 x 4 pixels are of the group with the
    /// largest number. A cache of colours has so many bits, and every code these lengths.
    fn add_groups(&mut self, largest: u16, cache: u32, lengths: &[u32]) {
        self.add(0, 1);
        self.add(u32::from(cache > 0) | cache << 1, if cache > 0 { 5 } else { 1 });
        self.add(1, 4);
        self.add(0, 1);
        let largest = u32::from(largest);
        for symbol in [largest & 0xFF, largest >> 8, 0, 0, 0] {
            self.add_symbol(symbol);
        }
        (0..5 * (largest + 1)).for_each(|_| self.add_code(lengths));
    }

    /// The bytes, and zeros for some pixels.
    fn end(mut self, pixels: u32) -> Vec<u8> {
        self.add(0, 8);
        self.bytes.resize(self.bytes.len() + pixels as usize, 0);
        self.bytes
    }
}

fn grouped((width, height): (u32, u32), largest: u16, cache: u32, lengths: &[u32]) -> Vec<u8> {
    let mut bits = BitSink::default();
    bits.add(0x2F, 8);
    bits.add((width - 1) | ((height - 1) << 14), 32);
    bits.add_groups(largest, cache, lengths);
    bits.end(width * height)
}

/// A lossless WebP with so many groups of codes and one more.
pub(crate) fn webp_groups(size: (u32, u32), largest: u16, cache: u32, lengths: &[u32]) -> Vec<u8> {
    riff(&[("VP8L", grouped(size, largest, cache, lengths))])
}

/// A lossy WebP with such an alpha channel.
pub(crate) fn webp_alpha_groups(size: (u32, u32), largest: u16, lengths: &[u32]) -> Vec<u8> {
    let mut bits = BitSink::default();
    bits.add_groups(largest, 0, lengths);
    lossy_with_alpha(size, &bits.end(size.0 * size.1))
}

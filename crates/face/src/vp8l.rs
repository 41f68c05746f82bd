//! The memory that the prefix codes of a lossless WebP need once they are decoded, read from the
//! bitstream in advance.
//!
//! image-webp 0.2.4 builds the tables of all codes before it decodes the first pixel: five for each
//! group, and up to 65,536 groups, whatever the size of the picture. Their number is the largest
//! index in the entropy image, which is itself compressed, behind the transforms. This reads as far
//! as the last code, by RFC 9649.
//!
//! It accepts nothing that image-webp reads in another way: what is counted here is what is built
//! there.

/// The most that the tables of the codes of one sub-image take here and there, and its cache.
const CODES_BYTES: u64 = 1 << 20;

/// What image-webp takes for the list of groups, for each: five trees of 56 bytes, and while the
/// list grows, which doubles it, the old one beside the new one.
const GROUP_BYTES: u64 = 3 * 5 * 56;

/// Bits that image-webp looks up at once; behind those it walks a tree.
const TABLE_BITS: u32 = 10;
const ENTRY_BYTES: u64 = 4;
const NODE_BYTES: u64 = 16;

const MAX_LENGTH: u32 = 15;

/// The most that the tables of a picture may take, bytes. libwebp merges groups: it writes 208 for
/// 12 megapixels of many different photos, which take 4 MB. Tables are small allocations, and an
/// allocator keeps them for their thread when they are freed.
const MAX_TABLE_BYTES: u64 = 64 << 20;

/// How many symbols the five codes of a group have: green, lengths and cache; red; blue; alpha;
/// distances.
const ALPHABETS: [usize; 5] = [256 + LENGTHS, 256, 256, 256, 40];
const LENGTHS: usize = 24;

/// The order in which the lengths of the codes for lengths come.
const LENGTH_ORDER: [usize; 19] =
    [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// A lossless bitstream: a whole picture, or an alpha channel, which has no header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bitstream<'a> {
    pub(super) data: &'a [u8],
    /// Width and height by the container, pixels.
    pub(super) size: (u32, u32),
    pub(super) has_header: bool,
}

impl Bitstream<'_> {
    /// What [`table_bytes`](Self::table_bytes) takes itself at most, bytes.
    pub(super) fn reading_bytes(&self) -> u64 {
        // The largest sub-images have a pixel for each 4 x 4; one of them is in memory.
        let (width, height) = blocks(self.size, 2);
        u64::from(width) * u64::from(height) * 4 + CODES_BYTES
    }

    /// What the codes of all groups take in image-webp, bytes; `None` if the bitstream is damaged,
    /// or if that is too much.
    pub(super) fn table_bytes(&self) -> Option<u64> {
        let mut bits = Vp8lBits { rest: self.data, buffer: 0, count: 0 };
        let mut size = self.size;
        if self.has_header {
            let signature = bits.read(8)?;
            let stored = (bits.read(14)? + 1, bits.read(14)? + 1);
            let _alpha = bits.read(1)?;
            let version = bits.read(3)?;
            if signature != 0x2F || stored != size || version != 0 {
                return None;
            }
        }
        skip_transforms(&mut bits, &mut size)?;
        let cache = cache_bits(&mut bits)?;
        let mut groups = 1;
        if bits.read(1)? == 1 {
            let (width, height) = blocks(size, bits.read(3)? + 2);
            let entropy = read_image(&mut bits, width, height)?;
            groups = 1 + entropy.iter().map(|pixel| pixel >> 8 & 0xFFFF).max()?;
            // libwebp numbers the groups that are used, so no encoder known writes more of them
            // than blocks.
            if u64::from(groups) > entropy.len() as u64 {
                return None;
            }
        }
        let mut bytes = u64::from(groups) * GROUP_BYTES;
        for _ in 0..groups {
            for code in read_group(&mut bits, cache)? {
                bytes += code.table_bytes();
            }
            if bytes > MAX_TABLE_BYTES {
                return None;
            }
        }
        Some(bytes)
    }
}

/// How many blocks of `2^bits` pixels there are to the right and downwards.
fn blocks((width, height): (u32, u32), bits: u32) -> (u32, u32) {
    (width.div_ceil(1 << bits), height.div_ceil(1 << bits))
}

/// Reads past the transforms; `size` becomes that of the picture behind them.
fn skip_transforms(bits: &mut Vp8lBits<'_>, size: &mut (u32, u32)) -> Option<()> {
    let mut seen = [false; 4];
    while bits.read(1)? == 1 {
        let transform = bits.read(2)?;
        if std::mem::replace(&mut seen[transform as usize], true) {
            return None;
        }
        match transform {
            // Predictors and colours.
            0 | 1 => {
                let (width, height) = blocks(*size, bits.read(3)? + 2);
                read_image(bits, width, height)?;
            }
            // Green was subtracted.
            2 => {}
            // A palette; with few colours, several pixels are one.
            _ => {
                let colors = bits.read(8)? + 1;
                read_image(bits, colors, 1)?;
                let packed = match colors {
                    1..=2 => 3,
                    3..=4 => 2,
                    5..=16 => 1,
                    _ => 0,
                };
                size.0 = size.0.div_ceil(1 << packed);
            }
        }
    }
    Some(())
}

/// A sub-image: its pixels, alpha in the highest bits, then red, green and blue.
fn read_image(bits: &mut Vp8lBits<'_>, width: u32, height: u32) -> Option<Vec<u32>> {
    let cache_bits = cache_bits(bits)?;
    let mut cache = vec![0_u32; 1 << cache_bits];
    let [green, red, blue, alpha, distance] =
        read_group(bits, cache_bits)?.map(|code| code.table());
    let near = near_distances(width);
    let pixels = width as usize * height as usize;
    let mut image = Vec::with_capacity(pixels);
    while image.len() < pixels {
        let from = image.len();
        let green = green.symbol(bits)?;
        if let Some(cached) = usize::from(green).checked_sub(ALPHABETS[0]) {
            image.push(*cache.get(cached)?);
        } else if let Some(prefix) = green.checked_sub(256) {
            let length = read_number(bits, prefix)?;
            let code = distance.symbol(bits).and_then(|prefix| read_number(bits, prefix))?;
            let back = near.get(code - 1).copied().unwrap_or_else(|| code - near.len());
            if length > pixels - from {
                return None;
            }
            for at in from..from + length {
                image.push(*image.get(at.checked_sub(back)?)?);
            }
        } else {
            let (red, blue, alpha) = (red.symbol(bits)?, blue.symbol(bits)?, alpha.symbol(bits)?);
            let [alpha, red, green, blue] = [alpha, red, green, blue].map(u32::from);
            image.push(alpha << 24 | red << 16 | green << 8 | blue);
        }
        if cache_bits > 0 {
            for pixel in &image[from..] {
                cache[(pixel.wrapping_mul(0x1E35_A7BD) >> (32 - cache_bits)) as usize] = *pixel;
            }
        }
    }
    Some(image)
}

/// Bits of an index into the cache of colours; 0 without one.
fn cache_bits(bits: &mut Vp8lBits<'_>) -> Option<u32> {
    if bits.read(1)? == 0 {
        return Some(0);
    }
    Some(bits.read(4)?).filter(|bits| (1..=11).contains(bits))
}

/// A length or a distance, at least 1: a prefix and, for large ones, bits behind it.
fn read_number(bits: &mut Vp8lBits<'_>, prefix: u16) -> Option<usize> {
    let prefix = usize::from(prefix);
    if prefix < 4 {
        return Some(prefix + 1);
    }
    let extra = u32::try_from((prefix - 2) >> 1).ok()?;
    Some(((2 + (prefix & 1)) << extra) + bits.read(extra)? as usize + 1)
}

/// What the first 120 codes for distances mean: pixels nearby, most of them in rows above, the
/// nearest first.
fn near_distances(width: u32) -> Vec<usize> {
    let mut near: Vec<(i64, i64)> = (0..=7)
        .flat_map(|up| (-7..=8).map(move |left| (left, up)))
        .filter(|(left, up)| *up > 0 || *left > 0)
        .collect();
    near.sort_by_key(|(left, up)| (left * left + up * up, left.abs(), *left < 0));
    near.iter()
        .map(|(left, up)| usize::try_from(left + up * i64::from(width)).unwrap_or(0).max(1))
        .collect()
}

fn read_group(bits: &mut Vp8lBits<'_>, cache_bits: u32) -> Option<[PrefixCode; 5]> {
    let cached = if cache_bits > 0 { 1 << cache_bits } else { 0 };
    let [green, red, blue, alpha, distance] = ALPHABETS;
    Some([
        PrefixCode::read(bits, green + cached)?,
        PrefixCode::read(bits, red)?,
        PrefixCode::read(bits, blue)?,
        PrefixCode::read(bits, alpha)?,
        PrefixCode::read(bits, distance)?,
    ])
}

/// A prefix code.
enum PrefixCode {
    /// One symbol that takes no bits.
    Single(u16),
    /// One bit, whichever of the symbols is larger.
    Pair([u16; 2]),
    /// By the length of each symbol's code; 0 without one.
    Lengths(Vec<u8>),
}

impl PrefixCode {
    fn read(bits: &mut Vp8lBits<'_>, alphabet: usize) -> Option<Self> {
        if bits.read(1)? == 0 {
            let mut lengths = [0; LENGTH_ORDER.len()];
            let count = bits.read(4)? as usize + 4;
            for symbol in &LENGTH_ORDER[..count] {
                lengths[*symbol] = u8::try_from(bits.read(3)?).ok()?;
            }
            let table = Self::from_lengths(lengths.to_vec())?.table();
            return Self::from_lengths(read_lengths(bits, &table, alphabet)?);
        }
        let is_pair = bits.read(1)? == 1;
        let width = 1 + 7 * bits.read(1)?;
        let mut symbol = |width| {
            let symbol = u16::try_from(bits.read(width)?).ok()?;
            (usize::from(symbol) < alphabet).then_some(symbol)
        };
        let symbols = [symbol(width)?, if is_pair { symbol(8)? } else { 0 }];
        Some(if is_pair { Self::Pair(symbols) } else { Self::Single(symbols[0]) })
    }

    /// `None` if there are codes without a symbol, or several symbols for one code.
    fn from_lengths(lengths: Vec<u8>) -> Option<Self> {
        let mut used = lengths.iter().enumerate().filter(|(_, length)| **length > 0);
        let (first, _) = used.next()?;
        if used.next().is_none() {
            return u16::try_from(first).ok().map(Self::Single);
        }
        let share =
            |length: &u8| if *length > 0 { 1 << (MAX_LENGTH - u32::from(*length)) } else { 0 };
        let taken: u32 = lengths.iter().map(share).sum();
        (taken == 1 << MAX_LENGTH).then_some(Self::Lengths(lengths))
    }

    /// What image-webp allocates for it, bytes.
    fn table_bytes(&self) -> u64 {
        match self {
            Self::Single(_) => 0,
            Self::Pair(_) => 2 * ENTRY_BYTES + 3 * NODE_BYTES,
            Self::Lengths(lengths) => {
                let longest = lengths.iter().copied().max().unwrap_or_default();
                let is_long = |length: &&u8| u32::from(**length) > TABLE_BITS;
                let long = lengths.iter().filter(is_long).count() as u64;
                (ENTRY_BYTES << u32::from(longest).min(TABLE_BITS)) + 2 * long * NODE_BYTES
            }
        }
    }

    fn table(&self) -> LookupTable {
        let lengths = match self {
            Self::Single(symbol) => return LookupTable(vec![(0, *symbol)]),
            Self::Pair([zero, one]) => return LookupTable(vec![(1, *zero), (1, *one)]),
            Self::Lengths(lengths) => lengths,
        };
        let longest = lengths.iter().copied().max().unwrap_or_default();
        let mut table = vec![(0, 0); 1 << longest];
        // Codes of one length are numbered by symbol, longer ones after shorter ones; bits come
        // highest first.
        let mut code = 0_u32;
        for length in 1..=longest {
            for (symbol, _) in (0..).zip(lengths).filter(|(_, of_symbol)| **of_symbol == length) {
                let first = code.reverse_bits() >> (32 - u32::from(length));
                let entries = table.iter_mut().skip(first as usize).step_by(1 << length);
                entries.for_each(|entry| *entry = (length, symbol));
                code += 1;
            }
            code <<= 1;
        }
        LookupTable(table)
    }
}

/// The lengths of the codes of an alphabet, which are themselves coded.
fn read_lengths(bits: &mut Vp8lBits<'_>, table: &LookupTable, alphabet: usize) -> Option<Vec<u8>> {
    let mut left = alphabet;
    if bits.read(1)? == 1 {
        let width = 2 + 2 * bits.read(3)?;
        left = bits.read(width)? as usize + 2;
        if left > alphabet {
            return None;
        }
    }
    let mut lengths = Vec::with_capacity(alphabet);
    let mut previous = 8;
    while lengths.len() < alphabet && left > 0 {
        left -= 1;
        let (length, times) = match table.symbol(bits)? {
            16 => (previous, 3 + bits.read(2)?),
            17 => (0, 3 + bits.read(3)?),
            18 => (0, 11 + bits.read(7)?),
            length => (u8::try_from(length).ok()?, 1),
        };
        if length > 0 {
            previous = length;
        }
        if times as usize > alphabet - lengths.len() {
            return None;
        }
        lengths.extend(std::iter::repeat_n(length, times as usize));
    }
    lengths.resize(alphabet, 0);
    Some(lengths)
}

/// For all that the next bits can be: how many of them are a code, and its symbol. As many as a
/// power of two.
struct LookupTable(Vec<(u8, u16)>);

impl LookupTable {
    fn symbol(&self, bits: &mut Vp8lBits<'_>) -> Option<u16> {
        bits.fill();
        let [low, high, ..] = bits.buffer.to_le_bytes();
        let next = usize::from(u16::from_le_bytes([low, high])) & (self.0.len() - 1);
        let (length, symbol) = *self.0.get(next)?;
        bits.read(length.into())?;
        Some(symbol)
    }
}

/// Bits, the lowest of each byte first.
struct Vp8lBits<'a> {
    rest: &'a [u8],
    buffer: u64,
    count: u32,
}

impl Vp8lBits<'_> {
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some((byte, rest)) = self.rest.split_first() else { return };
            self.buffer |= u64::from(*byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    /// A number of up to 32 bits; `None` if there are less.
    fn read(&mut self, count: u32) -> Option<u32> {
        self.fill();
        let value = u32::try_from(self.buffer & ((1 << count) - 1)).ok()?;
        self.count = self.count.checked_sub(count)?;
        self.buffer >>= count;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use image::{RgbaImage, codecs::webp::WebPEncoder};

    use super::*;
    use crate::flat;

    /// By libwebp: 48 x 48 pixels, two groups of codes, a cache of 256 colours.
    const GROUPS: &[u8] = include_bytes!("../../../fuzz/seeds/picture/groups.webp");

    fn of_file(file: &[u8], size: (u32, u32)) -> Option<u64> {
        Bitstream { data: &file[20..], size, has_header: true }.table_bytes()
    }

    #[test]
    fn near_distances_are_those_of_the_specification() {
        let near = near_distances(1_000);
        assert_eq!(near.len(), 120);
        assert_eq!(near[..8], [1_000, 1, 1_001, 999, 2_000, 2, 2_001, 1_999]);
        assert_eq!(near[34..40], [5_000, 4_003, 3_997, 3_004, 2_996, 5]);
        assert_eq!(near[76..80], [5_005, 4_995, 1_007, 993]);
        assert_eq!(near[116..], [7_007, 6_993, 6_008, 7_008]);
        assert_eq!(near_distances(1)[3], 1);
    }

    #[test]
    fn pictures_of_encoders_are_read_to_the_last_code() {
        let two_groups = of_file(GROUPS, (48, 48)).unwrap();
        assert!(two_groups > 2 * GROUP_BYTES + 4_096, "{two_groups}");
        for colors in [2, 3, 13, 200, 256] {
            let picture = RgbaImage::from_fn(61, 47, |x, y| {
                let value = u8::try_from((x * x + y * 7) % colors).unwrap();
                image::Rgba([value, 90, value / 2, 255 - value % 3])
            });
            let mut file = Vec::new();
            picture.write_with_encoder(WebPEncoder::new_lossless(&mut file)).unwrap();
            assert!(of_file(&file, (61, 47)) > Some(GROUP_BYTES), "{colors}");
            assert_eq!(of_file(&file, (61, 48)), None);
        }
    }

    #[test]
    fn codes_are_counted_as_they_are_built() {
        let shallow = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10];
        let deep = [&shallow[..10], &[14; 16]].concat();
        let groups = |lengths| of_file(&flat::webp_groups((16, 16), 15, 11, lengths), (16, 16));
        assert_eq!(groups(&[1, 1]), Some(16 * (GROUP_BYTES + 5 * 8)));
        assert_eq!(groups(&shallow), Some(16 * (GROUP_BYTES + 5 * 4_096)));
        assert_eq!(groups(&deep), Some(16 * (GROUP_BYTES + 5 * (4_096 + 2 * 16 * 16))));
        // Codes without a symbol, and symbols without a code.
        assert_eq!((groups(&[1, 2]), groups(&[1, 1, 1])), (None, None));
        // Three times too many symbols: the sum of image-webp overflows and is right again.
        assert_eq!(
            groups(&[1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15]),
            None
        );
    }

    #[test]
    fn more_groups_than_blocks_are_damage() {
        let groups = |largest| of_file(&flat::webp_groups((16, 16), largest, 0, &[1, 1]), (16, 16));
        assert!(groups(15).is_some());
        assert_eq!((groups(16), groups(u16::MAX)), (None, None));
    }

    #[test]
    fn tables_have_a_limit_whatever_the_size_of_the_picture() {
        let shallow = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10];
        let size = (1_024, 1_024);
        let groups = |largest| of_file(&flat::webp_groups(size, largest, 0, &shallow), size);
        assert_eq!(groups(2_999), Some(3_000 * (GROUP_BYTES + 5 * 4_096)));
        assert_eq!((groups(3_199), groups(u16::MAX)), (None, None));
    }

    #[test]
    fn a_bitstream_that_ends_before_the_last_code_is_damaged() {
        let file = flat::webp_groups((16, 16), 15, 0, &[1, 1]);
        let whole =
            (20..file.len()).find(|end| of_file(&file[..*end], (16, 16)).is_some()).unwrap();
        // Behind it is what the pixels take.
        assert!(file.len() - whole <= 256 + 2, "{whole} of {}", file.len());
    }
}

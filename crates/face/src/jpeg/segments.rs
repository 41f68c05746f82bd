//! Splits a JPEG file into its segments and scans, and reads the headers of frame and scans.

use std::ops::Range;

/// One part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// A marker and what belongs to it.
    Marker(u8, &'a [u8]),
    /// The header of a scan and its entropy-coded data, with restart markers; without them from
    /// [`Segments::headers`].
    Scan(&'a [u8], &'a [u8]),
    /// The end of the image; what follows is not read.
    End,
    /// The file ends here: within a segment, or without an end of the image.
    Cut,
    /// A segment with an impossible length.
    Broken,
}

/// The parts of a file, in order, each with its bytes from its marker on. [`Segment::End`],
/// [`Segment::Cut`] or [`Segment::Broken`] is the last.
pub(super) struct Segments<'a> {
    file: &'a [u8],
    at: Option<usize>,
    has_data: bool,
}

impl<'a> Segments<'a> {
    /// `file` begins with the two bytes that every JPEG begins with.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { file, at: Some(2), has_data: true }
    }

    /// The same, without the data of scans: nearly all of a file, which is then read only as far as
    /// the caller asks for what follows it.
    pub(super) fn headers(file: &'a [u8]) -> Self {
        Self { has_data: false, ..Self::new(file) }
    }

    /// The next marker that has a meaning of its own: its place and its code.
    fn next_marker(&self, mut from: usize) -> Option<(usize, u8)> {
        loop {
            let at = from + marker(self.file.get(from..)?)?;
            match self.file[at + 1] {
                0x01 | 0xD0..=0xD8 => from = at + 2,
                code => return Some((at, code)),
            }
        }
    }

    fn read(&self, at: usize, code: u8) -> (usize, Segment<'a>) {
        let end = self.file.len();
        if code == END {
            return (at + 2, Segment::End);
        }
        let Some(&[high, low]) = self.file.get(at + 2..at + 4) else { return (end, Segment::Cut) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return (end, Segment::Broken);
        }
        let behind = at + 2 + length;
        let Some(data) = self.file.get(at + 4..behind) else { return (end, Segment::Cut) };
        if code != SCAN {
            return (behind, Segment::Marker(code, data));
        }
        if !self.has_data {
            return (behind, Segment::Scan(data, &[]));
        }
        let coded = self.file.get(behind..).unwrap_or_default();
        let mut length = 0;
        while let Some(at) = coded.get(length..).and_then(marker) {
            if !matches!(coded[length + at + 1], 0xD0..=0xD7) {
                return (behind + length + at, Segment::Scan(data, &coded[..length + at]));
            }
            length += at + 2;
        }
        (end, Segment::Scan(data, coded))
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = (Range<usize>, Segment<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.at.take()?;
        let Some((at, code)) = self.next_marker(from) else {
            return Some((from..self.file.len(), Segment::Cut));
        };
        let (behind, part) = self.read(at, code);
        if matches!(part, Segment::Marker(..) | Segment::Scan(..)) {
            self.at = Some(behind);
        }
        Some((at..behind, part))
    }
}

const END: u8 = 0xD9;
const SCAN: u8 = 0xDA;

/// Where the first marker lies: bytes of 255 may fill the place before one, and 255 and 0 are a
/// coded 255.
fn marker(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == 0xFF)?;
        match bytes.get(at + 1)? {
            0 => from = at + 2,
            0xFF => from = at + 1,
            _ => return Some(at),
        }
    }
}

/// One component of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameComponent {
    id: u8,
    /// Blocks in a unit, from left to right and from top to bottom, 1 to 4.
    pub(super) across: usize,
    pub(super) down: usize,
    /// The number of its quantisation table.
    pub(super) table: usize,
}

/// The header of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its marker: 0xC0 baseline, 0xC1 extended, 0xC2 progressive; others are not read here.
    pub(super) marker: u8,
    /// Bits of a sample.
    pub(super) precision: u8,
    /// Width and height, pixels.
    pub(super) size: (u32, u32),
    /// One to four.
    pub(super) components: Vec<FrameComponent>,
}

impl Frame {
    /// The frame that a segment is the header of; `None` if it is none or is damaged.
    pub(super) fn parse(marker: u8, data: &[u8]) -> Option<Self> {
        if !Self::is_header(marker) {
            return None;
        }
        let ([precision, h1, h0, w1, w0, count], components) = data.split_first_chunk::<6>()?;
        let components = components.get(..3 * usize::from(*count))?.as_chunks::<3>().0;
        let components = components.iter().map(|[id, factors, table]| FrameComponent {
            id: *id,
            across: usize::from(factors >> 4),
            down: usize::from(factors & 15),
            table: usize::from(*table),
        });
        let components: Vec<_> = components.collect();
        let is_possible = (1..=4).contains(&components.len())
            && components.iter().all(|one| {
                (1..=4).contains(&one.across) && (1..=4).contains(&one.down) && one.table < 4
            });
        let side = |high: u8, low: u8| u32::from(u16::from_be_bytes([high, low]));
        let size = (side(*w1, *w0), side(*h1, *h0));
        is_possible.then_some(Self { marker, precision: *precision, size, components })
    }

    /// Whether a marker begins the header of a frame, whatever its kind.
    pub(super) fn is_header(marker: u8) -> bool {
        matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
    }

    pub(super) fn is_progressive(&self) -> bool {
        self.marker == 0xC2
    }

    /// The most blocks of a component in a unit, from left to right and from top to bottom.
    pub(super) fn most(&self) -> (usize, usize) {
        let most =
            |of: fn(&FrameComponent) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        (most(|one| one.across), most(|one| one.down))
    }

    /// Columns and rows of whole units.
    pub(super) fn units(&self) -> (usize, usize) {
        let (across, down) = self.most();
        let (width, height) = self.size;
        ((width as usize).div_ceil(8 * across), (height as usize).div_ceil(8 * down))
    }

    /// Columns and rows of the blocks of a component in a scan of its own, which has none that lie
    /// outside the picture.
    pub(super) fn blocks(&self, component: &FrameComponent) -> (usize, usize) {
        let (across, down) = self.most();
        let (width, height) = self.size;
        (
            (width as usize * component.across).div_ceil(8 * across),
            (height as usize * component.down).div_ceil(8 * down),
        )
    }
}

/// The header of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Places of its components in the frame, each with the numbers of its tables of codes for
    /// means and for the others.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// First and last coefficient in a block.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bits that earlier scans left out of the coefficients, and those that this one leaves out.
    pub(super) high: u8,
    pub(super) low: u8,
}

impl Scan {
    /// `None` if it is damaged or belongs to another frame.
    pub(super) fn parse(data: &[u8], frame: &Frame) -> Option<Self> {
        let (count, rest) = data.split_first()?;
        let count = usize::from(*count);
        let (listed, approximation) = rest.split_at_checked(2 * count)?;
        let [first, last, bits] = *approximation.first_chunk::<3>()?;
        let mut components = Vec::<(usize, usize, usize)>::with_capacity(count);
        for [id, tables] in listed.as_chunks::<2>().0 {
            let place = frame.components.iter().position(|one| one.id == *id)?;
            let (means, others) = (usize::from(tables >> 4), usize::from(tables & 15));
            if means > 3 || others > 3 || components.iter().any(|(other, ..)| *other == place) {
                return None;
            }
            components.push((place, means, others));
        }
        let (first, last) = (usize::from(first), usize::from(last));
        let (first, last, high, low) = if frame.is_progressive() {
            (first, last, bits >> 4, bits & 15)
        } else {
            // Some encoders write something else here; it has no meaning.
            (0, 63, 0, 0)
        };
        let is_possible = first <= last
            && last < 64
            && !components.is_empty()
            && (first == 0 || components.len() == 1)
            && (!frame.is_progressive() || (first == 0) == (last == 0))
            && low < 14
            && (high == 0 || high == low + 1);
        is_possible.then_some(Self { components, first, last, high, low })
    }
}

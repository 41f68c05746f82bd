//! Whether a JPEG file is complete. Decoders return what they have of a truncated image, some
//! without an error; this module reads every code of every scan without making pixels.

use std::borrow::Cow;

use super::{
    blocks::ComponentScan,
    codes::{BitReader, Codes},
    damage::Damage,
    segments::{Frame, Scan, Segment, Segments},
};

/// How many bits of a coefficient no scan has given yet, if there was none for it at all.
const NONE: u8 = u8::MAX;

/// The bits that are missing, for each component and coefficient.
struct Missing(Vec<[u8; 64]>);

impl Missing {
    fn new(frame: &Frame) -> Self {
        Self(vec![[NONE; 64]; frame.components.len()])
    }

    /// Takes away what a scan has. Fails if it should come at another place.
    fn scan(&mut self, scan: &Scan) -> Result<(), Damage> {
        for (place, ..) in &scan.components {
            let missing = self.0.get_mut(*place).ok_or(Damage::Garbled)?;
            // The others are refined from what the mean was made with.
            if scan.first > 0 && missing[0] == NONE {
                return Err(Damage::Garbled);
            }
            for bits in &mut missing[scan.first..=scan.last] {
                // A scan may come twice where nothing is refined.
                let expected =
                    if scan.high > 0 { *bits == scan.high } else { *bits == NONE || scan.low == 0 };
                if !expected {
                    return Err(Damage::Garbled);
                }
                *bits = scan.low;
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.as_flattened().iter().all(|bits| *bits == 0)
    }
}

/// Whether the scans that a file has make a whole picture, by their headers alone: stops where they
/// do.
pub(super) fn check_scans(file: &[u8]) -> Result<(), Damage> {
    let mut frame = None;
    for (_, part) in Segments::headers(file) {
        match (part, &mut frame) {
            (Segment::Marker(marker, data), None) if Frame::is_header(marker) => {
                let header = Frame::parse(marker, data).ok_or(Damage::Garbled)?;
                let missing = Missing::new(&header);
                frame = Some((header, missing));
            }
            (Segment::Scan(data, _), Some((frame, missing))) => {
                missing.scan(&Scan::parse(data, frame).ok_or(Damage::Garbled)?)?;
                if missing.is_empty() {
                    return Ok(());
                }
            }
            (Segment::Broken, _) => return Err(Damage::Garbled),
            _ => {}
        }
    }
    Err(Damage::EndsEarly)
}

/// Whether some place has the same byte again and again, as where a part of a file did not arrive.
pub(super) fn has_long_run(file: &[u8]) -> bool {
    file.as_chunks::<32>().0.iter().any(|some| some.iter().all(|byte| *byte == some[0]))
}

/// The file without harmless flaws that decoders reject, such as padding between a scan and the
/// next marker, or a missing end marker.
///
/// # Errors
/// Where the picture is not whole.
pub(super) fn check(file: &[u8]) -> Result<Cow<'_, [u8]>, Damage> {
    let mut reader = ScanReader::default();
    let start = 0..2.min(file.len());
    let mut kept = Vec::from([start]);
    let mut ends = false;
    for (range, part) in Segments::new(file) {
        match part {
            Segment::Marker(marker, data) => reader.read_segment(marker, data)?,
            Segment::Scan(header, data) => {
                let rest = reader.read_scan(header, data)?;
                // An upload that was interrupted can have zeros for all that did not arrive.
                if range.end == file.len() && data[data.len() - rest..].contains(&0) {
                    return Err(Damage::EndsEarly);
                }
                kept.push(range.start..range.end - rest);
                continue;
            }
            Segment::End => ends = true,
            Segment::Cut => break,
            Segment::Broken => return Err(Damage::Garbled),
        }
        kept.push(range);
    }
    if !reader.missing.is_some_and(|missing| missing.is_empty()) {
        return Err(Damage::EndsEarly);
    }
    let end = kept.last().map_or(0, |range| range.end);
    if ends && kept.iter().map(ExactSizeIterator::len).sum::<usize>() == end {
        return Ok(Cow::Borrowed(&file[..end]));
    }
    let mut whole = Vec::with_capacity(end + 2);
    for range in kept {
        whole.extend_from_slice(&file[range]);
    }
    if !ends {
        whole.extend([0xFF, 0xD9]);
    }
    Ok(Cow::Owned(whole))
}

/// Scans of a file: cameras and converters write about ten, a file made to cost time has thousands.
const MOST_SCANS: u32 = 100;

/// Bytes between a scan and the next marker, other than the filling before one. Some encoders leave
/// a few there; more of them say that the codes of the scan are not those that were written.
const MOST_EXTRANEOUS: usize = 16;

/// Reads the codes of all scans.
#[derive(Default)]
struct ScanReader {
    frame: Option<Frame>,
    missing: Option<Missing>,
    /// By class and number.
    codes: [[Option<Codes>; 4]; 2],
    /// What the means of blocks were divided by, by the number of the table.
    quanta: [Option<i32>; 4],
    /// Units between restart markers; 0 without them.
    interval: usize,
    /// Of a progressive picture, for each component: which coefficients of each block are not zero.
    /// Later scans have a bit more of those.
    nonzero: Vec<Vec<u64>>,
    scans: u32,
}

impl ScanReader {
    fn read_segment(&mut self, marker: u8, data: &[u8]) -> Result<(), Damage> {
        match marker {
            0xC4 => {
                for (class, number, codes) in Codes::parse(data).ok_or(Damage::Garbled)? {
                    self.codes[class][number] = Some(codes);
                }
            }
            0xDB => self.read_quanta(data).ok_or(Damage::Garbled)?,
            0xDD => {
                let interval = data.first_chunk::<2>().ok_or(Damage::Garbled)?;
                self.interval = usize::from(u16::from_be_bytes(*interval));
            }
            _ if Frame::is_header(marker) => {
                let frame = Frame::parse(marker, data).ok_or(Damage::Garbled)?;
                if self.frame.is_some() {
                    return Err(Damage::Garbled);
                }
                let (columns, rows) = frame.units();
                let blocks = frame.components.iter().map(|one| one.across * one.down);
                let marks = blocks.map(|in_unit| {
                    let blocks = if frame.is_progressive() { columns * rows * in_unit } else { 0 };
                    vec![0; blocks]
                });
                self.nonzero = marks.collect();
                self.missing = Some(Missing::new(&frame));
                self.frame = Some(frame);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_quanta(&mut self, mut data: &[u8]) -> Option<()> {
        while let Some((place, rest)) = data.split_first() {
            let quantum = self.quanta.get_mut(usize::from(place & 15))?;
            let (first, length) = match place >> 4 {
                0 => (i32::from(*rest.first()?), 64),
                1 => (i32::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)), 128),
                _ => return None,
            };
            *quantum = Some(first);
            data = rest.get(length..)?;
        }
        Some(())
    }

    /// Reads a scan; returns how many bytes at its end do not belong to it.
    fn read_scan(&mut self, header: &[u8], data: &[u8]) -> Result<usize, Damage> {
        let frame = self.frame.as_ref().ok_or(Damage::Garbled)?;
        let scan = Scan::parse(header, frame).ok_or(Damage::Garbled)?;
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return Err(Damage::Garbled);
        }
        if let Some(missing) = &mut self.missing {
            missing.scan(&scan)?;
        }
        let mut nonzero: Vec<_> =
            self.nonzero.iter_mut().map(|blocks| Some(&mut blocks[..])).collect();
        let mut sources = Vec::with_capacity(scan.components.len());
        for (place, means, others) in &scan.components {
            let one = frame.components[*place];
            sources.push(ComponentScan {
                blocks: one,
                width: frame.units().0 * one.across,
                means: self.codes[0][*means].as_ref(),
                others: self.codes[1][*others].as_ref(),
                nonzero: nonzero[*place].take().unwrap_or_default(),
                quantum: self.quanta[one.table].ok_or(Damage::Garbled)?,
                mean: 0,
            });
        }
        let mut bits = BitReader::new(data);
        read_units(frame, &scan, &mut sources, self.interval, &mut bits)?;
        let rest = bits.rest();
        let others = rest.iter().filter(|byte| **byte != 0xFF).count();
        if others <= MOST_EXTRANEOUS { Ok(rest.len()) } else { Err(Damage::Garbled) }
    }
}

fn read_units(
    frame: &Frame,
    scan: &Scan,
    sources: &mut [ComponentScan<'_>],
    interval: usize,
    bits: &mut BitReader<'_>,
) -> Result<(), Damage> {
    // A unit is one block where there is one component.
    let (across, down) = match sources {
        [one] => {
            let size = frame.blocks(&one.blocks);
            (one.blocks.across, one.blocks.down) = (1, 1);
            size
        }
        _ => frame.units(),
    };
    let is_progressive = frame.is_progressive();
    let (mut empty_blocks, mut left, mut restarts) = (0, interval, 0);
    for (row, column) in (0..down).flat_map(|row| (0..across).map(move |column| (row, column))) {
        if interval > 0 {
            if left == 0 {
                if empty_blocks > 0 {
                    return Err(Damage::Garbled);
                }
                bits.restart(restarts)?;
                for source in &mut *sources {
                    source.mean = 0;
                }
                (left, restarts) = (interval, (restarts + 1) % 8);
            }
            left -= 1;
        }
        for source in &mut *sources {
            for y in 0..source.blocks.down {
                for x in 0..source.blocks.across {
                    if !is_progressive {
                        source.read_mean(0, bits)?;
                        source.read_others(bits)?;
                        continue;
                    }
                    let place = (row * source.blocks.down + y) * source.width;
                    let block = place + column * source.blocks.across + x;
                    source.read_pass(scan, block, &mut empty_blocks, bits)?;
                }
            }
        }
    }
    // More blocks were said to be empty than there are.
    if empty_blocks > 0 { Err(Damage::Garbled) } else { Ok(()) }
}

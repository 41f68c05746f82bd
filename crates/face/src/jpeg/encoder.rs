//! A small JPEG encoder for tests: any sampling factors, any order of scans, any restart interval,
//! baseline or progressive.

use std::f64::consts::PI;

use super::segments::{Frame, FrameComponent};

/// What one scan has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) components: Vec<usize>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) high: u8,
    pub(super) low: u8,
}

/// A picture of smooth colours.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub(super) size: (u32, u32),
    /// Sampling factors of each component, from left to right and from top to bottom.
    pub(super) factors: Vec<(u8, u8)>,
    pub(super) is_progressive: bool,
    pub(super) scans: Vec<Script>,
    /// Units between restart markers; 0 without them.
    pub(super) interval: u16,
}

/// The colour at a place, each from 0 to 1 of the side.
pub(super) fn colour(x: f64, y: f64) -> [f64; 3] {
    [40.0 + 160.0 * x, 60.0 + 140.0 * y, 220.0 - 90.0 * x - 90.0 * y]
}

/// Luma and chroma, the mean 0.
fn component(place: usize, x: f64, y: f64) -> f64 {
    let [r, g, b] = colour(x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
    let luma = 0.299 * r + 0.587 * g + 0.114 * b;
    match place {
        0 => luma - 128.0,
        1 => (b - luma) / 1.772,
        _ => (r - luma) / 1.402,
    }
}

/// Every coefficient is divided by this.
const QUANTUM: u8 = 2;

const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

type Coefficients = [i32; 64];

/// Quantised coefficients in the order of the file.
#[expect(clippy::cast_possible_truncation, reason = "coefficients have 11 bits")]
fn transformed(sample: impl Fn(usize, usize) -> f64) -> Coefficients {
    let wave = |at: usize, of: usize| {
        let norm = if of == 0 { 0.125_f64.sqrt() } else { 0.5 };
        norm * ((2 * at + 1) as f64 * of as f64 * PI / 16.0).cos()
    };
    let mut rows = [[0.0; 8]; 8];
    for (y, row) in rows.iter_mut().enumerate() {
        for (u, value) in row.iter_mut().enumerate() {
            *value = (0..8).map(|x| sample(x, y) * wave(x, u)).sum();
        }
    }
    ZIGZAG.map(|place| {
        let (u, v) = (place % 8, place / 8);
        let value: f64 = (0..8).map(|y| rows[y][u] * wave(y, v)).sum();
        (value / f64::from(QUANTUM)).round() as i32
    })
}

/// Bits, highest first, with a 0 behind each byte of 255.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    buffer: u32,
    count: u32,
}

impl BitWriter {
    fn add(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.buffer = self.buffer << 1 | (value >> bit & 1);
            self.count += 1;
            if self.count == 8 {
                let byte = self.buffer.to_le_bytes()[0];
                self.bytes.push(byte);
                if byte == 0xFF {
                    self.bytes.push(0);
                }
                (self.buffer, self.count) = (0, 0);
            }
        }
    }

    /// Fills the last byte with ones.
    fn align(&mut self) {
        while self.count > 0 {
            self.add(1, 1);
        }
    }

    /// The code of a number of bits, then the bits.
    fn add_mean(&mut self, value: i32) {
        let size = bits_of(value);
        // Codes of four bits, in order.
        self.add(size, 4);
        self.add_value(value, size);
    }

    /// The code of zeros and a number of bits.
    fn add_symbol(&mut self, zeros: u32, size: u32) {
        // Codes of eight bits, in order.
        self.add(zeros * SIZES + size, 8);
    }

    fn add_value(&mut self, value: i32, size: u32) {
        let bits = if value < 0 { value - 1 } else { value };
        self.add(bits.cast_unsigned() & ((1 << size) - 1), size);
    }
}

/// How many numbers of bits a coefficient can have.
const SIZES: u32 = 12;

fn bits_of(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

struct Encoder<'a> {
    sketch: &'a Sketch,
    frame: Frame,
    /// Of each component, row by row.
    blocks: Vec<Vec<Coefficients>>,
    bits: BitWriter,
    means: [i32; 4],
    empty_blocks: u32,
}

impl Encoder<'_> {
    fn end_run(&mut self) {
        if self.empty_blocks > 0 {
            let size = self.empty_blocks.ilog2();
            self.bits.add_symbol(size, 0);
            self.bits.add(self.empty_blocks - (1 << size), size);
            self.empty_blocks = 0;
        }
    }

    fn scan(&mut self, scan: &Script) -> Vec<u8> {
        let (columns, _) = self.frame.units();
        let single = match scan.components[..] {
            [place] => Some(self.frame.components[place]),
            _ => None,
        };
        let (across, down) = single.map_or(self.frame.units(), |one| self.frame.blocks(&one));
        self.means = [0; 4];
        for unit in 0..across * down {
            let interval = usize::from(self.sketch.interval);
            if unit > 0 && interval > 0 && unit % interval == 0 {
                self.end_run();
                self.bits.align();
                let number = ((unit / interval - 1) % 8).to_le_bytes()[0];
                self.bits.bytes.extend([0xFF, 0xD0 + number]);
                self.means = [0; 4];
            }
            let (column, row) = (unit % across, unit / across);
            for place in &scan.components {
                let one = self.frame.components[*place];
                let width = columns * one.across;
                if single.is_some() {
                    self.block(scan, *place, row * width + column);
                    continue;
                }
                for (x, y) in (0..one.down).flat_map(|y| (0..one.across).map(move |x| (x, y))) {
                    let at = (row * one.down + y) * width + column * one.across + x;
                    self.block(scan, *place, at);
                }
            }
        }
        self.end_run();
        self.bits.align();
        std::mem::take(&mut self.bits.bytes)
    }

    fn block(&mut self, scan: &Script, place: usize, at: usize) {
        let block = self.blocks[place][at];
        if scan.first == 0 && scan.high > 0 {
            self.bits.add((block[0] >> scan.low & 1).cast_unsigned(), 1);
        } else if scan.first == 0 {
            let mean = block[0] >> scan.low;
            self.bits.add_mean(mean - self.means[place]);
            self.means[place] = mean;
        }
        if scan.last > 0 && scan.high > 0 {
            self.refine(scan, &block);
        } else if scan.last > 0 {
            let first = scan.first.max(1);
            let mut zeros = 0;
            for value in &block[first..=scan.last] {
                let value = value.signum() * (value.abs() >> scan.low);
                if value == 0 {
                    zeros += 1;
                    continue;
                }
                self.end_run();
                while zeros > 15 {
                    self.bits.add_symbol(15, 0);
                    zeros -= 16;
                }
                self.bits.add_symbol(zeros, bits_of(value));
                self.bits.add_value(value, bits_of(value));
                zeros = 0;
            }
            if zeros > 0 && self.sketch.is_progressive {
                self.empty_blocks += 1;
            } else if zeros > 0 {
                self.bits.add_symbol(0, 0);
            }
        }
    }

    fn refine(&mut self, scan: &Script, block: &Coefficients) {
        let values = block.map(|value| value.unsigned_abs() >> scan.low);
        let last_new = (scan.first..=scan.last).rev().find(|at| values[*at] == 1).unwrap_or(0);
        let (mut zeros, mut later) = (0, Vec::new());
        for at in scan.first..=scan.last {
            if values[at] == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && at <= last_new {
                self.bits.add_symbol(15, 0);
                later.drain(..).for_each(|bit| self.bits.add(bit, 1));
                zeros -= 16;
            }
            if values[at] > 1 {
                later.push(values[at] & 1);
                continue;
            }
            self.bits.add_symbol(zeros, 1);
            self.bits.add(u32::from(block[at] > 0), 1);
            later.drain(..).for_each(|bit| self.bits.add(bit, 1));
            zeros = 0;
        }
        if zeros > 0 || !later.is_empty() {
            self.bits.add_symbol(0, 0);
            for bit in later {
                self.bits.add(bit, 1);
            }
        }
    }
}

impl Sketch {
    /// Baseline, all components in one scan.
    pub(super) fn new(size: (u32, u32), factors: &[(u8, u8)]) -> Self {
        let all = (0..factors.len()).collect();
        let scans = vec![Script { components: all, first: 0, last: 63, high: 0, low: 0 }];
        Self { size, factors: factors.to_vec(), is_progressive: false, scans, interval: 0 }
    }

    /// Baseline, with scans of these components.
    pub(super) fn with_scans(mut self, scans: &[&[usize]]) -> Self {
        let scan = |components: &&[usize]| Script {
            components: components.to_vec(),
            ..self.scans[0].clone()
        };
        self.scans = scans.iter().map(scan).collect();
        self
    }

    /// Progressive as usual: means in scans of these components, the others in two bands, and a bit
    /// more of all of them.
    pub(super) fn progressive(mut self, scans: &[&[usize]]) -> Self {
        let with = |components: &[usize], first, last, high, low| Script {
            components: components.to_vec(),
            first,
            last,
            high,
            low,
        };
        let mut script: Vec<_> = scans.iter().map(|all| with(all, 0, 0, 0, 1)).collect();
        for place in (0..self.factors.len()).rev() {
            script.push(with(&[place], 1, 5, 0, 1));
            script.push(with(&[place], 6, 63, 0, 1));
        }
        script.extend(scans.iter().map(|all| with(all, 0, 0, 1, 0)));
        script.extend((0..self.factors.len()).map(|place| with(&[place], 1, 63, 1, 0)));
        self.scans = script;
        self.is_progressive = true;
        self
    }

    /// The frame, as its header is read.
    fn frame(&self) -> Vec<u8> {
        let [width, height] =
            [self.size.0, self.size.1].map(|side| u16::try_from(side).unwrap().to_be_bytes());
        let count = u8::try_from(self.factors.len()).unwrap();
        let mut data = [&[8][..], &height, &width, &[count]].concat();
        for (id, (across, down)) in (1..).zip(&self.factors) {
            data.extend([id, across << 4 | down, 0]);
        }
        data
    }

    fn blocks(&self, frame: &Frame, place: usize, one: &FrameComponent) -> Vec<Coefficients> {
        let (columns, rows) = frame.units();
        let (most_across, most_down) = frame.most();
        let at = |position: usize, most: usize, factor: usize, side: u32| {
            (position as f64 + 0.5) * most as f64 / factor as f64 / f64::from(side)
        };
        let mut blocks = Vec::new();
        for row in 0..rows * one.down {
            for column in 0..columns * one.across {
                blocks.push(transformed(|x, y| {
                    component(
                        place,
                        at(column * 8 + x, most_across, one.across, self.size.0),
                        at(row * 8 + y, most_down, one.down, self.size.1),
                    )
                }));
            }
        }
        blocks
    }

    /// The file.
    pub(super) fn write(&self) -> Vec<u8> {
        let marker = if self.is_progressive { 0xC2 } else { 0xC0 };
        let header = self.frame();
        let frame = Frame::parse(marker, &header).unwrap();
        let mut file = vec![0xFF, 0xD8];
        let segment = |file: &mut Vec<u8>, marker: u8, data: &[u8]| {
            file.extend([0xFF, marker]);
            file.extend(u16::try_from(data.len() + 2).unwrap().to_be_bytes());
            file.extend(data);
        };
        segment(&mut file, 0xDB, &[&[0][..], &[QUANTUM; 64]].concat());
        segment(&mut file, marker, &header);
        let (means, others) = (0..12_u8, 0..16 * SIZES);
        let others = others.map(|code| u8::try_from(code / SIZES * 16 + code % SIZES).unwrap());
        let mut counts = [0; 16];
        counts[3] = 12;
        segment(&mut file, 0xC4, &[&[0x00][..], &counts, &means.collect::<Vec<_>>()].concat());
        counts = [0; 16];
        counts[7] = u8::try_from(16 * SIZES).unwrap();
        segment(&mut file, 0xC4, &[&[0x10][..], &counts, &others.collect::<Vec<_>>()].concat());
        if self.interval > 0 {
            segment(&mut file, 0xDD, &self.interval.to_be_bytes());
        }
        let components = frame.components.clone();
        let blocks = (0..).zip(&components).map(|(place, one)| self.blocks(&frame, place, one));
        let blocks = blocks.collect();
        let (bits, means) = (BitWriter::default(), [0; 4]);
        let mut encoder = Encoder { sketch: self, frame, blocks, bits, means, empty_blocks: 0 };
        for scan in &self.scans {
            let byte = |value: usize| u8::try_from(value).unwrap();
            let mut data = vec![byte(scan.components.len())];
            data.extend(scan.components.iter().flat_map(|place| [byte(*place) + 1, 0]));
            data.extend([byte(scan.first), byte(scan.last), scan.high << 4 | scan.low]);
            segment(&mut file, 0xDA, &data);
            file.extend(encoder.scan(scan));
        }
        file.extend([0xFF, 0xD9]);
        file
    }
}

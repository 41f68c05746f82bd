//! Huffman codes of a JPEG, and the bits that they are read from.

use super::damage::Damage;

/// Codes of at most so many bits are found in one step.
const FAST: u32 = 10;

/// A table of codes.
pub(super) struct Codes {
    /// By the next bits: the code's length and its symbol; length 0 where it is longer.
    fast: Box<[(u8, u8); 1 << FAST]>,
    /// Behind the last code of each length, with 16 bits.
    ends: [u32; 17],
    /// What is added to a code of a length for the place of its symbol.
    places: [i32; 17],
    symbols: Vec<u8>,
}

impl Codes {
    /// Reads the tables of a segment, each with its class (0 means, 1 others) and number. `None` if
    /// it is damaged.
    pub(super) fn parse(mut data: &[u8]) -> Option<Vec<(usize, usize, Self)>> {
        let mut tables = Vec::new();
        while let Some((place, rest)) = data.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let (class, number) = (usize::from(place >> 4), usize::from(place & 15));
            if class > 1 || number > 3 {
                return None;
            }
            tables.push((class, number, Self::new(counts, symbols)?));
            data = rest;
        }
        Some(tables)
    }

    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let (mut ends, mut places) = ([0; 17], [0; 17]);
        let mut fast = Box::new([(0, 0); 1 << FAST]);
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, count) in (1_u8..).zip(counts) {
            code <<= 1;
            let index = usize::from(length);
            places[index] = i32::try_from(place).ok()? - i32::try_from(code).ok()?;
            for _ in 0..*count {
                if u32::from(length) <= FAST {
                    let free = FAST - u32::from(length);
                    let from = (code << free) as usize;
                    fast.get_mut(from..from + (1 << free))?.fill((length, symbols[place]));
                }
                code += 1;
                place += 1;
            }
            if code > 1 << length {
                return None;
            }
            ends[index] = code << (16 - length);
        }
        Some(Self { fast, ends, places, symbols: symbols.to_vec() })
    }

    /// A code of more bits, among the next 16: its symbol and its length.
    #[cold]
    fn find(&self, bits: u64) -> Option<(u8, u32)> {
        let bits = u32::try_from(bits).ok()?;
        let length = (FAST + 1..=16).find(|length| bits < self.ends[*length as usize])?;
        let code = i32::try_from(bits >> (16 - length)).ok()?;
        let place = usize::try_from(code + self.places[length as usize]).ok()?;
        Some((*self.symbols.get(place)?, length))
    }
}

/// Entropy-coded data, bit by bit, highest first.
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, highest first, and how many there are.
    buffer: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0 }
    }

    /// Has more than 55 bits at hand, as far as there are so many.
    #[inline]
    fn fill(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        if let Some(next) = self.data.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let next = u64::from_be_bytes(*next);
            // None of the bytes is 255. A part of one that is not counted is what comes next in any
            // case.
            if (!next).wrapping_sub(ONES) & next & (ONES << 7) == 0 {
                self.buffer |= next >> self.count;
                self.at += (63 - self.count as usize) / 8;
                self.count |= 0x38;
                return;
            }
        }
        self.fill_slowly();
    }

    fn fill_slowly(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.data.get(self.at) else { return };
            let length = if *byte == 0xFF {
                // A marker ends the data.
                if self.data.get(self.at + 1) != Some(&0) {
                    return;
                }
                2
            } else {
                1
            };
            self.at += length;
            self.buffer |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn drop(&mut self, count: u32) -> Result<(), Damage> {
        self.count = self.count.checked_sub(count).ok_or(Damage::EndsEarly)?;
        self.buffer <<= count;
        Ok(())
    }

    /// At most 16 bits.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Damage> {
        if self.count < count {
            self.fill();
        }
        // In two steps: there may be none to take.
        let value = self.buffer >> 32 >> (32 - count);
        self.drop(count)?;
        Ok(u32::try_from(value).unwrap_or_default())
    }

    /// The symbol of the next code, and behind it as many bits as the symbol's lower half says.
    #[inline]
    pub(super) fn symbol(&mut self, codes: &Codes) -> Result<(u8, u32), Damage> {
        if self.count < 32 {
            self.fill();
        }
        let (length, symbol) = codes.fast[(self.buffer >> (64 - FAST)) as usize];
        let (symbol, length) = if length > 0 {
            (symbol, u32::from(length))
        } else {
            match codes.find(self.buffer >> 48) {
                Some(found) => found,
                None if self.count < 16 => return Err(Damage::EndsEarly),
                None => return Err(Damage::Garbled),
            }
        };
        let size = u32::from(symbol & 15);
        let value = self.buffer << length >> 32 >> (32 - size);
        self.drop(length + size)?;
        Ok((symbol, u32::try_from(value).unwrap_or_default()))
    }

    /// The bytes of which no bit was taken.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        for _ in 0..self.count / 8 {
            self.at -= 1;
            // A coded 255.
            if self.data[self.at] == 0 && self.at > 0 && self.data[self.at - 1] == 0xFF {
                self.at -= 1;
            }
        }
        (self.buffer, self.count) = (0, 0);
        &self.data[self.at..]
    }

    /// Goes on behind the restart marker that comes next; they are numbered from 0 to 7.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Damage> {
        let rest = self.rest();
        let filled = rest.iter().take_while(|byte| **byte == 0xFF).count();
        match rest.get(filled) {
            Some(code) if filled > 0 && *code == 0xD0 + number % 8 => self.at += filled + 1,
            Some(_) => return Err(Damage::Garbled),
            None => return Err(Damage::EndsEarly),
        }
        Ok(())
    }
}

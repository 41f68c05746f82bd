//! The codes of one block in one scan.

use super::{
    codes::{BitReader, Codes},
    damage::Damage,
    segments::{FrameComponent, Scan},
};

/// Eight times the darkest sample's distance from grey.
const MOST_MEAN: i32 = 1_024;

/// One component in one scan.
pub(super) struct ComponentScan<'a> {
    /// How many there are in a unit.
    pub(super) blocks: FrameComponent,
    /// Blocks from left to right.
    pub(super) width: usize,
    pub(super) means: Option<&'a Codes>,
    pub(super) others: Option<&'a Codes>,
    pub(super) nonzero: &'a mut [u64],
    pub(super) quantum: i32,
    /// The last one: the next is coded as the difference from it.
    pub(super) mean: i32,
}

impl ComponentScan<'_> {
    #[inline]
    pub(super) fn read_mean(&mut self, low: u8, bits: &mut BitReader<'_>) -> Result<(), Damage> {
        let (size, value) = bits.symbol(self.means.ok_or(Damage::Garbled)?)?;
        // Differences of samples of 8 bits have 11 bits.
        if size > 11 {
            return Err(Damage::Garbled);
        }
        let value = value.cast_signed();
        let is_negative = size > 0 && value < 1 << (size - 1);
        let difference = if is_negative { value - (1 << size) + 1 } else { value };
        self.mean = self.mean.wrapping_add(difference);
        // No sample is darker than black or lighter than white by more than what rounding does.
        let quantum = self.quantum << low;
        if self.mean.wrapping_mul(quantum).abs() > MOST_MEAN + 2 * quantum {
            return Err(Damage::Garbled);
        }
        Ok(())
    }

    /// All coefficients of a block but the mean.
    #[inline]
    pub(super) fn read_others(&mut self, bits: &mut BitReader<'_>) -> Result<(), Damage> {
        let codes = self.others.ok_or(Damage::Garbled)?;
        let mut at = 1;
        while at < 64 {
            let (symbol, _) = bits.symbol(codes)?;
            if ends_block(symbol) {
                return Ok(());
            }
            at += u32::from(symbol >> 4) + 1;
        }
        if at > 64 { Err(Damage::Garbled) } else { Ok(()) }
    }

    /// What one scan of a progressive picture has of a block.
    pub(super) fn read_pass(
        &mut self,
        scan: &Scan,
        block: usize,
        empty_blocks: &mut u32,
        bits: &mut BitReader<'_>,
    ) -> Result<(), Damage> {
        if scan.first == 0 && scan.high == 0 {
            return self.read_mean(scan.low, bits);
        }
        if scan.first == 0 {
            return bits.take(1).map(|_| ());
        }
        let codes = self.others.ok_or(Damage::Garbled)?;
        let nonzero = self.nonzero.get_mut(block).ok_or(Damage::Garbled)?;
        let block = ScanBlock { scan, nonzero, bits };
        if scan.high == 0 {
            block.read_first(codes, empty_blocks)
        } else {
            block.refine(codes, empty_blocks)
        }
    }
}

/// Whether nothing more of a block comes: no bits, and not sixteen zeros.
fn ends_block(symbol: u8) -> bool {
    symbol.trailing_zeros() >= 4 && symbol != 0xF0
}

/// A block of a progressive picture in one scan.
struct ScanBlock<'a, 'b> {
    scan: &'a Scan,
    nonzero: &'a mut u64,
    bits: &'a mut BitReader<'b>,
}

impl ScanBlock<'_, '_> {
    /// Coefficients that had no bit as yet.
    fn read_first(self, codes: &Codes, empty_blocks: &mut u32) -> Result<(), Damage> {
        if *empty_blocks > 0 {
            *empty_blocks -= 1;
            return Ok(());
        }
        let mut at = self.scan.first;
        while at <= self.scan.last {
            let (symbol, _) = self.bits.symbol(codes)?;
            let zeros = u32::from(symbol >> 4);
            if ends_block(symbol) {
                *empty_blocks = (1 << zeros) + self.bits.take(zeros)? - 1;
                return Ok(());
            }
            at += zeros as usize;
            if at > self.scan.last {
                return Err(Damage::Garbled);
            }
            if symbol & 15 > 0 {
                *self.nonzero |= 1 << at;
            }
            at += 1;
        }
        Ok(())
    }

    /// One bit more of each coefficient that is not zero, and those that become something else now.
    fn refine(mut self, codes: &Codes, empty_blocks: &mut u32) -> Result<(), Damage> {
        let mut at = self.scan.first;
        if *empty_blocks == 0 {
            while at <= self.scan.last {
                let (symbol, _) = self.bits.symbol(codes)?;
                let (zeros, size) = (u32::from(symbol >> 4), symbol & 15);
                if ends_block(symbol) {
                    *empty_blocks = (1 << zeros) + self.bits.take(zeros)?;
                    break;
                }
                at = self.skip(at, zeros)?;
                if size > 1 || at > self.scan.last {
                    return Err(Damage::Garbled);
                }
                if size > 0 {
                    *self.nonzero |= 1 << at;
                }
                at += 1;
            }
        }
        if *empty_blocks > 0 {
            self.skip(at, u32::MAX)?;
            *empty_blocks -= 1;
        }
        Ok(())
    }

    /// Goes past so many zeros to the next one, with a bit for each coefficient on the way that is
    /// none.
    fn skip(&mut self, mut at: usize, mut zeros: u32) -> Result<usize, Damage> {
        while at <= self.scan.last {
            if *self.nonzero >> at & 1 == 1 {
                self.bits.take(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        Ok(at)
    }
}

//! Reads `FlatBuffers` tables without a schema compiler and without `unsafe`.
//!
//! The crate `flatbuffers` reads tables through generated code that is `unsafe` throughout, and
//! this project forbids that in code of its own. The format is small: a table is preceded by the
//! distance to its *vtable*, which says at which offset each field lies, 0 for a field that is
//! absent. Every read is checked against the length of the buffer. Nothing here is recursive, so a
//! buffer whose tables point at each other in a circle is harmless.
//!
//! Format: <https://flatbuffers.dev/internals/>.

/// Length of a scalar that holds an offset or a count.
const OFFSET: usize = 4;

/// A table in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    vtable: usize,
}

/// A list in a buffer: `length` elements from `first` on.
#[derive(Debug, Clone, Copy)]
struct Vector {
    first: usize,
    length: usize,
}

impl<'a> Table<'a> {
    /// The table that a buffer begins with.
    pub(super) fn root(buffer: &'a [u8]) -> Option<Self> {
        Self::new(buffer, follow(buffer, 0)?)
    }

    fn new(buffer: &'a [u8], at: usize) -> Option<Self> {
        let distance = i32::from_le_bytes(bytes(buffer, at)?);
        let vtable = at.checked_add_signed(isize::try_from(distance).ok()?.checked_neg()?)?;
        let _length: [u8; 2] = bytes(buffer, vtable)?;
        Some(Self { buffer, at, vtable })
    }

    /// Where a field lies; `None` if it is absent.
    fn field(&self, id: usize) -> Option<usize> {
        let length = u16::from_le_bytes(bytes(self.buffer, self.vtable)?);
        let entry = 2 * (id + 2);
        if entry + 2 > usize::from(length) {
            return None;
        }
        let offset = u16::from_le_bytes(bytes(self.buffer, self.vtable.checked_add(entry)?)?);
        (offset != 0).then_some(self.at + usize::from(offset))
    }

    /// A field of eight bits; `default` if it is absent.
    pub(super) fn byte(&self, id: usize, default: u8) -> Option<u8> {
        self.field(id).map_or(Some(default), |at| self.buffer.get(at).copied())
    }

    /// A field of 32 bits; `default` if it is absent.
    pub(super) fn number(&self, id: usize, default: i32) -> Option<i32> {
        self.field(id).map_or(Some(default), |at| bytes(self.buffer, at).map(i32::from_le_bytes))
    }

    /// A field that is a table.
    pub(super) fn table(&self, id: usize) -> Option<Self> {
        Self::new(self.buffer, follow(self.buffer, self.field(id)?)?)
    }

    /// A field that is a list of tables; `None` where it or one of them is malformed, no table if
    /// it is absent.
    pub(super) fn tables(&self, id: usize) -> Option<Vec<Self>> {
        let Vector { first, length } = self.vector(id, OFFSET)?;
        let each = (0..length).map(|i| first + i * OFFSET);
        each.map(|at| Self::new(self.buffer, follow(self.buffer, at)?)).collect()
    }

    /// A field that is a list of 32-bit numbers; none if it is absent.
    pub(super) fn numbers(&self, id: usize) -> Option<Vec<i32>> {
        let Vector { first, length } = self.vector(id, 4)?;
        (0..length).map(|i| bytes(self.buffer, first + i * 4).map(i32::from_le_bytes)).collect()
    }

    /// A field that is a list of bytes; none if it is absent.
    pub(super) fn bytes(&self, id: usize) -> Option<&'a [u8]> {
        let Vector { first, length } = self.vector(id, 1)?;
        self.buffer.get(first..first + length)
    }

    /// A field that is text; empty if it is absent.
    pub(super) fn text(&self, id: usize) -> Option<&'a str> {
        str::from_utf8(self.bytes(id)?).ok()
    }

    /// A list whose elements, `width` bytes each, all lie in the buffer.
    fn vector(&self, id: usize, width: usize) -> Option<Vector> {
        let Some(field) = self.field(id) else { return Some(Vector { first: 0, length: 0 }) };
        let at = follow(self.buffer, field)?;
        let length = usize::try_from(u32::from_le_bytes(bytes(self.buffer, at)?)).ok()?;
        let first = at.checked_add(OFFSET)?;
        let end = length.checked_mul(width)?.checked_add(first)?;
        (end <= self.buffer.len()).then_some(Vector { first, length })
    }
}

/// The position that the offset at `at` points to.
fn follow(buffer: &[u8], at: usize) -> Option<usize> {
    let offset = u32::from_le_bytes(bytes(buffer, at)?);
    at.checked_add(usize::try_from(offset).ok()?)
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Option<[u8; N]> {
    buffer.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root table at 12 whose vtable at 4 has two fields: a number and a list of bytes.
    fn buffer() -> Vec<u8> {
        let mut buffer = vec![12, 0, 0, 0];
        buffer.extend([8, 0, 12, 0, 4, 0, 8, 0]);
        buffer.extend(8_i32.to_le_bytes());
        buffer.extend((-7_i32).to_le_bytes());
        buffer.extend(4_u32.to_le_bytes());
        buffer.extend(3_u32.to_le_bytes());
        buffer.extend(*b"abc");
        buffer
    }

    #[test]
    fn fields_are_found_and_absent_ones_have_their_default() {
        let buffer = buffer();
        let table = Table::root(&buffer).unwrap();
        assert_eq!(table.number(0, 5), Some(-7));
        assert_eq!(table.text(1), Some("abc"));
        assert_eq!(table.number(2, 5), Some(5));
        assert_eq!(table.byte(9, 1), Some(1));
        assert_eq!(table.numbers(2), Some(Vec::new()));
        assert!(table.table(2).is_none());
    }

    #[test]
    fn a_buffer_cut_short_or_changed_anywhere_never_panics() {
        let whole = buffer();
        let read = |buffer: &[u8]| {
            let table = Table::root(buffer)?;
            table.number(0, 0)?;
            table.bytes(1)?;
            table.tables(1)?;
            table.numbers(1)
        };
        for end in 0..whole.len() {
            assert!(Table::root(&whole[..end]).and_then(|table| table.bytes(1)).is_none());
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                read(&changed);
            }
        }
    }
}

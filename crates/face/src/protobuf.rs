//! Messages of protobuf, read and written field by field: what an ONNX file is made of.
//!
//! <https://protobuf.dev/programming-guides/encoding/#structure>

/// The first field `number` of a message, if it has bytes.
pub(super) fn child(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message)?.into_iter().find(|field| field.number == number)?.content.bytes()
}

/// A field of a message.
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) content: Content<'a>,
    /// With its tag.
    pub(super) whole: &'a [u8],
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Number(u64),
    /// A text, a message, or a packed list.
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Content<'a> {
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The fields of a message; `None` if it is malformed.
pub(super) fn fields(mut message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let start = message;
        let tag = varint(&mut message)?;
        let content = match tag & 7 {
            0 => Content::Number(varint(&mut message)?),
            1 => message.split_off(..8).map(|_| Content::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Content::Bytes(message.split_off(..length)?)
            }
            5 => message.split_off(..4).map(|_| Content::Other)?,
            _ => return None,
        };
        let whole = &start[..start.len() - message.len()];
        found.push(Field { number: tag >> 3, content, whole });
    }
    Some(found)
}

/// Takes a number from the front: seven bits per byte, lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A message in the making.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

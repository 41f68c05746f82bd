//! Writes small TensorFlow Lite models for tests.
//!
//! The thing to know: what it writes may be right or wrong. Every tensor has a buffer of its own,
//! and every operator an operator code of its own. Tables are written before what their fields
//! point to, as offsets only lead forward.

/// A field of a table; its id is its position in the list.
#[derive(Debug, Clone)]
pub(super) enum Field {
    Absent,
    Byte(u8),
    Number(i32),
    Numbers(Vec<i32>),
    Bytes(Vec<u8>),
    TestTable(TestTable),
    Tables(Vec<TestTable>),
}

use Field::{Absent, Byte, Bytes, Number, Numbers, Tables};

pub(super) type TestTable = Vec<Field>;

/// What an operator is.
#[derive(Debug, Clone, Copy)]
pub(super) enum TestOperator {
    Builtin(i32),
    Custom(&'static str),
}

/// A model in the making; its first tensor is its input and its last one its output.
#[derive(Debug, Default)]
pub(super) struct TestModel {
    tensors: Vec<TestTable>,
    buffers: Vec<TestTable>,
    codes: Vec<TestTable>,
    operators: Vec<TestTable>,
}

impl TestModel {
    /// A model with one input called `in`.
    pub(super) fn with_input(shape: &[i32]) -> (Self, i32) {
        let mut model = Self::default();
        let input = model.tensor("in", shape, &[]);
        (model, input)
    }

    /// Adds a tensor, a constant if it has values, and returns its position.
    pub(super) fn tensor(&mut self, name: &str, shape: &[i32], values: &[f32]) -> i32 {
        let index = i32::try_from(self.tensors.len()).unwrap();
        let (shape, name) = (Numbers(shape.to_vec()), Bytes(name.as_bytes().to_vec()));
        self.tensors.push(vec![shape, Byte(0), Number(index), name]);
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.buffers.push(vec![Bytes(data)]);
        index
    }

    /// Adds an operator and the tensor that it yields, and returns the position of that.
    pub(super) fn operator(
        &mut self,
        code: TestOperator,
        options: TestTable,
        inputs: &[i32],
        name: &str,
        shape: &[i32],
    ) -> i32 {
        let output = self.tensor(name, shape, &[]);
        let index = i32::try_from(self.codes.len()).unwrap();
        self.codes.push(match code {
            // The field of eight bits for older readers, custom name, version, the code itself.
            TestOperator::Builtin(code) => {
                let old = u8::try_from(code.min(127)).unwrap();
                vec![Byte(old), Absent, Number(1), Number(code)]
            }
            TestOperator::Custom(name) => {
                vec![Byte(32), Bytes(name.as_bytes().to_vec()), Number(1), Number(32)]
            }
        });
        let (inputs, outputs) = (Numbers(inputs.to_vec()), Numbers(vec![output]));
        self.operators.push(vec![
            Number(index),
            inputs,
            outputs,
            Byte(1),
            Field::TestTable(options),
        ]);
        output
    }

    /// The bytes of the model.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let last = i32::try_from(self.tensors.len()).unwrap() - 1;
        let graph = vec![
            Tables(self.tensors.clone()),
            Numbers(vec![0]),
            Numbers(vec![last]),
            Tables(self.operators.clone()),
        ];
        let root = vec![
            Number(3),
            Tables(self.codes.clone()),
            Tables(vec![graph]),
            Absent,
            Tables(self.buffers.clone()),
        ];
        let mut bytes = b"\0\0\0\0TFL3".to_vec();
        let at = table(&mut bytes, &root);
        point(&mut bytes, 0, at);
        bytes
    }
}

/// Writes a table and all that it points to; returns where it lies.
fn table(bytes: &mut Vec<u8>, fields: &[Field]) -> usize {
    let vtable = bytes.len();
    let length = |entries: usize| u16::try_from(4 + entries).unwrap().to_le_bytes();
    bytes.extend(length(2 * fields.len()));
    bytes.extend(length(4 * fields.len()));
    for (id, field) in fields.iter().enumerate() {
        bytes.extend(if matches!(field, Absent) { [0; 2] } else { length(4 * id) });
    }
    let at = bytes.len();
    bytes.extend(u32::try_from(at - vtable).unwrap().to_le_bytes());
    bytes.resize(at + 4 + 4 * fields.len(), 0);
    for (id, field) in fields.iter().enumerate() {
        let slot = at + 4 + 4 * id;
        match field {
            Absent => {}
            Byte(value) => bytes[slot] = *value,
            Number(value) => bytes[slot..slot + 4].copy_from_slice(&value.to_le_bytes()),
            Numbers(values) => {
                let raw = values.iter().flat_map(|value| value.to_le_bytes());
                let raw: Vec<u8> = raw.collect();
                vector(bytes, slot, values.len(), &raw);
            }
            Bytes(raw) => vector(bytes, slot, raw.len(), raw),
            Field::TestTable(fields) => {
                let child = table(bytes, fields);
                point(bytes, slot, child);
            }
            Tables(tables) => {
                vector(bytes, slot, tables.len(), &vec![0; 4 * tables.len()]);
                let first = bytes.len() - 4 * tables.len();
                for (index, fields) in tables.iter().enumerate() {
                    let child = table(bytes, fields);
                    point(bytes, first + 4 * index, child);
                }
            }
        }
    }
    at
}

/// Writes a list of so many elements and lets `slot` point to it.
fn vector(bytes: &mut Vec<u8>, slot: usize, length: usize, raw: &[u8]) {
    let at = bytes.len();
    point(bytes, slot, at);
    bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
    bytes.extend(raw);
}

/// Writes the offset at `slot` that leads to `at`.
fn point(bytes: &mut [u8], slot: usize, at: usize) {
    let offset = u32::try_from(at - slot).unwrap();
    bytes[slot..slot + 4].copy_from_slice(&offset.to_le_bytes());
}

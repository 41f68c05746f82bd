//! Writes the few kinds of protobuf messages that an ONNX file is made of.
//!
//! The thing to know: protobuf leaves the order of fields open, so two right writers may yield
//! different bytes. This one writes fields in the order of their numbers, always, and lists of
//! integers unpacked, as `onnx.proto` (proto2) declares them; digests of results rely on both.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/v1.16.0/onnx/onnx.proto>.

use crate::graph::OPEN;

const MODEL_IR_VERSION: u32 = 1;
const MODEL_PRODUCER_NAME: u32 = 2;
const MODEL_GRAPH: u32 = 7;
const MODEL_OPSET_IMPORT: u32 = 8;
const OPSET_VERSION: u32 = 2;
const GRAPH_NODE: u32 = 1;
const GRAPH_NAME: u32 = 2;
const GRAPH_INITIALIZER: u32 = 5;
const GRAPH_INPUT: u32 = 11;
const GRAPH_OUTPUT: u32 = 12;
const NODE_INPUT: u32 = 1;
const NODE_OUTPUT: u32 = 2;
const NODE_NAME: u32 = 3;
const NODE_OP_TYPE: u32 = 4;
const NODE_ATTRIBUTE: u32 = 5;
const ATTRIBUTE_NAME: u32 = 1;
const ATTRIBUTE_F: u32 = 2;
const ATTRIBUTE_I: u32 = 3;
const ATTRIBUTE_S: u32 = 4;
const ATTRIBUTE_INTS: u32 = 8;
const ATTRIBUTE_TYPE: u32 = 20;
/// `AttributeProto.AttributeType`.
const TYPE_FLOAT: u64 = 1;
const TYPE_INT: u64 = 2;
const TYPE_STRING: u64 = 3;
const TYPE_INTS: u64 = 7;
const TENSOR_DIMS: u32 = 1;
const TENSOR_DATA_TYPE: u32 = 2;
const TENSOR_NAME: u32 = 8;
const TENSOR_RAW_DATA: u32 = 9;
/// `TensorProto.DataType`.
const DATA_FLOAT: u64 = 1;
const DATA_UINT8: u64 = 2;
const DATA_INT8: u64 = 3;
const DATA_INT32: u64 = 6;
const DATA_INT64: u64 = 7;
const VALUE_INFO_NAME: u32 = 1;
const VALUE_INFO_TYPE: u32 = 2;
const TYPE_TENSOR: u32 = 1;
const TENSOR_TYPE_ELEMENT: u32 = 1;
const TENSOR_TYPE_SHAPE: u32 = 2;
const SHAPE_DIM: u32 = 1;
const DIM_VALUE: u32 = 1;
const DIM_PARAM: u32 = 2;

/// Wire types: <https://protobuf.dev/programming-guides/encoding/#structure>.
const WIRE_VARINT: u32 = 0;
const WIRE_LENGTH: u32 = 2;
const WIRE_FIXED32: u32 = 5;

const IR_VERSION: u64 = 8;
const OPSET: u64 = 13;
const PRODUCER: &str = "visavis";
const BATCH: &str = "batch";

/// An ONNX graph whose inputs and outputs are in single precision, with an open batch axis.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Its name.
    pub(super) name: String,
    /// Its operations, in an order in which they can be computed.
    pub(super) nodes: Vec<Node>,
    /// Its constants.
    pub(super) initializers: Vec<Initializer>,
    /// What it takes.
    pub(super) inputs: Vec<Port>,
    /// What it yields.
    pub(super) outputs: Vec<Port>,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Node {
    /// Its own name, for messages.
    pub(super) name: String,
    /// Which operation.
    pub(super) op: &'static str,
    /// Names of the tensors it takes.
    pub(super) inputs: Vec<String>,
    /// Name of the tensor it yields.
    pub(super) output: String,
    /// Its attributes.
    pub(super) attributes: Vec<(&'static str, Attribute)>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Float(f32),
    Int(usize),
    Ints(Vec<usize>),
    Text(&'static str),
}

/// A constant tensor.
#[derive(Debug)]
pub(super) struct Initializer {
    /// Its name.
    pub(super) name: String,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// Its values.
    pub(super) values: Values,
}

/// Values of a constant tensor, row by row.
#[derive(Debug)]
pub(super) enum Values {
    Floats(Vec<f32>),
    Integers(Vec<i64>),
    Bytes(Vec<u8>),
    Signed(Vec<i8>),
    Words(Vec<i32>),
}

/// An input or output of the graph.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// Its name.
    pub(super) name: String,
    /// Sizes of the axes after the batch axis; [`OPEN`] for one that is left open.
    pub(super) item: Vec<usize>,
}

impl Graph {
    /// The bytes of an ONNX file (`ModelProto`) with this graph.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut graph = ProtoMessage::default();
        for node in &self.nodes {
            graph.message(GRAPH_NODE, &node.encode());
        }
        graph.text(GRAPH_NAME, &self.name);
        for initializer in &self.initializers {
            graph.message(GRAPH_INITIALIZER, &initializer.encode());
        }
        for input in &self.inputs {
            graph.message(GRAPH_INPUT, &input.encode());
        }
        for output in &self.outputs {
            graph.message(GRAPH_OUTPUT, &output.encode());
        }
        let mut opset = ProtoMessage::default();
        opset.number(OPSET_VERSION, OPSET);
        let mut model = ProtoMessage::default();
        model.number(MODEL_IR_VERSION, IR_VERSION);
        model.text(MODEL_PRODUCER_NAME, PRODUCER);
        model.message(MODEL_GRAPH, &graph);
        model.message(MODEL_OPSET_IMPORT, &opset);
        model.0
    }
}

impl Node {
    fn encode(&self) -> ProtoMessage {
        let mut node = ProtoMessage::default();
        for input in &self.inputs {
            node.text(NODE_INPUT, input);
        }
        node.text(NODE_OUTPUT, &self.output);
        node.text(NODE_NAME, &self.name);
        node.text(NODE_OP_TYPE, self.op);
        for (name, value) in &self.attributes {
            let mut attribute = ProtoMessage::default();
            attribute.text(ATTRIBUTE_NAME, name);
            let kind = match value {
                Attribute::Float(value) => {
                    attribute.float(ATTRIBUTE_F, *value);
                    TYPE_FLOAT
                }
                Attribute::Int(value) => {
                    attribute.number(ATTRIBUTE_I, *value as u64);
                    TYPE_INT
                }
                Attribute::Ints(values) => {
                    attribute.numbers(ATTRIBUTE_INTS, values);
                    TYPE_INTS
                }
                Attribute::Text(text) => {
                    attribute.text(ATTRIBUTE_S, text);
                    TYPE_STRING
                }
            };
            attribute.number(ATTRIBUTE_TYPE, kind);
            node.message(NODE_ATTRIBUTE, &attribute);
        }
        node
    }
}

impl Initializer {
    fn encode(&self) -> ProtoMessage {
        let (kind, raw): (u64, Vec<u8>) = match &self.values {
            Values::Floats(values) => {
                (DATA_FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Values::Integers(values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (DATA_INT64, bytes.collect())
            }
            Values::Bytes(values) => (DATA_UINT8, values.clone()),
            Values::Signed(values) => {
                (DATA_INT8, values.iter().map(|value| value.to_le_bytes()[0]).collect())
            }
            Values::Words(values) => {
                (DATA_INT32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        };
        let mut tensor = ProtoMessage::default();
        tensor.numbers(TENSOR_DIMS, &self.shape);
        tensor.number(TENSOR_DATA_TYPE, kind);
        tensor.text(TENSOR_NAME, &self.name);
        tensor.bytes(TENSOR_RAW_DATA, &raw);
        tensor
    }
}

impl Port {
    fn encode(&self) -> ProtoMessage {
        let mut shape = ProtoMessage::default();
        let mut batch = ProtoMessage::default();
        batch.text(DIM_PARAM, BATCH);
        shape.message(SHAPE_DIM, &batch);
        for size in &self.item {
            let mut dim = ProtoMessage::default();
            if *size != OPEN {
                dim.number(DIM_VALUE, *size as u64);
            }
            shape.message(SHAPE_DIM, &dim);
        }
        let mut tensor = ProtoMessage::default();
        tensor.number(TENSOR_TYPE_ELEMENT, DATA_FLOAT);
        tensor.message(TENSOR_TYPE_SHAPE, &shape);
        let mut kind = ProtoMessage::default();
        kind.message(TYPE_TENSOR, &tensor);
        let mut port = ProtoMessage::default();
        port.text(VALUE_INFO_NAME, &self.name);
        port.message(VALUE_INFO_TYPE, &kind);
        port
    }
}

/// A protobuf message in the making. Callers add fields in the order of their numbers.
#[derive(Debug, Default)]
struct ProtoMessage(Vec<u8>);

impl ProtoMessage {
    /// A number of any integer type; all that occur here are not negative and encode alike.
    fn number(&mut self, field: u32, value: u64) {
        self.tag(field, WIRE_VARINT);
        self.varint(value);
    }

    fn numbers(&mut self, field: u32, values: &[usize]) {
        for value in values {
            self.number(field, *value as u64);
        }
    }

    fn float(&mut self, field: u32, value: f32) {
        self.tag(field, WIRE_FIXED32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    fn message(&mut self, field: u32, value: &ProtoMessage) {
        self.bytes(field, &value.0);
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, WIRE_LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// Seven bits a byte, lowest first, the top bit set on all but the last.
    fn varint(&mut self, mut value: u64) {
        loop {
            let low = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(value: u64) -> Vec<u8> {
        let mut message = ProtoMessage::default();
        message.varint(value);
        message.0
    }

    #[test]
    fn varints_match_known_vectors() {
        assert_eq!(varint(0), [0x00]);
        assert_eq!(varint(1), [0x01]);
        assert_eq!(varint(127), [0x7f]);
        assert_eq!(varint(128), [0x80, 0x01]);
        assert_eq!(varint(150), [0x96, 0x01]);
        assert_eq!(varint(300), [0xac, 0x02]);
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(u64::MAX), longest);
    }

    #[test]
    fn fields_match_known_vectors() {
        let mut message = ProtoMessage::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.float(20, 1.0);
        let numbers = [0x08, 0x96, 0x01];
        let text = [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        let float = [0xa5, 0x01, 0x00, 0x00, 0x80, 0x3f];
        assert_eq!(message.0, [numbers.as_slice(), &text, &float].concat());
    }

    #[test]
    fn a_model_without_a_graph_carries_versions_and_producer() {
        let model = Graph::default().encode();
        let expected = b"\x08\x08\x12\x07visavis\x3a\x02\x12\x00\x42\x02\x10\x0d";
        assert_eq!(model, expected);
    }

    #[test]
    fn a_port_opens_with_the_batch_axis() {
        let port = Port { name: "in".to_owned(), item: vec![3] };
        let head = b"\x0a\x02in\x12\x13\x0a\x11\x08\x01\x12\x0d";
        let dims = b"\x0a\x07\x12\x05batch\x0a\x02\x08\x03";
        let expected = [head.as_slice(), dims].concat();
        assert_eq!(port.encode().0, expected);
    }
}

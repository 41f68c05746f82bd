//! The graph of an ONNX model, as far as rewriting its operations needs it.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/v1.16.0/onnx/onnx.proto>.

use std::collections::HashMap;

use super::protobuf::{Content, Field, Message, child, fields, varint};

pub(super) const MODEL_GRAPH: u64 = 7;
pub(super) const GRAPH_NODE: u64 = 1;
pub(super) const GRAPH_INITIALIZER: u64 = 5;
pub(super) const GRAPH_INPUT: u64 = 11;
pub(super) const GRAPH_OUTPUT: u64 = 12;
pub(super) const VALUE_NAME: u64 = 1;
pub(super) const NODE_INPUT: u64 = 1;
pub(super) const NODE_OUTPUT: u64 = 2;
pub(super) const NODE_OP_TYPE: u64 = 4;
pub(super) const NODE_ATTRIBUTE: u64 = 5;
pub(super) const ATTRIBUTE_NAME: u64 = 1;
pub(super) const ATTRIBUTE_I: u64 = 3;
pub(super) const ATTRIBUTE_S: u64 = 4;
pub(super) const ATTRIBUTE_INTS: u64 = 8;
pub(super) const ATTRIBUTE_TYPE: u64 = 20;
pub(super) const TYPE_STRING: u64 = 3;
const TENSOR_DIMS: u64 = 1;
const TENSOR_DATA_TYPE: u64 = 2;
const TENSOR_NAME: u64 = 8;
pub(super) const TENSOR_RAW_DATA: u64 = 9;
const DATA_FLOAT: u64 = 1;

/// A model of one graph.
pub(super) struct Model<'a> {
    fields: Vec<Field<'a>>,
    graph: Vec<Field<'a>>,
    /// Its operations, in their order.
    pub(super) nodes: Vec<Node<'a>>,
}

impl<'a> Model<'a> {
    /// `None` for bytes that are no model of one graph.
    pub(super) fn read(model: &'a [u8]) -> Option<Self> {
        let outer = fields(model)?;
        let mut graphs = outer.iter().filter(|field| field.number == MODEL_GRAPH);
        let (Some(Content::Bytes(graph)), None) = (graphs.next().map(|f| f.content), graphs.next())
        else {
            return None;
        };
        let graph = fields(graph)?;
        let nodes = messages(&graph, GRAPH_NODE).map(Node::read).collect::<Option<Vec<_>>>()?;
        Some(Self { fields: outer, graph, nodes })
    }

    /// The messages of its graph with a field number.
    pub(super) fn messages(&self, number: u64) -> impl Iterator<Item = &'a [u8]> {
        messages(&self.graph, number)
    }

    /// The operation that each value comes from.
    pub(super) fn producers(&self) -> HashMap<&'a [u8], &Node<'a>> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|node| node.outputs.iter().map(move |name| (*name, node))).collect()
    }

    /// The model with some operations replaced: those for which `replace` returns others, and what
    /// they need, as fields of the graph. `None` if there are none.
    pub(super) fn replacing(
        &self,
        replace: impl FnMut(&Node<'a>) -> Option<Message>,
    ) -> Option<Vec<u8>> {
        // All before the first copy: most models have nothing to replace, and some are large.
        let replaced: Vec<_> = self.nodes.iter().map(replace).collect();
        if replaced.iter().all(Option::is_none) {
            return None;
        }
        let (mut graph, mut replaced) = (Message::default(), replaced.into_iter());
        for field in &self.graph {
            let node = if field.number == GRAPH_NODE { replaced.next().flatten() } else { None };
            graph.0.extend_from_slice(node.as_ref().map_or(field.whole, |others| &others.0));
        }
        let mut model = Message::default();
        for field in &self.fields {
            match field.number {
                MODEL_GRAPH => model.bytes(MODEL_GRAPH, &graph.0),
                _ => model.0.extend_from_slice(field.whole),
            }
        }
        Some(model.0)
    }
}

fn messages<'a>(fields: &[Field<'a>], number: u64) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |f| f.number == number).filter_map(|f| f.content.bytes())
}

/// An operation.
pub(super) struct Node<'a> {
    pub(super) op: &'a [u8],
    pub(super) inputs: Vec<&'a [u8]>,
    pub(super) outputs: Vec<&'a [u8]>,
    attributes: Vec<&'a [u8]>,
}

impl<'a> Node<'a> {
    fn read(node: &'a [u8]) -> Option<Self> {
        let mut read =
            Self { op: b"", inputs: Vec::new(), outputs: Vec::new(), attributes: Vec::new() };
        for field in fields(node)? {
            match (field.number, field.content) {
                (NODE_INPUT, Content::Bytes(name)) => read.inputs.push(name),
                (NODE_OUTPUT, Content::Bytes(name)) => read.outputs.push(name),
                (NODE_OP_TYPE, Content::Bytes(op)) => read.op = op,
                (NODE_ATTRIBUTE, Content::Bytes(attribute)) => read.attributes.push(attribute),
                _ => {}
            }
        }
        Some(read)
    }

    /// An attribute, by its name.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        let named = |attribute| child(attribute, ATTRIBUTE_NAME) == Some(name.as_bytes());
        self.attributes.iter().copied().find(|attribute| named(attribute))
    }

    /// Writes an operation `op` with the attributes of this one.
    pub(super) fn write_as(&self, op: &[u8], inputs: &[&[u8]], output: &[u8], graph: &mut Message) {
        let mut node = Message::default();
        for input in inputs {
            node.bytes(NODE_INPUT, input);
        }
        node.bytes(NODE_OUTPUT, output);
        node.bytes(NODE_OP_TYPE, op);
        for attribute in &self.attributes {
            node.bytes(NODE_ATTRIBUTE, attribute);
        }
        graph.bytes(GRAPH_NODE, &node.0);
    }
}

/// Writes a constant with one axis.
pub(super) fn write_constant(name: &[u8], values: &[f32], graph: &mut Message) {
    let mut tensor = Message::default();
    tensor.number(TENSOR_DIMS, values.len() as u64);
    tensor.number(TENSOR_DATA_TYPE, DATA_FLOAT);
    tensor.bytes(TENSOR_NAME, name);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.bytes(TENSOR_RAW_DATA, &bytes);
    graph.bytes(GRAPH_INITIALIZER, &tensor.0);
}

/// The integers of an attribute, in either form in which protobuf writes lists.
pub(super) fn integers(attribute: &[u8]) -> Option<Vec<u64>> {
    let mut values = Vec::new();
    for field in fields(attribute)? {
        match (field.number, field.content) {
            (ATTRIBUTE_INTS, Content::Number(value)) => values.push(value),
            (ATTRIBUTE_INTS, Content::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    values.push(varint(&mut packed)?);
                }
            }
            _ => {}
        }
    }
    Some(values)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An operation without attributes; [`attribute`] makes some to be added to it.
    pub(in super::super) fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
        let mut node = Message::default();
        for input in inputs {
            node.bytes(NODE_INPUT, input.as_bytes());
        }
        node.bytes(NODE_OUTPUT, output.as_bytes());
        node.bytes(NODE_OP_TYPE, op.as_bytes());
        node.0
    }

    pub(in super::super) fn attribute(name: &str, values: &[u64]) -> Vec<u8> {
        let (mut node, mut attribute) = (Message::default(), Message::default());
        attribute.bytes(ATTRIBUTE_NAME, name.as_bytes());
        for value in values {
            attribute.number(ATTRIBUTE_INTS, *value);
        }
        node.bytes(NODE_ATTRIBUTE, &attribute.0);
        node.0
    }

    /// A model of these operations, and of `rest` in its graph.
    pub(in super::super) fn model(nodes: &[Vec<u8>], rest: &[u8]) -> Vec<u8> {
        let mut graph = Message::default();
        for node in nodes {
            graph.bytes(GRAPH_NODE, node);
        }
        graph.0.extend_from_slice(rest);
        let mut model = Message::default();
        model.number(1, 8);
        model.bytes(MODEL_GRAPH, &graph.0);
        model.0
    }

    /// Operations with their inputs.
    pub(in super::super) fn operations(model: &[u8]) -> Vec<(String, Vec<String>)> {
        let text = |bytes: &&[u8]| String::from_utf8_lossy(bytes).into_owned();
        let nodes = Model::read(model).unwrap().nodes;
        nodes.iter().map(|node| (text(&node.op), node.inputs.iter().map(text).collect())).collect()
    }

    #[test]
    fn bytes_that_are_no_model_and_models_cut_short_are_not_read() {
        let whole = model(&[node("Relu", &["x"], "y")], b"");
        assert!(Model::read(&whole).is_some());
        for end in 0..whole.len() {
            let read = Model::read(&whole[..end]);
            assert!(read.is_none(), "cut at {end}");
        }
        assert!(Model::read(&[0xff; 64]).is_none());
    }

    #[test]
    fn a_model_is_written_as_it_was_read_but_for_what_is_replaced() {
        let nodes = [node("Relu", &["x"], "y"), node("Exp", &["y"], "z")];
        let whole = model(&nodes, b"");
        let read = Model::read(&whole).unwrap();
        assert_eq!(read.replacing(|_| None), None);
        let replaced = read.replacing(|node| {
            let mut graph = Message::default();
            node.write_as(b"Log", &[b"y"], b"z", &mut graph);
            (node.op == b"Exp").then_some(graph)
        });
        assert_eq!(replaced, Some(model(&[nodes[0].clone(), node("Log", &["y"], "z")], b"")));
    }
}

//! Channel gates of a net, rewritten so that ONNX Runtime computes them in blocks of channels.
//!
//! On x86-64, ONNX Runtime keeps the channels of an image in blocks of 8 or 16 from one convolution
//! to the next. A gate (squeeze and excitation: mean of each channel, two small convolutions,
//! sigmoid, product with the image) interrupts that, because the runtime multiplies in blocks only
//! images of one size: it copies the image out of the blocks and back. With the gate repeated to
//! the size of the image, everything stays in blocks. Each number is computed from the same numbers
//! in the same order, so results are the same, bit for bit.
//!
//! This is done when a net is opened and not in its file: devices other than the processor in
//! single precision multiply a gate in one step and would lose by it.

use std::collections::HashMap;

use super::{
    onnx::{
        ATTRIBUTE_NAME, ATTRIBUTE_S, ATTRIBUTE_TYPE, GRAPH_INPUT, GRAPH_NODE, Model,
        NODE_ATTRIBUTE, NODE_INPUT, NODE_OP_TYPE, NODE_OUTPUT, Node, TYPE_STRING, integers,
        write_constant,
    },
    protobuf::{Message, child, fields},
};

/// From a `ValueInfoProto` to its shape: its type, as a tensor, the shape of that.
const SHAPE: [u64; 3] = [2, 1, 2];
const SHAPE_DIM: u64 = 1;
const DIM_VALUE: u64 = 1;
const DIM_PARAM: u64 = 2;

/// Most operations of a gate, from the mean of the channels to the product.
const LONGEST_GATE: usize = 6;

/// A model whose gates were rewritten.
#[derive(Debug, PartialEq, Eq)]
pub struct InBlocks {
    /// The ONNX file.
    pub model: Vec<u8>,
    /// Names of the axes of its input that are open: that of the batch, or none. The runtime needs
    /// to know their size, or it does not see that gate and image are equally large.
    pub(super) open_axes: Vec<String>,
}

/// Rewrites the gates of an ONNX model; `None` if there are none, if its input is not of a fixed
/// size, or for bytes that are no model.
///
/// The size of an image is only known by the window of its mean. If the window were smaller than
/// the image, the runtime would refuse the result when it opens it, because sizes are fixed.
pub fn in_blocks(model: &[u8]) -> Option<InBlocks> {
    let read = Model::read(model)?;
    let producers = read.producers();
    let mut gates = 0;
    let model = read.replacing(|node| {
        let gate = Gate::of(node, &producers)?;
        gates += 1;
        Some(gate.write(node, gates))
    })?;
    let mut inputs = read.messages(GRAPH_INPUT);
    let (Some(input), None) = (inputs.next(), inputs.next()) else { return None };
    Some(InBlocks { model, open_axes: open_axes(input)? })
}

/// Names of the open axes of an input; `None` if one other than the first is open, or has no name.
fn open_axes(input: &[u8]) -> Option<Vec<String>> {
    let shape = fields(SHAPE.into_iter().try_fold(input, child)?)?;
    let axes = shape.iter().filter(|f| f.number == SHAPE_DIM).filter_map(|f| f.content.bytes());
    let mut open = Vec::new();
    for (number, axis) in axes.enumerate() {
        if fields(axis)?.iter().any(|field| field.number == DIM_VALUE) {
            continue;
        }
        let name = child(axis, DIM_PARAM).filter(|_| number == 0)?;
        open.push(String::from_utf8(name.to_vec()).ok()?);
    }
    Some(open)
}

/// The window of an operation, [1, 1] for one without; `None` if its attribute is malformed.
fn window(node: &Node<'_>) -> Option<Vec<u64>> {
    node.attribute("kernel_shape").map_or_else(|| Some(vec![1, 1]), integers)
}

/// Whether the window of an operation may reach beyond the image.
fn is_padded(node: &Node<'_>) -> bool {
    let pads = node.attribute("pads").map(integers);
    let automatic = node.attribute("auto_pad").map(|attribute| child(attribute, ATTRIBUTE_S));
    pads.is_some_and(|pads| pads.is_none_or(|pads| pads.iter().any(|pad| *pad != 0)))
        || automatic.is_some_and(|kind| !matches!(kind, Some(b"NOTSET" | b"VALID")))
}

/// The gate of a product.
struct Gate {
    /// Which input of the product it is.
    input: usize,
    /// Height and width of the image.
    size: [u64; 2],
}

impl Gate {
    fn of(node: &Node<'_>, producers: &HashMap<&[u8], &Node<'_>>) -> Option<Self> {
        let (b"Mul", [left, right], [_]) = (node.op, &node.inputs[..], &node.outputs[..]) else {
            return None;
        };
        [(0, *left, *right), (1, *right, *left)].into_iter().find_map(|(input, gate, image)| {
            let mut at = *producers.get(gate)?;
            for _ in 0..LONGEST_GATE {
                match (at.op, &window(at)?[..]) {
                    (b"AveragePool", [height, width]) if !is_padded(at) => {
                        let size = [*height, *width];
                        return (at.inputs[..] == [image]).then_some(Self { input, size });
                    }
                    (b"Conv" | b"Sigmoid" | b"HardSigmoid" | b"Relu" | b"LeakyRelu", [1, 1]) => {
                        at = *producers.get(at.inputs.first()?)?;
                    }
                    _ => return None,
                }
            }
            None
        })
    }

    /// The product with its gate repeated to the size of the image. `number` makes names unique.
    fn write(&self, node: &Node<'_>, number: usize) -> Message {
        let mut graph = Message::default();
        let gate = node.inputs[self.input];
        let repeated = [gate, b"/repeated/", number.to_string().as_bytes()].concat();
        let factors = [&repeated[..], b"/factors"].concat();

        let mut resize = Message::default();
        for input in [gate, b"", &factors] {
            resize.bytes(NODE_INPUT, input);
        }
        resize.bytes(NODE_OUTPUT, &repeated);
        resize.bytes(NODE_OP_TYPE, b"Resize");
        for (name, value) in [
            ("coordinate_transformation_mode", "asymmetric"),
            ("mode", "nearest"),
            ("nearest_mode", "floor"),
        ] {
            let mut attribute = Message::default();
            attribute.bytes(ATTRIBUTE_NAME, name.as_bytes());
            attribute.bytes(ATTRIBUTE_S, value.as_bytes());
            attribute.number(ATTRIBUTE_TYPE, TYPE_STRING);
            resize.bytes(NODE_ATTRIBUTE, &attribute.0);
        }
        graph.bytes(GRAPH_NODE, &resize.0);

        let mut inputs = node.inputs.clone();
        inputs[self.input] = &repeated;
        node.write_as(node.op, &inputs, node.outputs[0], &mut graph);

        #[expect(clippy::cast_precision_loss, reason = "an image has few rows and columns")]
        let [height, width] = self.size.map(|size| size as f32);
        write_constant(&factors, &[1.0, 1.0, height, width], &mut graph);
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{
        GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA,
        tests::{self as onnx, attribute, operations},
    };

    /// An operation with a window, or without one.
    fn node(op: &str, inputs: &[&str], output: &str, kernel: &[u64]) -> Vec<u8> {
        let mut node = onnx::node(op, inputs, output);
        if !kernel.is_empty() {
            node.extend(attribute("kernel_shape", kernel));
        }
        node
    }

    type Axis = (u64, Option<&'static str>);

    const OPEN_BATCH: [Axis; 4] = [(0, Some("batch")), (3, None), (64, None), (64, None)];

    fn model(nodes: &[Vec<u8>]) -> Vec<u8> {
        with_input(nodes, &OPEN_BATCH)
    }

    fn with_input(nodes: &[Vec<u8>], axes: &[Axis]) -> Vec<u8> {
        let mut input = Message::default();
        for (number, text) in axes {
            let mut axis = Message::default();
            match text {
                Some(text) => axis.bytes(DIM_PARAM, text.as_bytes()),
                None => axis.number(DIM_VALUE, *number),
            }
            input.bytes(SHAPE_DIM, &axis.0);
        }
        for field in SHAPE.into_iter().rev() {
            let inner = std::mem::take(&mut input);
            input.bytes(field, &inner.0);
        }
        let mut graph = Message::default();
        graph.bytes(GRAPH_INPUT, &input.0);
        onnx::model(nodes, &graph.0)
    }

    /// A gate of an image of `size`, and their product.
    fn gated(image: &str, size: &[u64], product: [&str; 2]) -> Vec<Vec<u8>> {
        vec![
            node("AveragePool", &[image], "mean", size),
            node("Conv", &["mean", "weights"], "less", &[1, 1]),
            node("LeakyRelu", &["less"], "active", &[]),
            node("Conv", &["active", "more"], "open", &[1, 1]),
            node("Sigmoid", &["open"], "gate", &[]),
            node("Mul", &product, "out", &[]),
        ]
    }

    #[test]
    fn a_gate_is_repeated_to_the_size_of_its_image_and_nothing_else_changes() {
        for product in [["image", "gate"], ["gate", "image"]] {
            let nodes = gated("image", &[32, 16], product);
            let InBlocks { model: rewritten, open_axes } = in_blocks(&model(&nodes)).unwrap();
            assert_eq!(open_axes, ["batch"]);
            let found = operations(&rewritten);
            assert_eq!(found[..5], operations(&model(&nodes))[..5]);
            assert_eq!(found[5].0, "Resize");
            assert_eq!(found[5].1, ["gate", "", "gate/repeated/1/factors"]);
            let inputs = product.map(|name| name.replace("gate", "gate/repeated/1"));
            assert_eq!(found[6], ("Mul".to_owned(), inputs.to_vec()));
            let graph = child(&rewritten, MODEL_GRAPH).unwrap();
            let factors = child(child(graph, GRAPH_INITIALIZER).unwrap(), TENSOR_RAW_DATA).unwrap();
            let expected: Vec<u8> =
                [1.0_f32, 1.0, 32.0, 16.0].iter().flat_map(|f| f.to_le_bytes()).collect();
            assert_eq!(factors, expected);
        }
    }

    #[test]
    fn a_product_that_is_no_gate_of_its_own_image_stays() {
        let other = gated("other", &[32, 32], ["image", "gate"]);
        let line = gated("image", &[32], ["image", "gate"]);
        let mut large = gated("image", &[32, 32], ["image", "gate"]);
        large[1] = node("Conv", &["mean", "weights"], "less", &[3, 3]);
        let mut moved = gated("image", &[32, 32], ["image", "gate"]);
        moved[2] = node("Transpose", &["less"], "active", &[]);
        let mut sum = gated("image", &[32, 32], ["image", "gate"]);
        sum[5] = node("Add", &["image", "gate"], "out", &[]);
        let mut padded = gated("image", &[3, 3], ["image", "gate"]);
        padded[0].extend(attribute("pads", &[1, 1, 1, 1]));
        for nodes in [other, line, large, moved, sum, padded] {
            assert_eq!(in_blocks(&model(&nodes)), None);
        }
        let mut unpadded = gated("image", &[32, 32], ["image", "gate"]);
        unpadded[0].extend(attribute("pads", &[0; 4]));
        assert!(in_blocks(&model(&unpadded)).is_some());
    }

    #[test]
    fn a_net_stays_whose_input_has_other_open_axes_than_the_first() {
        let nodes = gated("image", &[32, 32], ["image", "gate"]);
        let open_axes = |axes: [Axis; 4]| {
            in_blocks(&with_input(&nodes, &axes)).map(|rewritten| rewritten.open_axes)
        };
        assert_eq!(open_axes(OPEN_BATCH), Some(vec!["batch".to_owned()]));
        assert_eq!(open_axes([(1, None), (3, None), (64, None), (64, None)]), Some(Vec::new()));
        let open = (0, Some("?"));
        assert_eq!(open_axes([open, (3, None), open, open]), None);
        assert_eq!(open_axes([(1, None), (3, None), (64, None), (0, Some("width"))]), None);
    }
}

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
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/v1.16.0/onnx/onnx.proto>.

use std::collections::HashMap;

use super::protobuf::{Content, Message, child, fields, varint};

const MODEL_GRAPH: u64 = 7;
const GRAPH_NODE: u64 = 1;
const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const NODE_INPUT: u64 = 1;
const NODE_OUTPUT: u64 = 2;
const NODE_OP_TYPE: u64 = 4;
const NODE_ATTRIBUTE: u64 = 5;
const ATTRIBUTE_NAME: u64 = 1;
const ATTRIBUTE_S: u64 = 4;
const ATTRIBUTE_INTS: u64 = 8;
const ATTRIBUTE_TYPE: u64 = 20;
const TYPE_STRING: u64 = 3;
const TENSOR_DIMS: u64 = 1;
const TENSOR_DATA_TYPE: u64 = 2;
const TENSOR_NAME: u64 = 8;
const TENSOR_RAW_DATA: u64 = 9;
const DATA_FLOAT: u64 = 1;
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
    let outer = fields(model)?;
    let mut graphs = outer.iter().filter(|field| field.number == MODEL_GRAPH);
    let (Some(Content::Bytes(graph)), None) = (graphs.next().map(|f| f.content), graphs.next())
    else {
        return None;
    };
    let inner = fields(graph)?;
    let messages = |number| {
        inner.iter().filter(move |field| field.number == number).filter_map(|f| f.content.bytes())
    };
    let nodes = messages(GRAPH_NODE).map(Node::read).collect::<Option<Vec<_>>>()?;
    let producers: HashMap<&[u8], &Node<'_>> =
        nodes.iter().flat_map(|node| node.outputs.iter().map(move |name| (*name, node))).collect();

    let mut rewritten = Message::default();
    let (mut gates, mut next) = (0, nodes.iter());
    for field in &inner {
        let gate = if field.number == GRAPH_NODE { next.next() } else { None }
            .and_then(|node| Gate::of(node, &producers).map(|gate| (node, gate)));
        let Some((node, gate)) = gate else {
            rewritten.0.extend_from_slice(field.whole);
            continue;
        };
        gates += 1;
        gate.write(node, gates, &mut rewritten);
    }
    if gates == 0 {
        return None;
    }
    let mut inputs = messages(GRAPH_INPUT);
    let (Some(input), None) = (inputs.next(), inputs.next()) else { return None };
    let open_axes = open_axes(input)?;
    let mut whole = Message::default();
    for field in &outer {
        match field.number {
            MODEL_GRAPH => whole.bytes(MODEL_GRAPH, &rewritten.0),
            _ => whole.0.extend_from_slice(field.whole),
        }
    }
    Some(InBlocks { model: whole.0, open_axes })
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

/// An operation of the graph, as far as it matters here.
struct Node<'a> {
    whole: &'a [u8],
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    op: &'a [u8],
    /// Its window, [1, 1] for those without one.
    kernel: Vec<u64>,
    /// Whether its window reaches beyond the image.
    is_padded: bool,
}

impl<'a> Node<'a> {
    fn read(whole: &'a [u8]) -> Option<Self> {
        let mut node = Self {
            whole,
            inputs: Vec::new(),
            outputs: Vec::new(),
            op: b"",
            kernel: vec![1, 1],
            is_padded: false,
        };
        for field in fields(whole)? {
            match (field.number, field.content) {
                (NODE_INPUT, Content::Bytes(name)) => node.inputs.push(name),
                (NODE_OUTPUT, Content::Bytes(name)) => node.outputs.push(name),
                (NODE_OP_TYPE, Content::Bytes(op)) => node.op = op,
                (NODE_ATTRIBUTE, Content::Bytes(attribute)) => {
                    match child(attribute, ATTRIBUTE_NAME) {
                        Some(b"kernel_shape") => node.kernel = integers(attribute)?,
                        Some(b"pads") => {
                            node.is_padded |= integers(attribute)?.iter().any(|pad| *pad != 0);
                        }
                        Some(b"auto_pad") => {
                            let pads = child(attribute, ATTRIBUTE_S);
                            node.is_padded |= !matches!(pads, Some(b"NOTSET" | b"VALID"));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Some(node)
    }
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
        let (b"Mul", [left, right]) = (node.op, &node.inputs[..]) else { return None };
        [(0, *left, *right), (1, *right, *left)].into_iter().find_map(|(input, gate, image)| {
            let mut at = *producers.get(gate)?;
            for _ in 0..LONGEST_GATE {
                match (at.op, &at.kernel[..]) {
                    (b"AveragePool", [height, width]) if !at.is_padded => {
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
    fn write(&self, node: &Node<'_>, number: usize, graph: &mut Message) {
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

        let mut product = Message::default();
        let mut inputs = 0..;
        for field in fields(node.whole).into_iter().flatten() {
            if field.number == NODE_INPUT && inputs.next() == Some(self.input) {
                product.bytes(NODE_INPUT, &repeated);
            } else {
                product.0.extend_from_slice(field.whole);
            }
        }
        graph.bytes(GRAPH_NODE, &product.0);

        let mut tensor = Message::default();
        tensor.number(TENSOR_DIMS, 4);
        tensor.number(TENSOR_DATA_TYPE, DATA_FLOAT);
        tensor.bytes(TENSOR_NAME, &factors);
        #[expect(clippy::cast_precision_loss, reason = "an image has few rows and columns")]
        let [height, width] = self.size.map(|size| size as f32);
        let values: Vec<u8> =
            [1.0, 1.0, height, width].into_iter().flat_map(f32::to_le_bytes).collect();
        tensor.bytes(TENSOR_RAW_DATA, &values);
        graph.bytes(GRAPH_INITIALIZER, &tensor.0);
    }
}

/// The integers of an attribute, in either form in which protobuf writes lists.
fn integers(attribute: &[u8]) -> Option<Vec<u64>> {
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
mod tests {
    use super::*;

    /// An operation without attributes, or with a window.
    fn node(op: &str, inputs: &[&str], output: &str, kernel: &[u64]) -> Vec<u8> {
        let mut node = Message::default();
        for input in inputs {
            node.bytes(NODE_INPUT, input.as_bytes());
        }
        node.bytes(NODE_OUTPUT, output.as_bytes());
        node.bytes(NODE_OP_TYPE, op.as_bytes());
        if !kernel.is_empty() {
            node.0.extend(attribute("kernel_shape", kernel));
        }
        node.0
    }

    fn attribute(name: &str, values: &[u64]) -> Vec<u8> {
        let (mut node, mut attribute) = (Message::default(), Message::default());
        attribute.bytes(ATTRIBUTE_NAME, name.as_bytes());
        for value in values {
            attribute.number(ATTRIBUTE_INTS, *value);
        }
        node.bytes(NODE_ATTRIBUTE, &attribute.0);
        node.0
    }

    type Axis = (u64, Option<&'static str>);

    const OPEN_BATCH: [Axis; 4] = [(0, Some("batch")), (3, None), (64, None), (64, None)];

    fn model(nodes: &[Vec<u8>]) -> Vec<u8> {
        with_input(nodes, &OPEN_BATCH)
    }

    fn with_input(nodes: &[Vec<u8>], axes: &[Axis]) -> Vec<u8> {
        let mut graph = Message::default();
        for node in nodes {
            graph.bytes(GRAPH_NODE, node);
        }
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
        graph.bytes(GRAPH_INPUT, &input.0);
        let mut model = Message::default();
        model.number(1, 8);
        model.bytes(MODEL_GRAPH, &graph.0);
        model.0
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

    /// Operations with their inputs.
    fn operations(model: &[u8]) -> Vec<(String, Vec<String>)> {
        let text = |bytes: &&[u8]| String::from_utf8_lossy(bytes).into_owned();
        let graph = child(model, MODEL_GRAPH).unwrap();
        let nodes = fields(graph).unwrap().into_iter().filter(|f| f.number == GRAPH_NODE);
        let nodes = nodes.map(|field| Node::read(field.content.bytes().unwrap()).unwrap());
        nodes.map(|node| (text(&node.op), node.inputs.iter().map(text).collect())).collect()
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

    #[test]
    fn bytes_that_are_no_model_and_models_cut_short_are_left_alone() {
        let whole = model(&gated("image", &[32, 32], ["image", "gate"]));
        assert!(in_blocks(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(in_blocks(&whole[..end]), None, "cut at {end}");
        }
        assert_eq!(in_blocks(&[0xff; 64]), None);
    }
}

//! From the typed graph to ONNX operations, names and shapes.
//!
//! The thing to know: names inside the graph are made up (`v7`, `v7_weights`); only those of inputs
//! and outputs mean something, and those of a network with one input or one output are always
//! `data` and `out`, because such IRs carry mere numbers left over from tracing. With several, the
//! IR's own names distinguish them. Outputs that are one vector per item lose their axes of 1.

use std::collections::BTreeSet;

use crate::error::{ConvertError, Result};
use crate::graph::{self, Arithmetic, Op};
use crate::onnx::{Attribute, Graph, Initializer, Node, Port, Values};
use crate::window::Window;

/// Name of the only input.
const INPUT: &str = "data";
/// Name of the only output.
const OUTPUT: &str = "out";

/// Writes the graph as ONNX, under the network's name.
pub(super) fn lower(name: &str, graph: graph::Graph) -> Result<Graph> {
    let onnx = Graph { name: name.to_owned(), ..Graph::default() };
    let mut lowering = Lowering { onnx, names: name_inputs(&graph.nodes) };
    let tails = lowering.outputs(&graph);
    let shapes: Vec<_> = graph.nodes.iter().map(|node| node.shape.clone()).collect();
    for (index, node) in graph.nodes.into_iter().enumerate() {
        lowering.node(index, node, &shapes);
    }
    lowering.onnx.nodes.extend(tails);
    check_names(&lowering.onnx)?;
    Ok(lowering.onnx)
}

/// A name for each node's result: made up, but for the inputs of the network.
fn name_inputs(nodes: &[graph::Node]) -> Vec<String> {
    let inputs = nodes.iter().filter(|node| matches!(node.op, Op::Input)).count();
    let names = nodes.iter().enumerate().map(|(index, node)| match node.op {
        Op::Input if inputs == 1 => INPUT.to_owned(),
        Op::Input => node.name.clone(),
        _ => format!("v{index}"),
    });
    names.collect()
}

struct Lowering {
    onnx: Graph,
    /// Name of each node's result.
    names: Vec<String>,
}

impl Lowering {
    fn node(&mut self, index: usize, node: graph::Node, shapes: &[Vec<usize>]) {
        let mut inputs: Vec<String> =
            node.inputs.iter().map(|input| self.names[*input].clone()).collect();
        let (op, attributes) = match node.op {
            Op::Input => {
                let item = node.shape[1..].to_vec();
                self.onnx.inputs.push(Port { name: self.names[index].clone(), item });
                return;
            }
            Op::Conv { weights, bias, groups, window } => {
                inputs.push(self.constant(index, "weights", weights.shape, weights.values));
                inputs
                    .extend(bias.map(|bias| self.constant(index, "bias", vec![bias.len()], bias)));
                let mut attributes = slide(&window, true);
                attributes.push(("group", Attribute::Int(groups)));
                ("Conv", attributes)
            }
            Op::Gemm { weights, bias, transposed } => {
                inputs.push(self.constant(index, "weights", weights.shape, weights.values));
                inputs
                    .extend(bias.map(|bias| self.constant(index, "bias", vec![bias.len()], bias)));
                ("Gemm", vec![("transB", Attribute::Int(usize::from(transposed)))])
            }
            Op::Binary { arithmetic, constant } => {
                if let Some(graph::Constant { tensor, first }) = constant {
                    let name = self.constant(index, "operand", tensor.shape, tensor.values);
                    inputs.insert(usize::from(!first), name);
                }
                (arithmetic.operation(), Vec::new())
            }
            Op::PRelu { slopes } => {
                // ONNX broadcasts slopes from the last axis, so channels need axes of 1 after them.
                let after = shapes[node.inputs[0]].len().saturating_sub(2);
                let mut shape = vec![slopes.len()];
                shape.resize(1 + after, 1);
                inputs.push(self.constant(index, "slopes", shape, slopes));
                ("PRelu", Vec::new())
            }
            Op::LeakyRelu { slope } => ("LeakyRelu", vec![("alpha", Attribute::Float(slope))]),
            Op::Relu => ("Relu", Vec::new()),
            Op::Sigmoid => ("Sigmoid", Vec::new()),
            Op::AveragePool { window, count_pads } => {
                let mut attributes = slide(&window, false);
                attributes.push(("count_include_pad", Attribute::Int(usize::from(count_pads))));
                ("AveragePool", attributes)
            }
            Op::MaxPool { window } => {
                let mut attributes = slide(&window, true);
                attributes.push(("ceil_mode", Attribute::Int(usize::from(window.ceil))));
                ("MaxPool", attributes)
            }
            Op::Reshape => {
                let sizes: Vec<_> = node.shape[1..].iter().map(|size| signed(*size)).collect();
                inputs.push(self.target(index, &sizes));
                ("Reshape", Vec::new())
            }
            Op::Upsample { factor } => {
                // The second input, regions of interest, is left out.
                inputs.push(String::new());
                let factor = f32::from(factor);
                let factors = vec![1.0, 1.0, factor, factor];
                inputs.push(self.constant(index, "factors", vec![4], factors));
                let attributes = vec![
                    ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
                    ("mode", Attribute::Text("nearest")),
                    ("nearest_mode", Attribute::Text("floor")),
                ];
                ("Resize", attributes)
            }
            Op::Cells => {
                let last = format!("v{index}_last");
                let attributes = vec![("perm", Attribute::Ints(vec![0, 2, 3, 1]))];
                let (name, output) = (format!("{}_last", node.name), last.clone());
                self.onnx.nodes.push(Node { name, op: "Transpose", inputs, output, attributes });
                let channels = node.shape.last().copied().map_or(0, signed);
                inputs = vec![last, self.target(index, &[-1, channels])];
                ("Reshape", Vec::new())
            }
            Op::Abs => ("Abs", Vec::new()),
            Op::Neg => ("Neg", Vec::new()),
        };
        let output = self.names[index].clone();
        self.onnx.nodes.push(Node { name: node.name, op, inputs, output, attributes });
    }

    /// Adds the shape that a `Reshape` yields, after the batch axis, and returns its name.
    fn target(&mut self, index: usize, item: &[i64]) -> String {
        // 0 copies the batch axis, whatever its size.
        let target = [&[0], item].concat();
        let name = format!("v{index}_shape");
        let (shape, values) = (vec![target.len()], Values::Integers(target));
        self.onnx.initializers.push(Initializer { name: name.clone(), shape, values });
        name
    }

    /// Adds a constant that belongs to a node and returns its name.
    fn constant(
        &mut self,
        index: usize,
        role: &str,
        shape: Vec<usize>,
        values: Vec<f32>,
    ) -> String {
        let name = format!("v{index}_{role}");
        let values = Values::Floats(values);
        self.onnx.initializers.push(Initializer { name: name.clone(), shape, values });
        name
    }

    /// Declares the outputs. Where it can, a node's result takes the output's name; the operations
    /// returned yield the others.
    fn outputs(&mut self, graph: &graph::Graph) -> Vec<Node> {
        let mut tails = Vec::new();
        let mut renamed = BTreeSet::new();
        for (name, index) in &graph.results {
            let node = &graph.nodes[*index];
            // The model optimizer calls the result of layer X `X/sink_port_0`.
            let own = name.rsplit_once("/sink_port_").map_or(name.as_str(), |(layer, _)| layer);
            let name = if graph.results.len() == 1 { OUTPUT } else { own }.to_owned();
            let mut item = node.shape[1..].to_vec();
            let mut tail = |op, attributes| {
                let (inputs, output) = (vec![self.names[*index].clone()], name.clone());
                tails.push(Node { name: output.clone(), op, inputs, output, attributes });
            };
            if item.len() > 1 && item[1..].iter().all(|size| *size == 1) {
                item.truncate(1);
                tail("Flatten", vec![("axis", Attribute::Int(1))]);
            } else if matches!(node.op, Op::Input) || renamed.contains(index) {
                tail("Identity", Vec::new());
            } else {
                renamed.insert(*index);
                self.names[*index].clone_from(&name);
            }
            self.onnx.outputs.push(Port { name, item });
        }
        tails
    }
}

impl Arithmetic {
    fn operation(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Subtract => "Sub",
            Self::Multiply => "Mul",
        }
    }
}

/// The size of an axis as ONNX has it; none is longer than what its numbers hold.
fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The attributes of a sliding window; ONNX's averages know no dilations in this opset.
fn slide(window: &Window, dilates: bool) -> Vec<(&'static str, Attribute)> {
    let mut attributes = vec![
        ("kernel_shape", Attribute::Ints(window.kernel.clone())),
        ("strides", Attribute::Ints(window.strides.clone())),
        ("pads", Attribute::Ints(window.pads())),
    ];
    if dilates {
        attributes.push(("dilations", Attribute::Ints(window.dilations.clone())));
    }
    attributes
}

/// Names that the IR chose must not meet each other, nor those made up here.
fn check_names(onnx: &Graph) -> Result<()> {
    let mut seen = BTreeSet::new();
    let inputs = onnx.inputs.iter().map(|input| &input.name);
    let nodes = onnx.nodes.iter().map(|node| &node.output);
    let constants = onnx.initializers.iter().map(|constant| &constant.name);
    for name in inputs.chain(nodes).chain(constants) {
        if name.is_empty() || !seen.insert(name) {
            return Err(ConvertError::DuplicateName(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::fold;
    use crate::testing::{self, Ir};

    fn onnx(ir: &Ir) -> Result<Graph> {
        lower("tiny", fold(testing::read(ir)?))
    }

    fn port(name: &str, item: &[usize]) -> Port {
        Port { name: name.to_owned(), item: item.to_vec() }
    }

    #[test]
    fn one_input_and_one_output_have_fixed_names() {
        let (mut ir, input) = Ir::with_input(&[1, 1, 4, 4]);
        let last = ir.convolution(input);
        ir.result(last);
        let graph = onnx(&ir).expect("converts");
        assert_eq!(graph.inputs, [port("data", &[1, 4, 4])]);
        assert_eq!(graph.outputs, [port("out", &[2, 4, 4])]);
        assert_eq!(graph.nodes[0].inputs, ["data", "v1_weights"]);
        assert_eq!(graph.nodes[0].output, "out");
    }

    #[test]
    fn several_outputs_keep_their_names_and_their_order_in_the_file() {
        let (mut ir, input) = Ir::with_input(&[1, 2]);
        let first = ir.layer("ReLU", "", &[input], &[1, 2]);
        let second = ir.layer("Sigmoid", "", &[first], &[1, 2]);
        ir.result(second);
        ir.result(first);
        ir.result(first);
        ir.result(input);
        let graph = onnx(&ir).expect("converts");
        let names: Vec<_> = graph.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["Result_3", "Result_4", "Result_5", "Result_6"]);
        let nodes: Vec<_> =
            graph.nodes.iter().map(|n| (n.op, n.inputs[0].as_str(), n.output.as_str())).collect();
        let expected = [
            ("Relu", "data", "Result_4"),
            ("Sigmoid", "Result_4", "Result_3"),
            ("Identity", "Result_4", "Result_5"),
            ("Identity", "data", "Result_6"),
        ];
        assert_eq!(nodes, expected);
    }

    #[test]
    fn an_output_of_one_vector_per_item_is_flattened() {
        let (mut ir, input) = Ir::with_input(&[1, 5, 1, 1]);
        let last = ir.layer("Sigmoid", "", &[input], &[1, 5, 1, 1]);
        ir.result(last);
        let graph = onnx(&ir).expect("converts");
        assert_eq!(graph.outputs, [port("out", &[5])]);
        let ops: Vec<_> = graph.nodes.iter().map(|node| node.op).collect();
        assert_eq!(ops, ["Sigmoid", "Flatten"]);
    }

    #[test]
    fn a_reshape_copies_the_batch_axis() {
        let (mut ir, input) = Ir::with_input(&[1, 2, 3]);
        let target = ir.integers(&[1, 6]);
        let last = ir.layer("Reshape", "", &[input, target], &[1, 6]);
        ir.result(last);
        let graph = onnx(&ir).expect("converts");
        match &graph.initializers[0].values {
            Values::Integers(values) => assert_eq!(values, &[0, 6]),
            other => panic!("a shape is made of integers, not {other:?}"),
        }
    }

    #[test]
    fn a_leaky_relu_carries_its_slope() {
        let (mut ir, input) = Ir::with_input(&[1, 2]);
        let slope = ir.constant("f16", &[1], vec![0x00, 0x34]);
        let slope = ir.layer("Convert", r#"destination_type="f32""#, &[slope], &[1]);
        let last = ir.layer("PReLU", "", &[input, slope], &[1, 2]);
        ir.result(last);
        let graph = onnx(&ir).expect("converts");
        assert_eq!(graph.nodes[0].op, "LeakyRelu");
        assert_eq!(graph.nodes[0].attributes, [("alpha", Attribute::Float(0.25))]);
        assert!(graph.initializers.is_empty());
    }

    #[test]
    fn operands_keep_their_sides() {
        let (mut ir, input) = Ir::with_input(&[1, 2]);
        let constant = ir.floats(&[2], &[1.0, 2.0]);
        let last = ir.layer("Subtract", "", &[constant, input], &[1, 2]);
        ir.result(last);
        let graph = onnx(&ir).expect("converts");
        assert_eq!(graph.nodes[0].inputs, ["v1_operand", "data"]);
    }

    #[test]
    fn padding_is_left_out_of_an_average_unless_the_ir_counts_it() {
        for (exclude, count) in [("true", 0), ("false", 1)] {
            let (mut ir, input) = Ir::with_input(&[1, 1, 4, 4]);
            let attributes = format!(
                r#"kernel="2,2" strides="2,2" pads_begin="1,0" pads_end="1,0"
                   exclude-pad="{exclude}""#
            );
            let last = ir.layer("AvgPool", &attributes, &[input], &[1, 1, 3, 2]);
            ir.result(last);
            let graph = onnx(&ir).expect("converts");
            let attributes = &graph.nodes[0].attributes;
            assert!(attributes.contains(&("count_include_pad", Attribute::Int(count))));
            assert!(attributes.contains(&("pads", Attribute::Ints(vec![1, 0, 1, 0]))));
        }
    }

    #[test]
    fn outputs_of_the_same_name_are_refused() {
        let (mut ir, input) = Ir::with_input(&[1, 2]);
        let first = ir.layer("ReLU", "", &[input], &[1, 2]);
        let second = ir.layer("Sigmoid", "", &[input], &[1, 2]);
        ir.result(first);
        ir.result(second);
        ir.rename("Result_3", "Result_4");
        match onnx(&ir) {
            Err(ConvertError::DuplicateName(name)) => assert_eq!(name, "Result_4"),
            other => panic!("{other:?}"),
        }
    }
}

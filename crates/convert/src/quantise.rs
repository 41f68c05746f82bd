//! Brings most of a network to whole numbers of eight bits, which processors multiply several times
//! as fast.
//!
//! The thing to know: this works on the finished ONNX graph and marks, with pairs of
//! `QuantizeLinear` and `DequantizeLinear`, which tensors are to be rounded to 256 steps; the
//! runtime merges an operation between two such pairs into one on whole numbers. How far the steps
//! reach is a table of ranges, measured on faces. What the table leaves out, and sums and products,
//! stays in single precision.
//!
//! Weights get a scale for each output channel, activations one for the whole tensor. Channels of
//! very different spread would waste most of the steps, so the table may also shift them by powers
//! of two: a `LeakyRelu` lets a positive factor through, and the convolution after it takes it
//! back, which changes nothing in the result.
//!
//! Every number here comes from one division, product or rounding after the other, in a fixed
//! order, so that the result has one digest everywhere.

#![expect(clippy::cast_possible_truncation, reason = "every value is clamped to its range before")]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::{ConvertError, Result};
use crate::onnx::{Attribute, Graph, Initializer, Node, Values};

/// The hexadecimal digit of a channel that stays as it is; one more doubles its steps.
const UNSHIFTED: i32 = 8;
/// The most that a weight of eight bits can be; −128 is left out, so that both signs reach as far.
const LARGEST_WEIGHT: f32 = 127.0;
/// No bias is larger than this in its own steps, far from what 32 bits hold.
const LARGEST_BIAS: f32 = 1_073_741_824.0;

/// Which tensors are rounded, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ranges {
    /// From where to where the 256 steps of a tensor reach; what lies beyond is cut off.
    ranges: BTreeMap<String, [f64; 2]>,
    /// For the result of a convolution, one hexadecimal digit for each channel: its values are
    /// divided by two to the power of the digit less 8, and multiplied again after the `LeakyRelu`
    /// that follows.
    #[serde(default)]
    shifts: BTreeMap<String, String>,
}

impl Ranges {
    /// Reads a table.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let table: Self = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        for (name, [low, high]) in &table.ranges {
            // Not a number fails both.
            if !(*low <= 0.0 && *high >= 0.0 && high - low > 1e-6 && high - low < 1e6) {
                return Err(wrong(format!("{name}: {low} to {high} is no range around 0")));
            }
        }
        Ok(table)
    }
}

/// Rounds what the table says.
pub(super) fn quantise(mut graph: Graph, table: &Ranges) -> Result<Graph> {
    let known: BTreeSet<_> = graph.nodes.iter().map(|node| node.output.as_str()).collect();
    if let Some(name) = table.ranges.keys().find(|name| !known.contains(name.as_str())) {
        return Err(wrong(format!("there is no tensor {name:?}")));
    }
    for (name, digits) in &table.shifts {
        shift(&mut graph, name, digits)?;
    }
    let nodes = std::mem::take(&mut graph.nodes);
    let mut rounding = Rounding { graph, ranges: &table.ranges, pairs: BTreeMap::new() };
    let mut rounded = BTreeSet::new();
    for mut node in nodes {
        let whole = rounding.is_whole(&node);
        for input in &mut node.inputs {
            // What was computed on whole numbers exists in no other form.
            if rounded.contains(input) || (whole && rounding.ranges.contains_key(input)) {
                *input = rounding.pair(input);
            }
        }
        if whole && node.op == "Conv" {
            rounding.weights(&mut node)?;
        }
        let output = node.output.clone();
        rounding.graph.nodes.push(node);
        if whole {
            rounding.pair(&output);
            rounded.insert(output);
        }
    }
    let used: BTreeSet<_> = rounding.graph.nodes.iter().flat_map(|node| &node.inputs).collect();
    rounding.graph.initializers.retain(|constant| used.contains(&constant.name));
    Ok(rounding.graph)
}

fn wrong(problem: String) -> ConvertError {
    ConvertError::Ranges(problem)
}

struct Rounding<'t> {
    graph: Graph,
    ranges: &'t BTreeMap<String, [f64; 2]>,
    /// By tensor that has a pair already: its step.
    pairs: BTreeMap<String, f32>,
}

impl Rounding<'_> {
    /// Whether an operation is computed on whole numbers: what it takes and yields has ranges, and
    /// the runtime has a kernel for it that is faster.
    fn is_whole(&self, node: &Node) -> bool {
        let known = ["Conv", "LeakyRelu", "AveragePool", "Sigmoid"].contains(&node.op);
        let tensors = node.inputs.iter().take(1).chain([&node.output]);
        known && tensors.into_iter().all(|name| self.ranges.contains_key(name))
    }

    /// The name under which a tensor is to be had rounded.
    fn pair(&mut self, name: &str) -> String {
        let dequantised = format!("{name}_rounded");
        if self.pairs.contains_key(name) {
            return dequantised;
        }
        let [low, high] = self.ranges[name];
        let step = (high - low) / 255.0;
        #[expect(clippy::cast_sign_loss, reason = "clamped")]
        let zero = (-low / step).round().clamp(0.0, 255.0) as u8;
        self.pairs.insert(name.to_owned(), step as f32);
        let step = self.constant(name, "step", Vec::new(), Values::Floats(vec![step as f32]));
        let zero = self.constant(name, "zero", Vec::new(), Values::Bytes(vec![zero]));
        let whole = format!("{name}_whole");
        for (op, input, output) in
            [("QuantizeLinear", name, &whole), ("DequantizeLinear", &*whole, &dequantised)]
        {
            let inputs = vec![input.to_owned(), step.clone(), zero.clone()];
            self.push(op, inputs, output, Vec::new());
        }
        dequantised
    }

    /// Rounds the weights of a convolution by output channel, and its bias to steps of weight times
    /// input.
    fn weights(&mut self, node: &mut Node) -> Result<()> {
        let input = node.inputs[0].trim_end_matches("_rounded");
        let input_step = self.pairs[input];
        let weights = self.floats(&node.inputs[1])?;
        let (shape, values) = weights;
        let channels = shape[0];
        let bias = match node.inputs.get(2) {
            Some(name) => self.floats(name)?.1,
            None => vec![0.0; channels],
        };
        let rows: Vec<_> = values.chunks_exact(values.len() / channels).zip(&bias).collect();
        let steps: Vec<f32> =
            rows.iter().map(|(row, bias)| weight_step(row, **bias, input_step)).collect();
        let whole = |value: f32, step: f32| (value / step).round_ties_even();
        let whole_weights = rows.iter().zip(&steps).flat_map(|((row, _), step)| {
            row.iter().map(|w| whole(*w, *step).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) as i8)
        });
        let bias_steps: Vec<f32> = steps.iter().map(|step| step * input_step).collect();
        let whole_bias =
            bias.iter().zip(&bias_steps).map(|(bias, step)| whole(*bias, *step) as i32);
        let (whole_weights, whole_bias) =
            (Values::Signed(whole_weights.collect()), Values::Words(whole_bias.collect()));
        let zeros = Values::Signed(vec![0; channels]);
        let (name, list) = (node.output.clone(), vec![channels]);
        let inputs = vec![
            self.constant(&name, "weights_whole", shape, whole_weights),
            self.constant(&name, "weights_step", list.clone(), Values::Floats(steps)),
            self.constant(&name, "weights_zero", list.clone(), zeros),
        ];
        node.inputs.truncate(1);
        node.inputs.push(self.by_channel(inputs, format!("{name}_weights_rounded")));
        let inputs = vec![
            self.constant(&name, "bias_whole", list.clone(), whole_bias),
            self.constant(&name, "bias_step", list, Values::Floats(bias_steps)),
        ];
        node.inputs.push(self.by_channel(inputs, format!("{name}_bias_rounded")));
        Ok(())
    }

    fn by_channel(&mut self, inputs: Vec<String>, output: String) -> String {
        self.push("DequantizeLinear", inputs, &output, vec![("axis", Attribute::Int(0))]);
        output
    }

    fn push(
        &mut self,
        op: &'static str,
        inputs: Vec<String>,
        output: &str,
        attributes: Vec<(&'static str, Attribute)>,
    ) {
        let (name, output) = (output.to_owned(), output.to_owned());
        self.graph.nodes.push(Node { name, op, inputs, output, attributes });
    }

    fn constant(&mut self, of: &str, role: &str, shape: Vec<usize>, values: Values) -> String {
        let name = format!("{of}_{role}");
        self.graph.initializers.push(Initializer { name: name.clone(), shape, values });
        name
    }

    /// Shape and values of a constant.
    fn floats(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let shape = find(&mut self.graph, name)?.shape.clone();
        Ok((shape, find_floats(&mut self.graph, name)?.clone()))
    }
}

/// One step of the weights of a channel: small enough for the largest of them, large enough for the
/// bias.
fn weight_step(row: &[f32], bias: f32, input_step: f32) -> f32 {
    let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    let step = (largest / LARGEST_WEIGHT).max(bias.abs() / input_step / LARGEST_BIAS);
    // A channel of zeros may have any.
    if step > 0.0 { step } else { 1.0 }
}

/// Divides the channels of a convolution's result by powers of two and multiplies them again in the
/// convolution that comes after the `LeakyRelu`.
fn shift(graph: &mut Graph, name: &str, digits: &str) -> Result<()> {
    let factors: Option<Vec<f32>> = digits.chars().map(factor).collect();
    let factors = factors.ok_or_else(|| wrong(format!("{name}: {digits:?} is not hexadecimal")))?;
    let missing = |what: &str| wrong(format!("{name} is not {what}"));
    let conv = |node: &&Node| node.op == "Conv";
    let first = graph.nodes.iter().find(|node| node.output == name).filter(conv);
    let first = first.ok_or_else(|| missing("the result of a convolution"))?.inputs.clone();
    let leaky = reader(graph, name).filter(|node| node.op == "LeakyRelu");
    let leaky = leaky.ok_or_else(|| missing("read by one LeakyRelu alone"))?.output.clone();
    let next = reader(graph, &leaky).filter(conv).map(|node| node.inputs[1].clone());
    let next = next.ok_or_else(|| missing("followed by one convolution alone"))?;
    if find(graph, &first[1])?.shape.first() != Some(&factors.len()) {
        return Err(wrong(format!("{name} has another number of channels")));
    }
    for constant in &first[1..] {
        let values = find_floats(graph, constant)?;
        let row = values.len() / factors.len();
        for (values, factor) in values.chunks_exact_mut(row).zip(&factors) {
            for value in values {
                *value /= factor;
            }
        }
    }
    let shape = find(graph, &next)?.shape.clone();
    // A depthwise convolution has a row for each channel, any other a column.
    let depthwise = shape.get(1) == Some(&1) && shape[0] == factors.len();
    if !depthwise && shape.get(1) != Some(&factors.len()) {
        return Err(wrong(format!("{name} is followed by a convolution in groups")));
    }
    let inner: usize = shape[2..].iter().product();
    for (i, value) in find_floats(graph, &next)?.iter_mut().enumerate() {
        *value *= factors[i / inner % factors.len()];
    }
    Ok(())
}

/// Two to the power of a hexadecimal digit less [`UNSHIFTED`].
fn factor(digit: char) -> Option<f32> {
    let power = i32::try_from(digit.to_digit(16)?).ok()? - UNSHIFTED;
    let two = if power < 0 { 0.5 } else { 2.0 };
    Some((0..power.abs()).fold(1.0, |factor, _| factor * two))
}

/// The only node that takes a tensor.
fn reader<'g>(graph: &'g Graph, name: &str) -> Option<&'g Node> {
    let mut readers = graph.nodes.iter().filter(|node| node.inputs.iter().any(|i| i == name));
    let first = readers.next();
    first.filter(|_| readers.next().is_none())
}

fn find<'g>(graph: &'g mut Graph, name: &str) -> Result<&'g mut Initializer> {
    let found = graph.initializers.iter_mut().find(|constant| constant.name == name);
    found.ok_or_else(|| wrong(format!("there is no constant {name:?}")))
}

fn find_floats<'g>(graph: &'g mut Graph, name: &str) -> Result<&'g mut Vec<f32>> {
    match &mut find(graph, name)?.values {
        Values::Floats(values) => Ok(values),
        _ => Err(wrong(format!("{name:?} is not in single precision"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ir, WINDOW};
    use crate::{fold, ir, lower, xml};

    const CELLS: [usize; 4] = [1, 2, 4, 4];

    /// Convolution `v1`, leaky `v2`, a convolution `v3` by channel or across channels, sigmoid
    /// `v4`, sum `out`.
    fn network(depthwise: bool) -> Graph {
        let (mut ir, input) = Ir::with_input(&[1, 1, 4, 4]);
        let first = ir.convolution(input);
        let bias = ir.floats(&[1, 2, 1, 1], &[0.5, -4.0]);
        let first = ir.layer("Add", "", &[first, bias], &CELLS);
        let slope = ir.floats(&[1], &[-0.5]);
        let leaky = ir.layer("PReLU", "", &[first, slope], &CELLS);
        let next = if depthwise {
            let weights = ir.floats(&[2, 1, 1, 1, 1], &[1.0, 10.0]);
            ir.layer("GroupConvolution", WINDOW, &[leaky, weights], &CELLS)
        } else {
            let weights = ir.floats(&[2, 2, 1, 1], &[1.0, 10.0, 100.0, 1000.0]);
            ir.layer("Convolution", WINDOW, &[leaky, weights], &CELLS)
        };
        let active = ir.layer("Sigmoid", "", &[next], &CELLS);
        let sum = ir.layer("Add", "", &[active, next], &CELLS);
        ir.result(sum);
        let text = ir.xml();
        let document = xml::parse(&text).expect("is XML");
        let (name, layers) = xml::layers(&document).expect("has layers");
        let graph = fold::fold(ir::read(&layers, &ir.weights).expect("reads"));
        lower::lower(name, graph).expect("lowers")
    }

    fn quantised(table: &str) -> Result<Graph> {
        quantise(network(true), &Ranges::parse(table)?)
    }

    fn problem(table: &str) -> String {
        quantised(table).expect_err("must be refused").to_string()
    }

    fn values<'g>(graph: &'g Graph, name: &str) -> &'g Values {
        let found = graph.initializers.iter().find(|constant| constant.name == name);
        &found.unwrap_or_else(|| panic!("no {name}")).values
    }

    fn floats<'g>(graph: &'g Graph, name: &str) -> &'g [f32] {
        match values(graph, name) {
            Values::Floats(values) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_has_ranges_on_both_sides_is_rounded_and_everything_else_stays_as_it_is() {
        let graph = quantised("[ranges]\nv2 = [-1, 1]\nv3 = [-2, 2]\nv4 = [0, 1]").expect("fits");
        let node = |output: &str| {
            let found = graph.nodes.iter().find(|node| node.output == output);
            found.unwrap_or_else(|| panic!("no {output}")).inputs.clone()
        };
        // The first convolution takes the input as it is, and so does the LeakyRelu take its
        // result.
        assert_eq!(node("v1"), ["data", "v1_weights", "v1_bias"]);
        assert_eq!(node("v2"), ["v1"]);
        assert_eq!(node("v2_whole"), ["v2", "v2_step", "v2_zero"]);
        assert_eq!(node("v3"), ["v2_rounded", "v3_weights_rounded", "v3_bias_rounded"]);
        assert_eq!(node("v4"), ["v3_rounded"]);
        assert_eq!(node("out"), ["v4_rounded", "v3_rounded"]);
        let constants: Vec<_> = graph.initializers.iter().map(|c| c.name.as_str()).collect();
        assert!(!constants.contains(&"v3_weights"), "unused constants are left out");
        let outputs: BTreeSet<_> = graph.nodes.iter().map(|node| &node.output).collect();
        assert_eq!(outputs.len(), graph.nodes.len(), "each tensor is rounded once");
    }

    #[test]
    fn steps_and_zero_follow_from_the_range() {
        let graph = quantised("[ranges]\nv2 = [-51, 204]\nv3 = [0, 255]").expect("fits");
        assert_eq!(floats(&graph, "v2_step"), [1.0]);
        assert!(matches!(values(&graph, "v2_zero"), Values::Bytes(zero) if *zero == [51]));
        assert!(matches!(values(&graph, "v3_zero"), Values::Bytes(zero) if *zero == [0]));
    }

    #[test]
    fn weights_are_rounded_by_output_channel_and_biases_to_their_steps() {
        let table = "[ranges]\nv1 = [-255, 255]\nv2 = [-127.5, 127.5]\nv3 = [-2, 2]";
        let graph = quantise(network(false), &Ranges::parse(table).expect("parses")).expect("fits");
        let expected = [13, 127, 13, 127];
        assert!(matches!(values(&graph, "v3_weights_whole"), Values::Signed(w) if *w == expected));
        assert_eq!(floats(&graph, "v3_weights_step"), [10.0 / 127.0, 1000.0 / 127.0]);
        assert!(matches!(values(&graph, "v3_bias_whole"), Values::Words(w) if *w == [0, 0]));
    }

    #[test]
    fn a_channel_of_zeros_has_a_step_that_its_bias_fits_into() {
        assert!((weight_step(&[0.0, 0.0], 0.0, 0.1) - 1.0).abs() < f32::EPSILON);
        assert!((weight_step(&[-12.7, 1.0], 0.5, 0.1) - 0.1).abs() < 1e-6);
        let step = weight_step(&[0.0], 5.0, 0.1);
        assert!((5.0 / (step * 0.1)).round_ties_even() <= LARGEST_BIAS);
        assert!((5.0 / (step * 0.1)).round_ties_even() > LARGEST_BIAS * 0.99);
    }

    #[test]
    fn a_shift_is_taken_back_by_the_convolution_after_the_activation() {
        for (depthwise, expected) in
            [(true, &[0.25, 40.0][..]), (false, &[0.25, 40.0, 25.0, 4000.0])]
        {
            let mut graph = network(depthwise);
            shift(&mut graph, "v1", "6a").expect("fits");
            assert_eq!(floats(&graph, "v1_weights"), [8.0, 0.75]);
            assert_eq!(floats(&graph, "v1_bias"), [2.0, -1.0]);
            assert_eq!(floats(&graph, "v3_weights"), expected);
        }
    }

    #[test]
    fn a_table_of_another_network_is_refused() {
        for (table, words) in [
            ("[ranges]\nv9 = [0, 1]", "no tensor \"v9\""),
            ("[ranges]\nv1 = [0.5, 1]", "no range around 0"),
            ("[ranges]\nv1 = [0, nan]", "no range around 0"),
            ("[ranges]\nv1 = [0, 0]", "no range around 0"),
            ("[ranges]\nv1 = 3", "invalid type"),
            ("[ranges]\n[shifts]\nv1 = \"8\"", "another number of channels"),
            ("[ranges]\n[shifts]\nv1 = \"\"", "another number of channels"),
            ("[ranges]\n[shifts]\nv1 = \"8x\"", "not hexadecimal"),
            ("[ranges]\n[shifts]\nv2 = \"88\"", "not the result of a convolution"),
            ("[ranges]\n[shifts]\nv3 = \"88\"", "not read by one LeakyRelu alone"),
        ] {
            let problem = problem(table);
            assert!(problem.contains(words), "{table}: {problem}");
        }
    }
}

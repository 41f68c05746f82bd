//! Clean-ups that make the network faster and leave what it computes as it is.
//!
//! The thing to know: a node is folded into the one before it only where nothing else looks at
//! that one's result. Everything happens in one pass in the order of computation, so a chain
//! (convolution, multiply, add) folds link by link.

use crate::graph::{Arithmetic, Constant, Graph, Node, Op};
use crate::tensor::MAX_FLOATS;

/// Most numbers to compute while folding. A real network needs each of its weights once; what a
/// contrived one asks for beyond this stays unfolded, which is as right, and slower to run.
const MAX_WORK: usize = 4 * MAX_FLOATS;

/// Runtimes keep channels in blocks of at most so many, and take fewer for the picture itself.
pub(super) const BLOCK: usize = 16;

/// Drops what no result needs, folds constant scales and shifts into the convolution or matrix
/// product before them, turns `PRelu` with one slope into the cheaper `LeakyRelu`, and a scale that
/// no convolution takes into a convolution of its own, which takes the shift after it.
pub(super) fn fold(graph: Graph) -> Graph {
    let uses = uses(&graph);
    // Where each old node's result is to be found among the kept ones, and how often it is used.
    let mut moved = vec![0; uses.len()];
    let mut nodes: Vec<Node> = Vec::with_capacity(uses.len());
    let mut kept_uses: Vec<usize> = Vec::with_capacity(uses.len());
    let mut work = MAX_WORK;
    for (old, mut node) in graph.nodes.into_iter().enumerate() {
        if uses[old] == 0 && !matches!(node.op, Op::Input) {
            continue;
        }
        for input in &mut node.inputs {
            *input = moved[*input];
        }
        match node.inputs.first() {
            Some(&into) if kept_uses[into] == 1 && absorb(&mut nodes[into], &node, &mut work) => {
                moved[old] = into;
                kept_uses[into] = uses[old];
            }
            _ => {
                let input = node.inputs.first().map(|input| nodes[*input].shape.as_slice());
                let one_to_one = input == Some(node.shape.as_slice());
                simplify(&mut node, one_to_one);
                moved[old] = nodes.len();
                nodes.push(node);
                kept_uses.push(uses[old]);
            }
        }
    }
    let results = graph.results.into_iter().map(|(name, node)| (name, moved[node])).collect();
    Graph { nodes, results }
}

/// How many nodes and results use each node; 0 for those that no result needs.
fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    for (_, node) in &graph.results {
        uses[*node] += 1;
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if uses[index] > 0 {
            for input in &node.inputs {
                uses[*input] += 1;
            }
        }
    }
    uses
}

/// Folds `node` into the one that feeds it, if it is a scale or shift by channel and that one is a
/// convolution or matrix product. Returns whether it did; otherwise nothing has changed.
fn absorb(into: &mut Node, node: &Node, work: &mut usize) -> bool {
    let Op::Binary { arithmetic, constant: Some(Constant { tensor, first }) } = &node.op else {
        return false;
    };
    let (weights, bias, by_row) = match &mut into.op {
        Op::Conv { weights, bias, .. } => (weights, bias, true),
        Op::Gemm { weights, bias, transposed } => (weights, bias, *transposed),
        _ => return false,
    };
    let Some(numbers) = tensor.per_channel(&into.shape) else { return false };
    let Some(left) = work.checked_sub(weights.values.len()) else { return false };
    *work = left;
    let channels = numbers.len();
    // Weights from one channel's first to the next channel's first.
    let row = if by_row { weights.values.len() / channels } else { 1 };
    let shifted = |sign: f32| match bias.as_deref() {
        None => numbers.iter().map(|number| sign * number).collect(),
        Some(bias) => bias.iter().zip(&numbers).map(|(b, number)| b + sign * number).collect(),
    };
    let (new_weights, new_bias): (Option<Vec<f32>>, Option<Vec<f32>>) = match arithmetic {
        Arithmetic::Add => (None, Some(shifted(1.0))),
        Arithmetic::Subtract if *first => return false,
        Arithmetic::Subtract => (None, Some(shifted(-1.0))),
        Arithmetic::Multiply => {
            let weights = weights.values.iter().enumerate();
            let scaled = weights.map(|(i, weight)| weight * numbers[i / row % channels]).collect();
            let bias = bias.as_ref().map(|b| b.iter().zip(&numbers).map(|(b, n)| b * n).collect());
            (Some(scaled), bias)
        }
    };
    // Numbers that overflow when combined beforehand may not do so one after the other.
    if !new_weights.iter().chain(&new_bias).flatten().all(|number| number.is_finite()) {
        return false;
    }
    if let Some(values) = new_weights {
        weights.values = values;
    }
    if new_bias.is_some() {
        *bias = new_bias;
    }
    // The result is now that of the later layer, so it goes by that name.
    into.name.clone_from(&node.name);
    true
}

/// Turns a `PRelu` with one slope into a `LeakyRelu`, which means the same and which runtimes run
/// as part of the convolution before it. `one_to_one`: each number of the input becomes one of the
/// result, none is repeated.
fn simplify(node: &mut Node, one_to_one: bool) {
    if let Op::PRelu { slopes } = &node.op
        && let [slope, rest @ ..] = slopes.as_slice()
        && rest.iter().all(|other| other.to_bits() == slope.to_bits())
    {
        node.op = Op::LeakyRelu { slope: *slope };
    }
    if let Op::Binary { arithmetic: Arithmetic::Multiply, constant: Some(constant) } = &node.op
        && let [_, channels, _, _] = *node.shape
        && channels >= BLOCK
        && one_to_one
        && let Some(values) = constant.tensor.per_channel(&node.shape)
    {
        node.op = Op::by_channel(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::testing::{self, Ir};

    const IMAGE: [usize; 4] = [1, 1, 4, 4];
    const YIELDS: [usize; 4] = [1, 2, 4, 4];

    /// A convolution with weights 2 and 3, and after it operations with constants by channel.
    fn chain(operations: &[(&str, [f32; 2])]) -> Result<Vec<Node>> {
        let (mut ir, input) = Ir::with_input(&IMAGE);
        let mut last = ir.convolution(input);
        for (kind, values) in operations {
            let constant = ir.floats(&[1, 2, 1, 1], values);
            last = ir.layer(kind, "", &[last, constant], &YIELDS);
        }
        ir.result(last);
        Ok(fold(testing::read(&ir)?).nodes)
    }

    fn conv(node: &Node) -> (&[f32], Option<&[f32]>) {
        match &node.op {
            Op::Conv { weights, bias, .. } => (&weights.values, bias.as_deref()),
            other => panic!("not a convolution: {other:?}"),
        }
    }

    #[test]
    fn a_bias_add_is_folded_into_the_convolution() {
        let nodes = chain(&[("Add", [0.5, -1.0])]).expect("reads");
        assert_eq!(nodes.len(), 2);
        assert_eq!(conv(&nodes[1]), (&[2.0, 3.0][..], Some(&[0.5, -1.0][..])));
        assert_eq!(nodes[1].name, "Add_4");
    }

    #[test]
    fn a_chain_of_scales_and_shifts_is_folded_link_by_link() {
        let links = [("Add", [1.0, 2.0]), ("Multiply", [2.0, 0.5]), ("Subtract", [3.0, 4.0])];
        let nodes = chain(&links).expect("reads");
        assert_eq!(nodes.len(), 2);
        assert_eq!(conv(&nodes[1]), (&[4.0, 1.5][..], Some(&[-1.0, -3.0][..])));
    }

    #[test]
    fn a_scale_that_would_overflow_stays() {
        let nodes = chain(&[("Multiply", [f32::MAX, 1.0])]).expect("reads");
        assert_eq!(nodes.len(), 3);
        assert_eq!(conv(&nodes[1]), (&[2.0, 3.0][..], None));
    }

    #[test]
    fn a_convolution_that_others_look_at_is_left_alone() {
        let (mut ir, input) = Ir::with_input(&IMAGE);
        let plain = ir.convolution(input);
        let bias = ir.floats(&[1, 2, 1, 1], &[1.0, 2.0]);
        let sum = ir.layer("Add", "", &[plain, bias], &YIELDS);
        ir.result(plain);
        ir.result(sum);
        let graph = fold(testing::read(&ir).expect("reads"));
        assert_eq!(graph.nodes.len(), 3);
        assert_eq!(conv(&graph.nodes[1]), (&[2.0, 3.0][..], None));
    }

    #[test]
    fn a_bias_is_folded_into_a_matrix_product_and_scales_go_by_column_or_row() {
        for (attributes, expected) in [
            (r#"transpose_b="false""#, [10.0, 200.0, 30.0, 400.0]),
            (r#"transpose_b="true""#, [10.0, 20.0, 300.0, 400.0]),
        ] {
            let (mut ir, input) = Ir::with_input(&[1, 2]);
            let weights = ir.floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
            let product = ir.layer("MatMul", attributes, &[input, weights], &[1, 2]);
            let scale = ir.floats(&[2], &[10.0, 100.0]);
            let scaled = ir.layer("Multiply", "", &[scale, product], &[1, 2]);
            let bias = ir.floats(&[1, 1], &[7.0]);
            let sum = ir.layer("Add", "", &[scaled, bias], &[1, 2]);
            ir.result(sum);
            let graph = fold(testing::read(&ir).expect("reads"));
            match &graph.nodes[1].op {
                Op::Gemm { weights, bias, .. } => {
                    assert_eq!(weights.values, expected);
                    assert_eq!(bias.as_deref(), Some(&[7.0, 7.0][..]));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(graph.nodes.len(), 2);
        }
    }

    #[test]
    fn a_constant_minus_a_convolution_is_left_alone() {
        let (mut ir, input) = Ir::with_input(&IMAGE);
        let plain = ir.convolution(input);
        let constant = ir.floats(&[1, 2, 1, 1], &[1.0, 2.0]);
        let difference = ir.layer("Subtract", "", &[constant, plain], &YIELDS);
        ir.result(difference);
        assert_eq!(fold(testing::read(&ir).expect("reads")).nodes.len(), 3);
    }

    #[test]
    fn a_scale_and_shift_of_many_channels_after_an_activation_are_one_convolution_by_channel() {
        for (channels, nodes) in [(16, 3), (3, 4)] {
            let shape = [1, channels, 4, 4];
            let (mut ir, input) = Ir::with_input(&shape);
            let active = ir.layer("ReLU", "", &[input], &shape);
            let scale = ir.floats(&[1, channels, 1, 1], &vec![2.0; channels]);
            let scaled = ir.layer("Multiply", "", &[active, scale], &shape);
            let shift = ir.floats(&[1, channels, 1, 1], &vec![0.5; channels]);
            let sum = ir.layer("Add", "", &[scaled, shift], &shape);
            ir.result(sum);
            let graph = fold(testing::read(&ir).expect("reads"));
            assert_eq!(graph.nodes.len(), nodes, "{channels} channels");
            if nodes == 3 {
                let (weights, bias) = conv(&graph.nodes[2]);
                assert_eq!((weights, bias), (&[2.0; 16][..], Some(&[0.5; 16][..])));
                assert!(matches!(graph.nodes[2].op, Op::Conv { groups: 16, .. }));
            }
        }
    }

    #[test]
    fn one_slope_becomes_a_leaky_relu_and_several_do_not() {
        for (slopes, leaky) in
            [(&[0.25][..], true), (&[0.25, 0.25][..], true), (&[0.25, 0.5][..], false)]
        {
            let (mut ir, input) = Ir::with_input(&YIELDS);
            let constant = ir.floats(&[slopes.len()], slopes);
            let prelu = ir.layer("PReLU", "", &[input, constant], &YIELDS);
            ir.result(prelu);
            let graph = fold(testing::read(&ir).expect("reads"));
            assert_eq!(matches!(graph.nodes[1].op, Op::LeakyRelu { .. }), leaky, "{slopes:?}");
        }
    }

    #[test]
    fn what_no_result_needs_is_dropped() {
        let (mut ir, input) = Ir::with_input(&IMAGE);
        let used = ir.layer("ReLU", "", &[input], &IMAGE);
        let unused = ir.layer("Sigmoid", "", &[input], &IMAGE);
        ir.layer("ReLU", "", &[unused], &IMAGE);
        ir.result(used);
        let graph = fold(testing::read(&ir).expect("reads"));
        assert_eq!(graph.nodes.len(), 2);
        assert_eq!(graph.results[0].1, 1);
    }
}

//! Activations with a slope for each channel: found where a model spells them out, and written as
//! runtimes run them fastest.
//!
//! The thing to know: TensorFlow has no operation for a `ReLU` with slopes, so models compute
//! `relu(x) + c · (x − |x|)`, whose slope for negative values is 2c, or `relu(x) + a · −relu(−x)`,
//! whose slope is a. [`gather`] makes both one [`Op::PRelu`]; what that leaves unused is dropped by
//! `fold`.
//!
//! ONNX Runtime keeps channels in blocks for convolutions and knows no `PRelu` in that form, so
//! each one costs a way out of the blocks and in again: half of the time of a face embedder.
//! [`spread`] writes `x + (1 − a) · relu(−x)` with two convolutions of one cell instead, which stay
//! in it.

use crate::fold::BLOCK;
use crate::graph::{Arithmetic, Constant, Graph, Node, Op};

/// Replaces every sum that spells out an activation.
pub(super) fn gather(mut graph: Graph) -> Graph {
    for index in 0..graph.nodes.len() {
        if let Some((slopes, input)) = activation(&graph.nodes, &graph.nodes[index]) {
            graph.nodes[index].op = Op::PRelu { slopes };
            graph.nodes[index].inputs = vec![input];
        }
    }
    graph
}

/// Writes every activation of an image with a block of channels or more as `x + (1 − a) ·
/// relu(−x)`.
pub(super) fn spread(graph: Graph) -> Graph {
    let mut moved = Vec::with_capacity(graph.nodes.len());
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    for mut node in graph.nodes {
        for input in &mut node.inputs {
            *input = moved[*input];
        }
        if let (Op::PRelu { slopes }, [_, channels, _, _]) = (&node.op, &node.shape[..])
            && slopes.len() == *channels
            && *channels >= BLOCK
        {
            let steps = [
                ("mirrored", Op::by_channel(vec![-1.0; *channels])),
                ("negative", Op::Relu),
                ("lifted", Op::by_channel(slopes.iter().map(|slope| 1.0 - slope).collect())),
            ];
            let mut input = node.inputs[0];
            for (step, op) in steps {
                let (name, shape) = (format!("{}_{step}", node.name), node.shape.clone());
                nodes.push(Node { name, op, inputs: vec![input], shape });
                input = nodes.len() - 1;
            }
            node.op = Op::Binary { arithmetic: Arithmetic::Add, constant: None };
            node.inputs.push(input);
        }
        moved.push(nodes.len());
        nodes.push(node);
    }
    let results = graph.results.into_iter().map(|(name, node)| (name, moved[node])).collect();
    Graph { nodes, results }
}

/// The slopes of the activation that ends in `sum`, and the node that it is applied to.
fn activation(nodes: &[Node], sum: &Node) -> Option<(Vec<f32>, usize)> {
    let (Op::Binary { arithmetic: Arithmetic::Add, constant: None }, [left, right]) =
        (&sum.op, &sum.inputs[..])
    else {
        return None;
    };
    let sides = [(*left, *right), (*right, *left)];
    sides.into_iter().find_map(|(positive, negative)| {
        let input = input_of(nodes, positive, &Op::Relu)?;
        let product = &nodes[negative];
        let Op::Binary {
            arithmetic: Arithmetic::Multiply,
            constant: Some(Constant { tensor, .. }),
        } = &product.op
        else {
            return None;
        };
        let factor = negative_part(nodes, product.inputs[0], input)?;
        Some((tensor.values.iter().map(|value| factor * value).collect(), input))
    })
}

/// How often `node` is the negative part of `input`: twice in `x − |x|`, once in `−relu(−x)`.
fn negative_part(nodes: &[Node], node: usize, input: usize) -> Option<f32> {
    match (&nodes[node].op, &nodes[node].inputs[..]) {
        (Op::Binary { arithmetic: Arithmetic::Subtract, constant: None }, [whole, size])
            if *whole == input && input_of(nodes, *size, &Op::Abs) == Some(input) =>
        {
            Some(2.0)
        }
        (Op::Neg, [size]) => {
            let mirrored = input_of(nodes, *size, &Op::Relu)?;
            (input_of(nodes, mirrored, &Op::Neg)? == input).then_some(1.0)
        }
        _ => None,
    }
}

/// What the operation `op`, which has one input, is applied to in `node`; `None` if `node` is
/// another.
fn input_of(nodes: &[Node], node: usize, op: &Op) -> Option<usize> {
    let same = std::mem::discriminant(&nodes[node].op) == std::mem::discriminant(op);
    same.then(|| nodes[node].inputs.first().copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn node(op: Op, inputs: &[usize]) -> Node {
        Node { name: String::new(), op, inputs: inputs.to_vec(), shape: vec![1, 2] }
    }

    fn binary(arithmetic: Arithmetic, constant: Option<[f32; 2]>) -> Op {
        let tensor = |values: [f32; 2]| Tensor { shape: vec![2], values: values.to_vec() };
        let constant = constant.map(|values| Constant { tensor: tensor(values), first: true });
        Op::Binary { arithmetic, constant }
    }

    fn slopes(nodes: Vec<Node>) -> Option<Vec<f32>> {
        let results = vec![("out".to_owned(), nodes.len() - 1)];
        match gather(Graph { nodes, results }).nodes.pop().unwrap() {
            Node { op: Op::PRelu { slopes }, inputs, .. } if inputs == [0] => Some(slopes),
            _ => None,
        }
    }

    /// relu(x) + c · (x − |x|) with the difference taken of `of`.
    fn by_size(of: [usize; 2]) -> Vec<Node> {
        vec![
            node(Op::Input, &[]),
            node(Op::Relu, &[0]),
            node(Op::Abs, &[0]),
            node(binary(Arithmetic::Subtract, None), &of),
            node(binary(Arithmetic::Multiply, Some([0.25, -0.5])), &[3]),
            node(binary(Arithmetic::Add, None), &[1, 4]),
        ]
    }

    #[test]
    fn both_spellings_become_one_operation_with_their_slopes() {
        assert_eq!(slopes(by_size([0, 2])), Some(vec![0.5, -1.0]));
        let by_sign = vec![
            node(Op::Input, &[]),
            node(Op::Neg, &[0]),
            node(Op::Relu, &[1]),
            node(Op::Neg, &[2]),
            node(binary(Arithmetic::Multiply, Some([0.25, -0.5])), &[3]),
            node(Op::Relu, &[0]),
            node(binary(Arithmetic::Add, None), &[4, 5]),
        ];
        assert_eq!(slopes(by_sign), Some(vec![0.25, -0.5]));
    }

    #[test]
    fn a_block_of_channels_is_written_as_convolutions_and_fewer_stay() {
        for (channels, expected) in [(16, 5), (15, 2)] {
            let shape = vec![1, channels, 4, 4];
            let slopes = (0..channels).map(|_| 0.25).collect();
            let nodes = vec![
                Node { shape: shape.clone(), ..node(Op::Input, &[]) },
                Node { shape, ..node(Op::PRelu { slopes }, &[0]) },
            ];
            let graph = spread(Graph { nodes, results: vec![("out".to_owned(), 1)] });
            assert_eq!((graph.nodes.len(), graph.results[0].1), (expected, expected - 1));
            if let Op::Conv { weights, groups, .. } = &graph.nodes[expected - 2].op {
                assert_eq!((weights.values[0], *groups), (0.75, channels));
                assert_eq!(graph.nodes[4].inputs, [0, 3]);
            }
        }
    }

    #[test]
    fn a_sum_that_only_looks_like_one_stays() {
        assert_eq!(slopes(by_size([2, 0])), None);
        assert_eq!(slopes(by_size([1, 2])), None);
    }
}

//! The typed graph between what reads a published model and what writes ONNX.
//!
//! The thing to know: shapes are those of one item, with 1 at the batch axis, which is always
//! axis 0. No operation here moves, mixes or indexes that axis, so the graph that is written in the
//! end computes the same for every batch size.

use crate::tensor::Tensor;
use crate::window::Window;

/// The size of an axis that the network leaves open, such as the height of a detector's input.
pub(super) const OPEN: usize = 0;

/// A network in an order in which it can be computed.
#[derive(Debug)]
pub(super) struct Graph {
    /// Operations; each one's inputs stand before it.
    pub(super) nodes: Vec<Node>,
    /// Names of the network's results and the nodes they come from.
    pub(super) results: Vec<(String, usize)>,
}

/// One operation with one single-precision result.
#[derive(Debug)]
pub(super) struct Node {
    /// The IR layer's name.
    pub(super) name: String,
    /// What it does.
    pub(super) op: Op,
    /// Positions in [`Graph::nodes`] of the tensors it works on; constants are part of the `op`.
    pub(super) inputs: Vec<usize>,
    /// Shape of the result, batch axis as 1.
    pub(super) shape: Vec<usize>,
}

/// What a node does. Channels are axis 1 of its result.
#[derive(Debug)]
pub(super) enum Op {
    /// An input of the network.
    Input,
    /// A convolution, `weights` [output channels, input channels / groups, kernel…].
    Conv { weights: Tensor, bias: Option<Vec<f32>>, groups: usize, window: Window },
    /// A matrix product with `weights` [inputs, channels], or the reverse when `transposed`.
    Gemm { weights: Tensor, bias: Option<Vec<f32>>, transposed: bool },
    /// Element by element with another input, or with a constant in its place.
    Binary { arithmetic: Arithmetic, constant: Option<Constant> },
    /// Negative values times a slope, one for each channel or one for all.
    PRelu { slopes: Vec<f32> },
    /// Negative values times one slope.
    LeakyRelu { slope: f32 },
    /// Negative values become 0.
    Relu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// The mean of each window; `count_pads` takes padding as zeros instead of leaving it out.
    AveragePool { window: Window, count_pads: bool },
    /// The largest of each window.
    MaxPool { window: Window },
    /// The same values in the node's shape.
    Reshape,
    /// Each cell of the two spatial axes becomes `factor` × `factor` equal ones.
    Upsample { factor: u8 },
    /// [batch, channels, height, width] to [batch, height × width, channels].
    Cells,
    /// Values without their sign.
    Abs,
    /// Values with the other sign.
    Neg,
}

impl Op {
    /// A product with one number for each channel of an image, as a convolution of one cell:
    /// runtimes lay channels in blocks for convolutions, and out of them and in again for a
    /// product.
    pub(super) fn by_channel(values: Vec<f32>) -> Self {
        let groups = values.len();
        let weights = Tensor { shape: vec![groups, 1, 1, 1], values };
        Self::Conv { weights, bias: None, groups, window: Window::one(2) }
    }
}

/// The element-wise operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
}

/// A constant operand of a [`Op::Binary`].
#[derive(Debug)]
pub(super) struct Constant {
    /// Its values; broadcast from the last axis.
    pub(super) tensor: Tensor,
    /// Whether it is the left operand.
    pub(super) first: bool,
}

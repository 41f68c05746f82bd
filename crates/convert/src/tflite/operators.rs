//! The operators of TensorFlow Lite that are known, what each asks of its inputs, and what it
//! yields.
//!
//! The thing to know: weights are moved from TensorFlow's order of axes to ONNX's here, and a
//! matrix product over a flattened image has its columns re-ordered, because the image lies
//! channels first.

use super::{Table, TfliteReader, indices, malformed};
use crate::error::{ConvertError, Result};
use crate::graph::{Arithmetic, Constant, Op};
use crate::tensor::{Tensor, reorder};
use crate::window::Window;

const CODE_DEPRECATED: usize = 0;
const CODE_CUSTOM: usize = 1;
const CODE_BUILTIN: usize = 3;
const OPERATOR_CODE: usize = 0;
const OPERATOR_INPUTS: usize = 1;
const OPERATOR_OUTPUTS: usize = 2;
const OPERATOR_OPTIONS: usize = 4;
/// Codes above this do not fit the field of eight bits that older files have.
const LAST_DEPRECATED: i32 = 127;
/// `Padding`.
const SAME: u8 = 0;
const VALID: u8 = 1;

/// The fields of the options that an operator has; `Conv2DOptions`, `DepthwiseConv2DOptions`,
/// `Pool2DOptions` and `FullyConnectedOptions` number them differently.
mod field {
    pub(super) const PADDING: usize = 0;
    pub(super) const STRIDE_WIDTH: usize = 1;
    pub(super) const STRIDE_HEIGHT: usize = 2;
    pub(super) const CONV_ACTIVATION: usize = 3;
    pub(super) const CONV_DILATION_WIDTH: usize = 4;
    pub(super) const CONV_DILATION_HEIGHT: usize = 5;
    pub(super) const DEPTHWISE_ACTIVATION: usize = 4;
    pub(super) const DEPTHWISE_DILATION_WIDTH: usize = 5;
    pub(super) const DEPTHWISE_DILATION_HEIGHT: usize = 6;
    pub(super) const POOL_WIDTH: usize = 3;
    pub(super) const POOL_HEIGHT: usize = 4;
    pub(super) const POOL_ACTIVATION: usize = 5;
    pub(super) const PRODUCT_ACTIVATION: usize = 0;
    pub(super) const PRODUCT_FORMAT: usize = 1;
    pub(super) const BINARY_ACTIVATION: usize = 0;
}

/// `BuiltinOperator`: those that are converted, and others that face nets have, for messages.
const NAMES: [(i32, &str); 31] = [
    (0, "ADD"),
    (1, "AVERAGE_POOL_2D"),
    (2, "CONCATENATION"),
    (3, "CONV_2D"),
    (4, "DEPTHWISE_CONV_2D"),
    (6, "DEQUANTIZE"),
    (9, "FULLY_CONNECTED"),
    (11, "L2_NORMALIZATION"),
    (14, "LOGISTIC"),
    (17, "MAX_POOL_2D"),
    (18, "MUL"),
    (19, "RELU"),
    (21, "RELU6"),
    (22, "RESHAPE"),
    (23, "RESIZE_BILINEAR"),
    (25, "SOFTMAX"),
    (28, "TANH"),
    (34, "PAD"),
    (39, "TRANSPOSE"),
    (40, "MEAN"),
    (41, "SUB"),
    (42, "DIV"),
    (43, "SQUEEZE"),
    (47, "EXP"),
    (54, "PRELU"),
    (59, "NEG"),
    (74, "SUM"),
    (82, "REDUCE_MAX"),
    (98, "LEAKY_RELU"),
    (101, "ABS"),
    (114, "QUANTIZE"),
];

/// One operator as the model declares it.
pub(super) struct Operator<'a> {
    name: String,
    /// `None` for an input that is left out.
    pub(super) inputs: Vec<Option<usize>>,
    pub(super) outputs: Vec<usize>,
    options: Option<Table<'a>>,
}

impl<'a> Operator<'a> {
    pub(super) fn open(table: &Table<'a>, codes: &[Table<'a>]) -> Option<Self> {
        let code = codes.get(usize::try_from(table.number(OPERATOR_CODE, 0)?).ok()?)?;
        let deprecated = i32::from(code.byte(CODE_DEPRECATED, 0)?);
        let number = code.number(CODE_BUILTIN, 0)?.max(deprecated.min(LAST_DEPRECATED));
        let custom = code.text(CODE_CUSTOM)?;
        let known = NAMES.iter().find(|(known, _)| *known == number && custom.is_empty());
        let name = match known {
            Some((_, name)) => (*name).to_owned(),
            None if custom.is_empty() => format!("BuiltinOperator {number}"),
            None => format!("custom operator {custom}"),
        };
        let inputs = table.numbers(OPERATOR_INPUTS)?;
        Some(Self {
            name,
            inputs: inputs.iter().map(|input| usize::try_from(*input).ok()).collect(),
            outputs: indices(&table.numbers(OPERATOR_OUTPUTS)?)?,
            options: table.table(OPERATOR_OPTIONS),
        })
    }

    /// Input number `index`, which must not be left out.
    fn input(&self, index: usize) -> Result<usize> {
        let missing = || malformed(format!("{} lacks input {index}", self.name));
        self.inputs.get(index).copied().flatten().ok_or_else(missing)
    }

    /// A byte of the options; 0 where they are left out.
    fn byte(&self, id: usize) -> Result<u8> {
        let value = self.options.map_or(Some(0), |options| options.byte(id, 0));
        value.ok_or_else(|| malformed(format!("the options of {} leave the file", self.name)))
    }

    /// A count of the options.
    fn count(&self, id: usize, default: i32) -> Result<usize> {
        let value = self.options.map_or(Some(default), |options| options.number(id, default));
        let count = value.and_then(|value| usize::try_from(value).ok());
        count.ok_or_else(|| malformed(format!("the options of {} hold no count", self.name)))
    }

    /// Whether windows are padded so that as many come out as strides begin.
    fn pads_to_same(&self) -> Result<bool> {
        match self.byte(field::PADDING)? {
            SAME => Ok(true),
            VALID => Ok(false),
            other => Err(malformed(format!("{} has padding {other}", self.name))),
        }
    }
}

impl TfliteReader<'_, '_> {
    /// Reads one operator.
    pub(super) fn operator(&mut self, operator: &Operator<'_>) -> Result<()> {
        let [output] = operator.outputs[..] else {
            return Err(malformed(format!("{} has not one output", operator.name)));
        };
        let reading = OperatorReader { operator, output };
        match operator.name.as_str() {
            "CONV_2D" => self.convolution(&reading),
            "DEPTHWISE_CONV_2D" => self.depthwise(&reading),
            "FULLY_CONNECTED" => self.product(&reading),
            "MAX_POOL_2D" => self.max_pool(&reading),
            "ADD" => self.binary(&reading, Arithmetic::Add),
            "SUB" => self.binary(&reading, Arithmetic::Subtract),
            "MUL" => self.binary(&reading, Arithmetic::Multiply),
            "RELU" => self.unary(&reading, Op::Relu),
            "ABS" => self.unary(&reading, Op::Abs),
            "NEG" => self.unary(&reading, Op::Neg),
            "RESHAPE" => self.reshape(&reading),
            _ => Err(ConvertError::UnsupportedOperation {
                layer: self.file.tensor(output)?.name.to_owned(),
                operation: operator.name.clone(),
            }),
        }
    }

    fn convolution(&mut self, reading: &OperatorReader<'_, '_>) -> Result<()> {
        let weights = self.floats(reading.operator.input(1)?)?;
        let [yields, height, width, takes] = weights.shape[..] else {
            return Err(reading.wrong(self, "weights of a convolution have four axes"));
        };
        let weights = Tensor {
            shape: vec![yields, takes, height, width],
            values: reorder(&weights.values, [yields, height, width, takes], [0, 3, 1, 2]),
        };
        let dilations = [field::CONV_DILATION_HEIGHT, field::CONV_DILATION_WIDTH];
        self.slide(reading, weights, 1, dilations, field::CONV_ACTIVATION)
    }

    fn depthwise(&mut self, reading: &OperatorReader<'_, '_>) -> Result<()> {
        let weights = self.floats(reading.operator.input(1)?)?;
        let [1, height, width, channels] = weights.shape[..] else {
            return Err(reading.wrong(self, "weights of a depthwise convolution begin with 1"));
        };
        let weights = Tensor {
            shape: vec![channels, 1, height, width],
            values: reorder(&weights.values, [1, height, width, channels], [3, 0, 1, 2]),
        };
        let groups = self.nodes[self.node(reading.operator.input(0)?)?].shape[1];
        let dilations = [field::DEPTHWISE_DILATION_HEIGHT, field::DEPTHWISE_DILATION_WIDTH];
        self.slide(reading, weights, groups, dilations, field::DEPTHWISE_ACTIVATION)
    }

    /// Adds a convolution with weights in ONNX's order.
    fn slide(
        &mut self,
        reading: &OperatorReader<'_, '_>,
        weights: Tensor,
        groups: usize,
        dilations: [usize; 2],
        activation: usize,
    ) -> Result<()> {
        let operator = reading.operator;
        reading.without_activation(self, activation)?;
        let (input, shape) = self.image(reading)?;
        let [yields, takes, ref kernel @ ..] = weights.shape[..] else {
            return Err(reading.wrong(self, "weights of a convolution have four axes"));
        };
        if takes * groups != shape[1] || yields % groups != 0 {
            return Err(reading.wrong(self, "weights for another number of channels"));
        }
        let bias = self.bias(reading, yields, "a bias for another number of channels")?;
        let [rows, columns] = dilations;
        let dilations = vec![operator.count(rows, 1)?, operator.count(columns, 1)?];
        let (window, sizes) = self.window(reading, kernel.to_vec(), dilations, &shape[2..])?;
        let shape = [&[1, yields], sizes.as_slice()].concat();
        let op = Op::Conv { weights, bias, groups, window };
        self.push(reading.output, op, vec![input], shape)
    }

    fn window(
        &self,
        reading: &OperatorReader<'_, '_>,
        kernel: Vec<usize>,
        dilations: Vec<usize>,
        space: &[usize],
    ) -> Result<(Window, Vec<usize>)> {
        let operator = reading.operator;
        let strides =
            vec![operator.count(field::STRIDE_HEIGHT, 0)?, operator.count(field::STRIDE_WIDTH, 0)?];
        let same = operator.pads_to_same()?;
        Window::sliding(kernel, strides, dilations, same, space)
            .ok_or_else(|| reading.wrong(self, "a window that does not fit what it slides over"))
    }

    fn max_pool(&mut self, reading: &OperatorReader<'_, '_>) -> Result<()> {
        let operator = reading.operator;
        reading.without_activation(self, field::POOL_ACTIVATION)?;
        let (input, shape) = self.image(reading)?;
        let kernel =
            vec![operator.count(field::POOL_HEIGHT, 0)?, operator.count(field::POOL_WIDTH, 0)?];
        let (window, sizes) = self.window(reading, kernel, vec![1; 2], &shape[2..])?;
        let shape = [&shape[..2], sizes.as_slice()].concat();
        self.push(reading.output, Op::MaxPool { window }, vec![input], shape)
    }

    fn product(&mut self, reading: &OperatorReader<'_, '_>) -> Result<()> {
        let operator = reading.operator;
        reading.without_activation(self, field::PRODUCT_ACTIVATION)?;
        if operator.byte(field::PRODUCT_FORMAT)? != 0 {
            return Err(reading.wrong(self, "shuffled weights are not supported"));
        }
        let mut input = self.node(operator.input(0)?)?;
        let mut weights = self.floats(operator.input(1)?)?;
        let shape = self.nodes[input].shape.clone();
        let (yields, takes) = match weights.shape[..] {
            [yields, takes] if takes == shape.iter().product::<usize>() => (yields, takes),
            _ => return Err(reading.wrong(self, "weights for another number of inputs")),
        };
        if let [_, channels, height, width] = shape[..] {
            // The model counts the flattened image channels last, the graph channels first.
            weights.values =
                reorder(&weights.values, [yields, height, width, channels], [0, 3, 1, 2]);
            let name = format!("{}_flat", self.nodes[input].name);
            let flat =
                super::Node { name, op: Op::Reshape, inputs: vec![input], shape: vec![1, takes] };
            input = self.nodes.len();
            self.nodes.push(flat);
        }
        let bias = self.bias(reading, yields, "a bias for another number of outputs")?;
        let op = Op::Gemm { weights, bias, transposed: true };
        self.push(reading.output, op, vec![input], vec![1, yields])
    }

    fn binary(&mut self, reading: &OperatorReader<'_, '_>, arithmetic: Arithmetic) -> Result<()> {
        let operator = reading.operator;
        reading.without_activation(self, field::BINARY_ACTIVATION)?;
        let (left, right) = (operator.input(0)?, operator.input(1)?);
        let (inputs, constant) = match (self.is_constant(left)?, self.is_constant(right)?) {
            (true, true) => return Err(reading.wrong(self, "both operands are constants")),
            (false, false) => (vec![self.node(left)?, self.node(right)?], None),
            (first, _) => {
                let (constant, other) = if first { (left, right) } else { (right, left) };
                let tensor = self.floats(constant)?;
                (vec![self.node(other)?], Some((tensor, first)))
            }
        };
        let shape = self.nodes[inputs[0]].shape.clone();
        if inputs.iter().any(|input| self.nodes[*input].shape != shape) {
            return Err(reading.wrong(self, "the operands have different shapes"));
        }
        let constant = match constant {
            None => None,
            Some((Tensor { values, .. }, first)) if [1, shape[1]].contains(&values.len()) => {
                // Channels are the last axis in the model and the second in the graph.
                let mut axes = vec![values.len()];
                axes.resize(shape.len() - 1, 1);
                Some(Constant { tensor: Tensor { shape: axes, values }, first })
            }
            Some(_) => return Err(reading.wrong(self, "a constant operand is not one per channel")),
        };
        self.push(reading.output, Op::Binary { arithmetic, constant }, inputs, shape)
    }

    fn unary(&mut self, reading: &OperatorReader<'_, '_>, op: Op) -> Result<()> {
        let input = self.node(reading.operator.input(0)?)?;
        let shape = self.nodes[input].shape.clone();
        self.push(reading.output, op, vec![input], shape)
    }

    /// The third input, if it is not left out, with one number for each of what the operator
    /// yields; else `problem`.
    fn bias(
        &mut self,
        reading: &OperatorReader<'_, '_>,
        yields: usize,
        problem: &str,
    ) -> Result<Option<Vec<f32>>> {
        let Some(bias) = reading.operator.inputs.get(2).copied().flatten() else { return Ok(None) };
        let Tensor { values, .. } = self.floats(bias)?;
        if values.len() != yields {
            return Err(reading.wrong(self, problem));
        }
        Ok(Some(values))
    }

    /// Only a list of channels: the values of an image would come out in another order.
    fn reshape(&mut self, reading: &OperatorReader<'_, '_>) -> Result<()> {
        let input = self.node(reading.operator.input(0)?)?;
        match self.nodes[input].shape[..] {
            [1, channels, 1, 1] => {
                self.push(reading.output, Op::Reshape, vec![input], vec![1, channels])
            }
            _ => Err(reading.wrong(self, "only [batch, 1, 1, channels] can be reshaped")),
        }
    }

    /// The node of the first input and its shape, if that is an image.
    fn image(&self, reading: &OperatorReader<'_, '_>) -> Result<(usize, Vec<usize>)> {
        let input = self.node(reading.operator.input(0)?)?;
        let shape = self.nodes[input].shape.clone();
        if shape.len() == 4 {
            return Ok((input, shape));
        }
        Err(reading.wrong(self, "its input is no image"))
    }
}

/// The operator that is being read.
struct OperatorReader<'o, 'a> {
    operator: &'o Operator<'a>,
    output: usize,
}

impl OperatorReader<'_, '_> {
    fn wrong(&self, reader: &TfliteReader<'_, '_>, problem: &str) -> ConvertError {
        ConvertError::Layer {
            layer: reader.file.tensors[self.output].name.to_owned(),
            problem: format!("{}: {problem}", self.operator.name),
        }
    }

    fn without_activation(&self, reader: &TfliteReader<'_, '_>, id: usize) -> Result<()> {
        match self.operator.byte(id)? {
            0 => Ok(()),
            other => {
                let problem = format!("the built-in activation {other} is not supported");
                Err(self.wrong(reader, &problem))
            }
        }
    }
}

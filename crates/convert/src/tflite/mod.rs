//! Reads TensorFlow Lite models into the typed graph.
//!
//! The thing to know: TensorFlow Lite keeps channels last and writes the batch size into every
//! shape. Here channels come first and the batch is left open, so weights are re-ordered while they
//! are read. Only what the wanted tensors need is looked at, and an operation that is not known
//! there is refused by name.
//!
//! Schema:
//! <https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/compiler/mlir/lite/schema/schema.fbs>;
//! the numbers of its fields and of its enumerations stand here as constants.

mod flatbuffer;
mod operators;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use flatbuffer::Table;

use crate::error::{ConvertError, Result};
use crate::graph::{Graph, Node, Op};
use crate::tensor::{MAX_FLOATS, Tensor, charge, finite, singles};
use crate::xml::{MAX_DIM, MAX_RANK};

/// What a model begins with, after the offset of its root table.
const IDENTIFIER: &[u8] = b"TFL3";
const MODEL_OPERATOR_CODES: usize = 1;
const MODEL_SUBGRAPHS: usize = 2;
const MODEL_BUFFERS: usize = 4;
const SUBGRAPH_TENSORS: usize = 0;
const SUBGRAPH_INPUTS: usize = 1;
const SUBGRAPH_OUTPUTS: usize = 2;
const SUBGRAPH_OPERATORS: usize = 3;
const TENSOR_SHAPE: usize = 0;
const TENSOR_TYPE: usize = 1;
const TENSOR_BUFFER: usize = 2;
const TENSOR_NAME: usize = 3;
const BUFFER_DATA: usize = 0;
/// `TensorType`.
const FLOAT32: u8 = 0;

/// Reads the graph that computes the tensors called `wanted`, or the only output there is.
pub(super) fn read(model: &[u8], wanted: &[String]) -> Result<Graph> {
    if model.get(4..8) != Some(IDENTIFIER) {
        return Err(malformed("it does not begin as one"));
    }
    let file = File::open(model).ok_or_else(|| malformed("a table or list leaves the file"))?;
    let outputs = file.wanted(wanted)?;
    let needed = file.needed(&outputs)?;
    let mut reader = TfliteReader::new(&file)?;
    for operator in needed {
        reader.operator(operator)?;
    }
    let result =
        |output: &usize| Ok((file.tensors[*output].name.to_owned(), reader.node(*output)?));
    let results = outputs.iter().map(result).collect::<Result<_>>()?;
    Ok(Graph { nodes: reader.nodes, results })
}

fn malformed(problem: impl Into<String>) -> ConvertError {
    ConvertError::MalformedModel { format: "TensorFlow Lite", problem: problem.into() }
}

/// The tables of a model, as they stand in it.
struct File<'a> {
    tensors: Vec<TfliteBuffer<'a>>,
    operators: Vec<operators::Operator<'a>>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

/// A tensor as the model declares it.
struct TfliteBuffer<'a> {
    name: &'a str,
    /// Channels last, with the batch size of the model.
    shape: Vec<usize>,
    kind: u8,
    /// The values of a constant, empty for what is computed.
    data: &'a [u8],
}

impl<'a> File<'a> {
    fn open(model: &'a [u8]) -> Option<Self> {
        let root = Table::root(model)?;
        let buffers = root.tables(MODEL_BUFFERS)?;
        let codes = root.tables(MODEL_OPERATOR_CODES)?;
        let subgraphs = root.tables(MODEL_SUBGRAPHS)?;
        let graph = subgraphs.first()?;
        let stored = |tensor: &Table<'a>| {
            let shape = tensor.numbers(TENSOR_SHAPE)?;
            let buffer = usize::try_from(tensor.number(TENSOR_BUFFER, 0)?).ok()?;
            Some(TfliteBuffer {
                name: tensor.text(TENSOR_NAME)?,
                shape: indices(&shape)?,
                kind: tensor.byte(TENSOR_TYPE, FLOAT32)?,
                data: buffers.get(buffer)?.bytes(BUFFER_DATA)?,
            })
        };
        let operator = |table: &Table<'a>| operators::Operator::open(table, &codes);
        let tensors = graph.tables(SUBGRAPH_TENSORS)?;
        let operators = graph.tables(SUBGRAPH_OPERATORS)?;
        Some(Self {
            tensors: tensors.iter().map(stored).collect::<Option<_>>()?,
            operators: operators.iter().map(operator).collect::<Option<_>>()?,
            inputs: indices(&graph.numbers(SUBGRAPH_INPUTS)?)?,
            outputs: indices(&graph.numbers(SUBGRAPH_OUTPUTS)?)?,
        })
    }

    fn tensor(&self, index: usize) -> Result<&TfliteBuffer<'a>> {
        self.tensors.get(index).ok_or_else(|| malformed(format!("there is no tensor {index}")))
    }

    /// The tensors of those names; without names the only output.
    fn wanted(&self, names: &[String]) -> Result<Vec<usize>> {
        match (names, &self.outputs[..]) {
            ([], [output]) => self.tensor(*output).map(|_| vec![*output]),
            ([], _) => Err(malformed("it has several outputs and none was named")),
            _ => {
                let find = |name: &String| {
                    let found = self.tensors.iter().position(|tensor| tensor.name == name);
                    found.ok_or_else(|| malformed(format!("it has no tensor {name:?}")))
                };
                names.iter().map(find).collect()
            }
        }
    }

    /// The operators that `outputs` need, in the order of the file, which is one of computation.
    fn needed(&self, outputs: &[usize]) -> Result<Vec<&operators::Operator<'a>>> {
        let mut wanted = vec![false; self.tensors.len()];
        let mut needed = Vec::new();
        for output in outputs {
            wanted[*output] = true;
        }
        for operator in self.operators.iter().rev() {
            for tensor in operator.inputs.iter().flatten().chain(&operator.outputs) {
                self.tensor(*tensor)?;
            }
            if operator.outputs.iter().any(|tensor| wanted[*tensor]) {
                for tensor in operator.inputs.iter().flatten() {
                    wanted[*tensor] = true;
                }
                needed.push(operator);
            }
        }
        needed.reverse();
        Ok(needed)
    }
}

fn indices(numbers: &[i32]) -> Option<Vec<usize>> {
    numbers.iter().map(|number| usize::try_from(*number).ok()).collect()
}

/// The graph as far as it is read.
struct TfliteReader<'f, 'a> {
    file: &'f File<'a>,
    /// The batch size that is written into all its shapes.
    batch: usize,
    /// Constant numbers that may yet be decoded.
    budget: usize,
    nodes: Vec<Node>,
    /// Which node computes a tensor.
    computed: BTreeMap<usize, usize>,
}

impl<'f, 'a> TfliteReader<'f, 'a> {
    fn new(file: &'f File<'a>) -> Result<Self> {
        let [input] = file.inputs[..] else {
            return Err(malformed(format!("it has {} inputs, not one", file.inputs.len())));
        };
        let stored = file.tensor(input)?;
        if stored.kind != FLOAT32 {
            return Err(malformed("its input is not in single precision"));
        }
        let (name, shape) = (stored.name.to_owned(), shape(stored)?);
        let nodes = vec![Node { name, op: Op::Input, inputs: Vec::new(), shape }];
        let (batch, computed) = (stored.shape[0], BTreeMap::from([(input, 0)]));
        Ok(Self { file, batch, budget: MAX_FLOATS, nodes, computed })
    }

    /// Adds a node that computes `tensor` and has to yield the shape that the model declares for
    /// it.
    fn push(
        &mut self,
        tensor: usize,
        op: Op,
        inputs: Vec<usize>,
        computed: Vec<usize>,
    ) -> Result<()> {
        let stored = self.file.tensor(tensor)?;
        let (layer, declared) = (stored.name.to_owned(), shape(stored)?);
        if stored.shape[0] != self.batch {
            return Err(ConvertError::Layer {
                layer,
                problem: "mixes items of a batch".to_owned(),
            });
        }
        if declared != computed {
            return Err(ConvertError::Shape { layer, declared, computed });
        }
        self.nodes.push(Node { name: layer, op, inputs, shape: computed });
        self.computed.insert(tensor, self.nodes.len() - 1);
        Ok(())
    }

    /// The node that computes a tensor.
    fn node(&self, tensor: usize) -> Result<usize> {
        let missing = || malformed(format!("tensor {tensor} is used before it is computed"));
        self.computed.get(&tensor).copied().ok_or_else(missing)
    }

    fn is_constant(&self, tensor: usize) -> Result<bool> {
        Ok(!self.file.tensor(tensor)?.data.is_empty())
    }

    /// The values of a constant with its axes as they stand in the model, charged against the
    /// budget.
    fn floats(&mut self, tensor: usize) -> Result<Tensor> {
        let stored = self.file.tensor(tensor)?;
        let wrong = |problem: &str| ConvertError::Layer {
            layer: stored.name.to_owned(),
            problem: problem.to_owned(),
        };
        let needed = stored.shape.iter().try_fold(4, |size: usize, dim| size.checked_mul(*dim));
        if stored.kind != FLOAT32 || needed != Some(stored.data.len()) {
            return Err(wrong("is no constant in single precision of its declared shape"));
        }
        charge(&mut self.budget, stored.data.len() / 4)?;
        let values = finite(singles(stored.data));
        let values = values.ok_or_else(|| wrong("holds a value that is not finite"))?;
        Ok(Tensor { shape: stored.shape.clone(), values })
    }
}

/// The shape of one item, channels first.
fn shape(stored: &TfliteBuffer<'_>) -> Result<Vec<usize>> {
    let sound = (2..=MAX_RANK).contains(&stored.shape.len())
        && stored.shape.iter().all(|size| (1..=MAX_DIM).contains(size));
    match stored.shape[..] {
        [_, height, width, channels] if sound => Ok(vec![1, channels, height, width]),
        [_, channels] if sound => Ok(vec![1, channels]),
        ref other => Err(ConvertError::Layer {
            layer: stored.name.to_owned(),
            problem: format!("has the shape {other:?}; two and four axes are known"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Field, TestModel, TestOperator, TestTable};
    use super::*;
    use crate::convert_tflite;
    use crate::graph::Arithmetic;

    const ADD: TestOperator = TestOperator::Builtin(0);
    const CONVOLUTION: TestOperator = TestOperator::Builtin(3);
    const DEPTHWISE: TestOperator = TestOperator::Builtin(4);
    const PRODUCT: TestOperator = TestOperator::Builtin(9);
    const MAX_POOL: TestOperator = TestOperator::Builtin(17);
    const MULTIPLY: TestOperator = TestOperator::Builtin(18);
    const RELU: TestOperator = TestOperator::Builtin(19);
    const SUBTRACT: TestOperator = TestOperator::Builtin(41);
    const ABS: TestOperator = TestOperator::Builtin(101);

    /// Options of a window: padding, strides across and down, and what follows.
    fn window(padding: u8, stride: i32, more: &[Field]) -> TestTable {
        let stride = Field::Number(stride);
        [&[Field::Byte(padding), stride.clone(), stride], more].concat()
    }

    /// A convolution of one cell with weights 2 and 3 over 4 × 4 cells.
    fn convolution(model: &mut TestModel, input: i32, activation: u8, shape: &[i32]) -> i32 {
        let weights = model.tensor("weights", &[2, 1, 1, 1], &[2.0, 3.0]);
        let bias = model.tensor("bias", &[2], &[0.5, -1.0]);
        let options = window(0, 1, &[Field::Byte(activation)]);
        model.operator(CONVOLUTION, options, &[input, weights, bias], "conv", shape)
    }

    /// A convolution, an activation that is spelled out, a convolution by channel, the largest of
    /// each channel and a product.
    fn network() -> TestModel {
        let (mut model, input) = TestModel::with_input(&[1, 4, 4, 1]);
        let image = [1, 4, 4, 2];
        let x = convolution(&mut model, input, 0, &image);
        let positive = model.operator(RELU, vec![], &[x], "positive", &image);
        let size = model.operator(ABS, vec![], &[x], "size", &image);
        let twice = model.operator(SUBTRACT, vec![], &[x, size], "twice", &image);
        let slopes = model.tensor("slopes", &[2], &[0.125, 0.25]);
        let negative = model.operator(MULTIPLY, vec![], &[twice, slopes], "negative", &image);
        let sum = model.operator(ADD, vec![], &[positive, negative], "active", &image);
        let values: Vec<f32> = (0_u8..18).map(f32::from).collect();
        let cells = model.tensor("cells", &[1, 3, 3, 2], &values);
        let around = window(0, 2, &[Field::Number(1)]);
        let half = model.operator(DEPTHWISE, around, &[sum, cells], "half", &[1, 2, 2, 2]);
        let whole = window(1, 2, &[Field::Number(2), Field::Number(2)]);
        let largest = model.operator(MAX_POOL, whole, &[half], "largest", &[1, 1, 1, 2]);
        let matrix = model.tensor("matrix", &[1, 2], &[1.0, -1.0]);
        model.operator(PRODUCT, vec![], &[largest, matrix], "product", &[1, 1]);
        model
    }

    fn error(model: &TestModel) -> ConvertError {
        match read(&model.bytes(), &[]) {
            Err(error) => error,
            Ok(graph) => panic!("it was accepted: {graph:?}"),
        }
    }

    #[test]
    fn a_small_model_is_read_with_channels_first() {
        let graph = read(&network().bytes(), &[]).unwrap();
        let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        let before = ["in", "conv", "positive", "size", "twice", "negative", "active", "half"];
        assert_eq!(names[..8], before);
        assert_eq!(graph.results, [("product".to_owned(), graph.nodes.len() - 1)]);
        assert_eq!(graph.nodes[1].shape, [1, 2, 4, 4]);
        assert!(matches!(
            graph.nodes[4].op,
            Op::Binary { arithmetic: Arithmetic::Subtract, constant: None }
        ));
        let Op::Conv { weights, groups, window, .. } = &graph.nodes[7].op else {
            panic!("{:?}", graph.nodes[7])
        };
        assert_eq!((weights.shape.as_slice(), *groups), (&[2, 1, 3, 3][..], 2));
        assert_eq!(weights.values[..4], [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(window.pads(), [0, 0, 1, 1]);
        let Op::Gemm { weights, .. } = &graph.nodes[10].op else { panic!("{:?}", graph.nodes[10]) };
        assert_eq!(weights.values, [1.0, -1.0]);
    }

    #[test]
    fn a_small_model_converts_to_the_same_bytes_each_time() {
        let model = network().bytes();
        let onnx = convert_tflite(&model, &[]).unwrap();
        assert_eq!(onnx, convert_tflite(&model, &[]).unwrap());
        let text = String::from_utf8_lossy(&onnx);
        for part in ["data", "out", "Conv", "PRelu", "MaxPool", "Gemm"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("Abs"));
    }

    #[test]
    fn a_wanted_tensor_is_the_result_and_what_it_does_not_need_is_not_read() {
        let (mut model, input) = TestModel::with_input(&[1, 4, 4, 1]);
        convolution(&mut model, input, 0, &[1, 4, 4, 2]);
        model.operator(TestOperator::Builtin(25), vec![], &[input], "softmax", &[1, 4, 4, 1]);
        let graph = read(&model.bytes(), &["conv".to_owned()]).unwrap();
        assert_eq!(graph.results, [("conv".to_owned(), 1)]);
        let error = read(&model.bytes(), &["none".to_owned()]).unwrap_err().to_string();
        assert!(error.ends_with("it has no tensor \"none\""), "{error}");
    }

    #[test]
    fn an_unknown_operator_is_refused_by_its_name() {
        for (code, name) in [
            (TestOperator::Builtin(25), "SOFTMAX"),
            (TestOperator::Builtin(114), "QUANTIZE"),
            (TestOperator::Builtin(150), "BuiltinOperator 150"),
            (TestOperator::Custom("Landmarks"), "custom operator Landmarks"),
        ] {
            let (mut model, input) = TestModel::with_input(&[1, 2]);
            model.operator(code, vec![], &[input], "last", &[1, 2]);
            match error(&model) {
                ConvertError::UnsupportedOperation { layer, operation } => {
                    assert_eq!((layer.as_str(), operation.as_str()), ("last", name));
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_built_in_activation_is_refused() {
        let (mut model, input) = TestModel::with_input(&[1, 4, 4, 1]);
        convolution(&mut model, input, 1, &[1, 4, 4, 2]);
        let problem = "CONV_2D: the built-in activation 1 is not supported";
        assert!(error(&model).to_string().ends_with(problem), "{}", error(&model));
        let (mut model, input) = TestModel::with_input(&[1, 2]);
        model.operator(ADD, vec![Field::Byte(3)], &[input, input], "sum", &[1, 2]);
        let problem = "ADD: the built-in activation 3 is not supported";
        assert!(error(&model).to_string().ends_with(problem), "{}", error(&model));
    }

    #[test]
    fn a_tensor_whose_declared_shape_does_not_fit_is_refused() {
        for shape in [[1, 4, 4, 3], [1, 4, 3, 2], [1, 2, 4, 4]] {
            let (mut model, input) = TestModel::with_input(&[1, 4, 4, 1]);
            convolution(&mut model, input, 0, &shape);
            assert!(matches!(error(&model), ConvertError::Shape { .. }), "{shape:?}");
        }
        let (mut model, input) = TestModel::with_input(&[1, 4, 4, 1]);
        convolution(&mut model, input, 0, &[2, 4, 4, 2]);
        assert!(error(&model).to_string().contains("mixes items of a batch"));
        for shape in [[3], [i32::MAX], [0]] {
            let (mut model, input) = TestModel::with_input(&[1, 2]);
            let constant = model.tensor("constant", &shape, &[1.0, 2.0]);
            model.operator(ADD, vec![], &[input, constant], "sum", &[1, 2]);
            let problem = "\"constant\": is no constant in single precision of its declared shape";
            assert!(error(&model).to_string().ends_with(problem), "{}", error(&model));
        }
    }

    #[test]
    fn a_constant_that_is_not_finite_is_refused() {
        let (mut model, input) = TestModel::with_input(&[1, 2]);
        let constant = model.tensor("constant", &[2], &[1.0, f32::NAN]);
        model.operator(ADD, vec![], &[input, constant], "sum", &[1, 2]);
        assert!(error(&model).to_string().ends_with("holds a value that is not finite"));
    }

    #[test]
    fn a_model_cut_short_anywhere_is_an_error() {
        let model = network().bytes();
        for end in 0..model.len() {
            assert!(convert_tflite(&model[..end], &[]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_model_with_any_byte_changed_never_panics() {
        let model = network().bytes();
        for at in 0..model.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = model.clone();
                changed[at] = value;
                // Some are other models that happen to be right; either way it comes back.
                let _ = convert_tflite(&changed, &[]);
            }
        }
    }
}

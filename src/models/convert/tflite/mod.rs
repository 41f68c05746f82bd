//! Reads TensorFlow Lite models into the typed graph.
//!
//! The thing to know: TensorFlow Lite keeps channels last and writes the batch size into every shape.
//! Here channels come first and the batch is left open, so weights are re-ordered while they are
//! read. Only what the wanted tensors need is looked at, and an operation that is not known there is
//! refused by name.
//!
//! Schema: <https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/compiler/mlir/lite/schema/schema.fbs>;
//! the numbers of its fields and of its enumerations stand here as constants.

mod flatbuffer;
mod operators;

use std::collections::BTreeMap;

use flatbuffer::Table;

use super::error::{ConvertError, Result};
use super::graph::{Graph, Node, Op};
use super::tensor::{MAX_FLOATS, Tensor};
use super::xml::{MAX_DIM, MAX_RANK};

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
    let mut reader = Reader::new(&file)?;
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
    tensors: Vec<Stored<'a>>,
    operators: Vec<operators::Operator<'a>>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

/// A tensor as the model declares it.
struct Stored<'a> {
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
            Some(Stored {
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

    fn tensor(&self, index: usize) -> Result<&Stored<'a>> {
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
struct Reader<'f, 'a> {
    file: &'f File<'a>,
    /// The batch size that is written into all its shapes.
    batch: usize,
    /// Constant numbers that may yet be decoded.
    budget: usize,
    nodes: Vec<Node>,
    /// Which node computes a tensor.
    computed: BTreeMap<usize, usize>,
}

impl<'f, 'a> Reader<'f, 'a> {
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

    /// Adds a node that computes `tensor` and has to yield the shape that the model declares for it.
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

    /// The values of a constant with its axes as they stand in the model, charged against the budget.
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
        let left = self.budget.checked_sub(stored.data.len() / 4);
        self.budget = left.ok_or(ConvertError::TooLarge { what: "weights", limit: MAX_FLOATS })?;
        let values: Vec<f32> =
            stored.data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if !values.iter().all(|value| value.is_finite()) {
            return Err(wrong("holds a value that is not finite"));
        }
        Ok(Tensor { shape: stored.shape.clone(), values })
    }
}

/// The shape of one item, channels first.
fn shape(stored: &Stored<'_>) -> Result<Vec<usize>> {
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

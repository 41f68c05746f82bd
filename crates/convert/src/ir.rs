//! From layers to a typed graph: every operation checked, every shape computed and compared.
//!
//! The thing to know: shapes are those of one item, with 1 at the batch axis, which is always
//! axis 0. An operation that would move, mix or index that axis is refused, because the graph
//! that is written in the end must compute the same for every batch size.

use std::collections::BTreeMap;

use crate::error::{ConvertError, Result};
use crate::graph::{Graph, Node};
use crate::tensor::{MAX_FLOATS, StoredTensor, Tensor};
use crate::xml::Layer;

/// Reads the graph from sorted layers and their weights.
pub(super) fn read(layers: &[Layer<'_>], weights: &[u8]) -> Result<Graph> {
    let (nodes, results, values) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut reader = IrReader { weights, values, budget: MAX_FLOATS, nodes, results };
    for layer in layers {
        let value = reader.layer(layer)?;
        reader.values.push(value);
    }
    if reader.results.is_empty() {
        return Err(ConvertError::Malformed("there is no Result layer".to_owned()));
    }
    Ok(Graph { nodes: reader.nodes, results: reader.results.into_values().collect() })
}

/// What a layer yields.
#[derive(Debug, Clone)]
pub(super) enum IrValue<'w> {
    /// The result of the node at this position.
    Node(usize),
    /// A constant, not decoded yet.
    Constant(StoredTensor<'w>),
    /// A `Result` yields nothing.
    Nothing,
}

/// The graph as far as it is read.
#[derive(Debug)]
pub(super) struct IrReader<'w> {
    weights: &'w [u8],
    /// One for each layer so far.
    values: Vec<IrValue<'w>>,
    /// Constant numbers that may yet be decoded.
    budget: usize,
    nodes: Vec<Node>,
    /// By place in the file, which is the order of the network's outputs.
    results: BTreeMap<usize, (String, usize)>,
}

impl<'w> IrReader<'w> {
    fn layer(&mut self, layer: &Layer<'_>) -> Result<IrValue<'w>> {
        if !layer.is_standard() {
            return Err(layer.unsupported());
        }
        let value = match layer.kind {
            "Const" => IrValue::Constant(StoredTensor::read(layer, self.weights)?),
            "Convert" => self.convert(layer)?,
            "Result" => {
                let result = (layer.name.to_owned(), self.node(layer, 0, 1)?);
                self.results.insert(layer.place, result);
                return Ok(IrValue::Nothing);
            }
            _ => {
                let node = self.operation(layer)?;
                self.nodes.push(node);
                IrValue::Node(self.nodes.len() - 1)
            }
        };
        let computed = match &value {
            IrValue::Constant(stored) => &stored.shape,
            IrValue::Node(node) => &self.nodes[*node].shape,
            IrValue::Nothing => return Ok(value),
        };
        if *computed != layer.shape {
            let (declared, computed) = (layer.shape.clone(), computed.clone());
            return Err(ConvertError::Shape { layer: layer.name.to_owned(), declared, computed });
        }
        Ok(value)
    }

    /// `Convert` to single precision changes nothing: constants widen exactly when decoded, and
    /// everything else is in single precision already.
    fn convert(&self, layer: &Layer<'_>) -> Result<IrValue<'w>> {
        match layer.attribute("destination_type") {
            Some("f32") => {}
            other => return Err(layer.bad("destination_type", format!("is {other:?}, not f32"))),
        }
        match self.input(layer, 0, 1)? {
            IrValue::Constant(stored) if !stored.is_float() => {
                Err(layer.wrong("converts integers to fractions"))
            }
            value => Ok(value.clone()),
        }
    }

    /// The value at an input port of a layer that must have `count` of them.
    pub(super) fn input(
        &self,
        layer: &Layer<'_>,
        index: usize,
        count: usize,
    ) -> Result<&IrValue<'w>> {
        if layer.inputs.len() != count {
            let found = layer.inputs.len();
            return Err(layer.wrong(format!("has {found} inputs, {count} are needed")));
        }
        Ok(&self.values[layer.inputs[index]])
    }

    /// The position of the node at an input port.
    pub(super) fn node(&self, layer: &Layer<'_>, index: usize, count: usize) -> Result<usize> {
        match self.input(layer, index, count)? {
            IrValue::Node(node) => Ok(*node),
            _ => Err(layer.wrong(format!("input {index} is not a computed tensor"))),
        }
    }

    /// The position and shape of the node at an input port.
    pub(super) fn tensor(
        &self,
        layer: &Layer<'_>,
        index: usize,
        count: usize,
    ) -> Result<(usize, Vec<usize>)> {
        let node = self.node(layer, index, count)?;
        Ok((node, self.shape(node).to_vec()))
    }

    /// The shape of a node's result.
    pub(super) fn shape(&self, node: usize) -> &[usize] {
        &self.nodes[node].shape
    }

    /// The values of a constant.
    pub(super) fn floats(
        &mut self,
        layer: &Layer<'_>,
        index: usize,
        count: usize,
    ) -> Result<Tensor> {
        match self.input(layer, index, count)?.clone() {
            IrValue::Constant(stored) => stored.floats(layer, &mut self.budget),
            _ => Err(layer.wrong(format!("input {index} is not a constant"))),
        }
    }
}

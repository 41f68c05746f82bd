//! Writes small IRs for tests.
//!
//! It writes exactly what a test requests, valid or not, and every layer has input ports
//! `0`, `1`, … and one output port `out`.

use std::fmt::Write as _;

use crate::error::Result;
use crate::{graph::Graph, ir, xml};

/// An IR in the making.
#[derive(Debug, Default)]
pub(super) struct Ir {
    layers: String,
    edges: String,
    count: usize,
    /// The weights so far, all in single precision or integers.
    pub(super) weights: Vec<u8>,
}

impl Ir {
    /// An IR with one parameter of the given shape; returns the id of its layer.
    pub(super) fn with_input(shape: &[usize]) -> (Self, usize) {
        let mut ir = Self::default();
        let attributes = format!(r#"element_type="f32" shape="{}""#, join(shape));
        let input = ir.layer("Parameter", &attributes, &[], shape);
        (ir, input)
    }

    /// Adds a layer fed by others and returns its id. Its name is its type and id.
    pub(super) fn layer(
        &mut self,
        kind: &str,
        attributes: &str,
        inputs: &[usize],
        shape: &[usize],
    ) -> usize {
        let id = self.count;
        self.count += 1;
        let ports: String = (0..inputs.len())
            .fold(String::new(), |text, port| text + &format!("<port id=\"{port}\"/>"));
        let dims =
            shape.iter().fold(String::new(), |text, dim| text + &format!("<dim>{dim}</dim>"));
        let output = match kind {
            "Result" => String::new(),
            _ => format!(r#"<output><port id="out">{dims}</port></output>"#),
        };
        let _ = write!(
            self.layers,
            r#"<layer id="{id}" name="{kind}_{id}" type="{kind}" version="opset1">
            <data {attributes}/><input>{ports}</input>{output}</layer>"#
        );
        for (port, from) in inputs.iter().enumerate() {
            let _ = write!(
                self.edges,
                r#"<edge from-layer="{from}" from-port="out" to-layer="{id}" to-port="{port}"/>"#
            );
        }
        id
    }

    /// Adds a single-precision constant.
    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> usize {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant("f32", shape, bytes)
    }

    /// Adds a list of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> usize {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant("i64", &[values.len()], bytes)
    }

    /// Adds a constant of any type.
    pub(super) fn constant(&mut self, element: &str, shape: &[usize], bytes: Vec<u8>) -> usize {
        let (offset, size) = (self.weights.len(), bytes.len());
        self.weights.extend(bytes);
        let attributes = format!(
            r#"element_type="{element}" shape="{}" offset="{offset}" size="{size}""#,
            join(shape)
        );
        self.layer("Const", &attributes, &[], shape)
    }

    /// Adds a 1×1 convolution of one channel to two with weights 2 and 3, over 4×4 cells.
    pub(super) fn convolution(&mut self, input: usize) -> usize {
        let weights = self.floats(&[2, 1, 1, 1], &[2.0, 3.0]);
        self.layer("Convolution", WINDOW, &[input, weights], &[1, 2, 4, 4])
    }

    /// Adds a result.
    pub(super) fn result(&mut self, of: usize) {
        self.layer("Result", "", &[of], &[]);
    }

    /// Gives a layer another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.layers = self.layers.replace(from, to);
    }

    /// The text of the XML.
    pub(super) fn xml(&self) -> String {
        let Self { layers, edges, .. } = self;
        format!(
            r#"<?xml version="1.0"?><net name="tiny" version="11"><layers>{layers}</layers>
            <edges>{edges}</edges></net>"#
        )
    }
}

/// The graph of an IR, before any clean-up.
pub(super) fn read(ir: &Ir) -> Result<Graph> {
    let text = ir.xml();
    let document = xml::parse(&text)?;
    let (_, layers) = xml::layers(&document)?;
    ir::read(&layers, &ir.weights)
}

/// Attributes of a window that neither skips nor pads.
pub(super) const WINDOW: &str = r#"strides="1,1" dilations="1,1" pads_begin="0,0" pads_end="0,0""#;

fn join(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

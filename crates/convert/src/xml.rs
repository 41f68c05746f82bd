//! From the IR's text to a list of layers in an order in which they can be computed.
//!
//! The thing to know: the order of layers in the file means nothing. Edges alone say what feeds
//! what, so the layers are sorted here (topologically, ties by place in the file) and everything
//! after this step may assume that a layer's inputs come before it.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node, ParsingOptions};

use crate::error::{ConvertError, Result};

/// Longest text accepted, in bytes: ten times the largest known, small enough to parse at leisure.
pub(super) const MAX_TEXT: usize = 4 << 20;
/// Most XML nodes (elements, texts) accepted; bounds what the parser allocates.
const MAX_NODES: u32 = 1 << 19;
/// Longest stretch between two `<`, in bytes. It bounds the attributes of one element, which the
/// parser compares pair by pair; the longest known is a tenth of it.
const MAX_RUN: usize = 4 << 10;
/// Most input ports of a layer; no operation known here has more than two.
const MAX_INPUTS: usize = 16;
/// Most axes a tensor may have.
pub(super) const MAX_RANK: usize = 8;
/// Longest axis accepted; window arithmetic in `window.rs` relies on it to stay within 32 bits.
pub(super) const MAX_DIM: usize = 1 << 20;

/// One `<layer>` with its wires resolved.
#[derive(Debug)]
pub(super) struct Layer<'a> {
    /// The layer's name, usually unique but not relied on.
    pub(super) name: &'a str,
    /// The operation, e.g. `Convolution`.
    pub(super) kind: &'a str,
    /// For each input port, in order, the position of the layer that feeds it.
    pub(super) inputs: Vec<usize>,
    /// Declared shape of the first output, an open batch axis as 1; empty without outputs.
    pub(super) shape: Vec<usize>,
    /// Its place among the layers of the file.
    pub(super) place: usize,
    opset: &'a str,
    data: Option<Node<'a, 'a>>,
}

impl<'a> Layer<'a> {
    /// The attribute's text, if the layer has it.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.data.and_then(|data| data.attribute(name))
    }

    /// The attribute as a comma-separated list of numbers.
    pub(super) fn numbers(&self, name: &'static str) -> Result<Option<Vec<usize>>> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        match list(text) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.bad(name, format!("is {text:?}, not a list of numbers"))),
        }
    }

    /// Like [`Layer::numbers`] for an attribute the layer must have.
    pub(super) fn required(&self, name: &'static str) -> Result<Vec<usize>> {
        self.numbers(name)?.ok_or_else(|| self.bad(name, "is missing"))
    }

    /// The attribute as a truth value; `otherwise` without it.
    pub(super) fn flag(&self, name: &'static str, otherwise: bool) -> Result<bool> {
        match self.attribute(name) {
            None => Ok(otherwise),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(text) => Err(self.bad(name, format!("is {text:?}, neither true nor false"))),
        }
    }

    /// An error about one of the layer's attributes; the problem continues "attribute X …".
    pub(super) fn bad(&self, attribute: &'static str, problem: impl Into<String>) -> ConvertError {
        ConvertError::Attribute { layer: self.name.to_owned(), attribute, problem: problem.into() }
    }

    /// An error about the layer as a whole.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> ConvertError {
        ConvertError::Layer { layer: self.name.to_owned(), problem: problem.into() }
    }

    /// The error for an operation that cannot be converted.
    pub(super) fn unsupported(&self) -> ConvertError {
        let operation = format!("{}/{}", self.opset, self.kind);
        ConvertError::UnsupportedOperation { layer: self.name.to_owned(), operation }
    }

    /// Whether the operation is one of the standard's own, not a vendor's of the same name.
    pub(super) fn is_standard(&self) -> bool {
        self.opset.starts_with("opset")
    }
}

/// Parses the text, within limits and without DTDs.
pub(super) fn parse(text: &str) -> Result<Document<'_>> {
    if text.len() > MAX_TEXT {
        return Err(ConvertError::TooLarge { what: "bytes of XML", limit: MAX_TEXT });
    }
    if text.split('<').any(|run| run.len() > MAX_RUN) {
        return Err(ConvertError::TooLarge { what: "bytes of one XML element", limit: MAX_RUN });
    }
    // The parser copies the namespaces in force at every element that declares one; an IR has none.
    if text.contains("xmlns") {
        return Err(malformed("it declares XML namespaces"));
    }
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Ok(Document::parse_with_options(text, options)?)
}

/// The network's name and its layers, every layer after those that feed it.
pub(super) fn layers<'a>(document: &'a Document<'a>) -> Result<(&'a str, Vec<Layer<'a>>)> {
    let net = document.root_element();
    if !net.has_tag_name("net") {
        return Err(malformed("the root element is not <net>"));
    }
    match net.attribute("version") {
        Some("10" | "11") => {}
        other => return Err(ConvertError::UnsupportedVersion(other.unwrap_or("").to_owned())),
    }
    let drafts = children(child(net, "layers")?, "layer").enumerate();
    let drafts = drafts.map(|(place, layer)| draft(place, layer)).collect::<Result<Vec<_>>>()?;
    let wires = wires(&drafts, child(net, "edges")?)?;
    Ok((net.attribute("name").unwrap_or(""), sort(drafts, &wires)?))
}

/// A layer before its wires are known.
struct ElementBuilder<'a> {
    id: &'a str,
    layer: Layer<'a>,
    input_ports: Vec<&'a str>,
    /// The first output port; further ones (the indices of `MaxPool`) may exist but not be used.
    output_port: Option<&'a str>,
}

fn draft<'a>(place: usize, element: Node<'a, 'a>) -> Result<ElementBuilder<'a>> {
    let name = need(element, "name")?;
    let ports = |side: &'static str| {
        element.children().filter(move |node| node.has_tag_name(side)).flat_map(|node| {
            children(node, "port").map(|port| Ok((need(port, "id")?, port))).collect::<Vec<_>>()
        })
    };
    let inputs = ports("input").collect::<Result<Vec<_>>>()?;
    let output = ports("output").next().transpose()?;
    let shape = output.map_or_else(|| Some(Vec::new()), |(_, port)| port_shape(port));
    let layer = Layer {
        name,
        kind: need(element, "type")?,
        inputs: Vec::new(),
        shape: shape.ok_or_else(|| malformed(&format!("layer {name:?}: bad output <dim>")))?,
        place,
        opset: element.attribute("version").unwrap_or(""),
        data: child(element, "data").ok(),
    };
    if inputs.len() > MAX_INPUTS {
        return Err(layer.wrong(format!("more than {MAX_INPUTS} inputs")));
    }
    let input_ports = inputs.into_iter().map(|(id, _)| id).collect();
    Ok(ElementBuilder {
        id: need(element, "id")?,
        layer,
        input_ports,
        output_port: output.map(|o| o.0),
    })
}

fn port_shape(port: Node<'_, '_>) -> Option<Vec<usize>> {
    let dims = children(port, "dim").map(|dim| dim.text().unwrap_or(""));
    let dims = dims.enumerate().map(|(axis, text)| dim(axis, text));
    dims.collect::<Option<Vec<_>>>().filter(|shape| shape.len() <= MAX_RANK)
}

/// One axis of a shape. An open batch axis (`?` or `-1`, only at axis 0) is taken as 1: shapes are
/// computed for one item and the axis is opened again when the ONNX graph is written.
fn dim(axis: usize, text: &str) -> Option<usize> {
    match text.trim() {
        "?" | "-1" if axis == 0 => Some(1),
        digits => digits.parse().ok().filter(|size| (1..=MAX_DIM).contains(size)),
    }
}

/// A comma-separated shape as it stands in a `shape` attribute.
pub(super) fn shape(text: &str) -> Option<Vec<usize>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let dims = text.split(',').take(MAX_RANK + 1).enumerate().map(|(axis, text)| dim(axis, text));
    dims.collect::<Option<Vec<_>>>().filter(|shape| shape.len() <= MAX_RANK)
}

/// A comma-separated list of numbers of at most [`MAX_RANK`] entries.
fn list(text: &str) -> Option<Vec<usize>> {
    let numbers = text.split(',').take(MAX_RANK + 1).map(|number| number.trim().parse().ok());
    numbers.collect::<Option<Vec<_>>>().filter(|numbers| numbers.len() <= MAX_RANK)
}

/// For each draft and input port the position of the draft that feeds it.
fn wires(drafts: &[ElementBuilder<'_>], edges: Node<'_, '_>) -> Result<Vec<Vec<usize>>> {
    let mut position = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if position.insert(draft.id, index).is_some() {
            return Err(malformed(&format!("layer id {:?} appears twice", draft.id)));
        }
    }
    let find = |id: &str| {
        let found = position.get(id).copied();
        found.ok_or_else(|| malformed(&format!("an edge names the missing layer id {id:?}")))
    };
    let mut wires: Vec<_> = drafts.iter().map(|d| vec![None; d.input_ports.len()]).collect();
    for edge in children(edges, "edge") {
        let (from, to) = (find(need(edge, "from-layer")?)?, find(need(edge, "to-layer")?)?);
        let (from_port, to_port) = (need(edge, "from-port")?, need(edge, "to-port")?);
        if drafts[from].output_port != Some(from_port) {
            let problem = format!("its output port {from_port:?} is used, only the first may be");
            return Err(drafts[from].layer.wrong(problem));
        }
        let port = drafts[to].input_ports.iter().position(|id| *id == to_port);
        let port = port.ok_or_else(|| drafts[to].layer.wrong(format!("no port {to_port:?}")))?;
        if wires[to][port].replace(from).is_some() {
            return Err(drafts[to].layer.wrong(format!("port {to_port:?} is fed twice")));
        }
    }
    let joined = drafts.iter().zip(wires).map(|(draft, wires)| {
        let wires: Option<Vec<usize>> = wires.into_iter().collect();
        wires.ok_or_else(|| draft.layer.wrong("an input port is fed by no edge"))
    });
    joined.collect()
}

/// Orders the layers so that inputs come first; among layers that are ready, file order decides.
fn sort<'a>(drafts: Vec<ElementBuilder<'a>>, wires: &[Vec<usize>]) -> Result<Vec<Layer<'a>>> {
    let mut waiting: Vec<usize> = wires.iter().map(Vec::len).collect();
    let mut consumers = vec![Vec::new(); wires.len()];
    for (index, inputs) in wires.iter().enumerate() {
        for input in inputs {
            consumers[*input].push(index);
        }
    }
    let mut ready: BTreeSet<usize> = (0..wires.len()).filter(|i| waiting[*i] == 0).collect();
    let mut placed = vec![None; wires.len()];
    let mut order = Vec::with_capacity(wires.len());
    while let Some(index) = ready.pop_first() {
        placed[index] = Some(order.len());
        order.push(index);
        for consumer in &consumers[index] {
            waiting[*consumer] -= 1;
            if waiting[*consumer] == 0 {
                ready.insert(*consumer);
            }
        }
    }
    let mut drafts: Vec<Option<ElementBuilder<'_>>> = drafts.into_iter().map(Some).collect();
    let sorted = order.iter().map(|index| {
        let mut layer = drafts[*index].take()?.layer;
        layer.inputs = wires[*index].iter().map(|i| placed[*i]).collect::<Option<_>>()?;
        Some(layer)
    });
    let sorted: Option<Vec<Layer<'_>>> = sorted.collect();
    let complete = sorted.filter(|sorted| sorted.len() == wires.len());
    complete.ok_or_else(|| malformed("the edges form a cycle"))
}

fn children<'a>(node: Node<'a, 'a>, tag: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

fn child<'a>(node: Node<'a, 'a>, tag: &'static str) -> Result<Node<'a, 'a>> {
    children(node, tag).next().ok_or_else(|| malformed(&format!("there is no <{tag}>")))
}

fn need<'a>(node: Node<'a, 'a>, attribute: &str) -> Result<&'a str> {
    let tag = node.tag_name().name();
    let found = node.attribute(attribute);
    found.ok_or_else(|| malformed(&format!("a <{tag}> has no attribute {attribute:?}")))
}

fn malformed(problem: &str) -> ConvertError {
    ConvertError::Malformed(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ir, WINDOW};

    fn problem(text: &str) -> String {
        let result = parse(text).and_then(|document| layers(&document).map(|_| ()));
        result.expect_err("must be refused").to_string()
    }

    fn tiny() -> String {
        let (mut ir, input) = Ir::with_input(&[1, 2]);
        ir.result(input);
        ir.xml()
    }

    #[test]
    fn text_that_is_not_xml_is_refused() {
        assert!(matches!(parse("<net"), Err(ConvertError::Xml(_))));
    }

    #[test]
    fn a_document_type_is_refused() {
        let text = tiny().replace("<net", "<!DOCTYPE net [<!ENTITY a 'b'>]><net");
        assert!(matches!(parse(&text), Err(ConvertError::Xml(_))));
    }

    #[test]
    fn namespaces_and_endless_elements_are_refused() {
        assert!(problem(&tiny().replace("<net", "<net xmlns='x'")).contains("namespaces"));
        let long = format!("<net a='{}'", "x".repeat(MAX_RUN));
        assert!(matches!(
            parse(&tiny().replace("<net", &long)),
            Err(ConvertError::TooLarge { limit: MAX_RUN, .. })
        ));
    }

    #[test]
    fn another_version_of_ir_is_refused_and_version_10_is_not() {
        let text = tiny().replace("version=\"11\"", "version=\"9\"");
        assert_eq!(problem(&text), "IR version \"9\" is not supported, only 10 and 11 are");
        let text = tiny().replace("version=\"11\"", "version=\"10\"");
        assert!(layers(&parse(&text).expect("parses")).is_ok());
    }

    #[test]
    fn layers_are_sorted_by_what_feeds_them_and_not_by_place() {
        let text = tiny();
        let cut = text.find("<layer id=\"1\"").expect("second layer");
        let (head, tail) = text.split_at(cut);
        let (start, first) = head.split_at(head.find("<layer id").expect("first layer"));
        let (second, end) = tail.split_at(tail.find("</layers>").expect("end"));
        let text = [start, second, first, end].concat();
        let document = parse(&text).expect("parses");
        let (name, layers) = layers(&document).expect("is an IR");
        assert_eq!(name, "tiny");
        let order: Vec<_> = layers.iter().map(|layer| (layer.kind, layer.place)).collect();
        assert_eq!(order, [("Parameter", 1), ("Result", 0)]);
        assert_eq!(layers[1].inputs, [0]);
    }

    #[test]
    fn a_cycle_is_refused() {
        let (mut ir, _) = Ir::with_input(&[1, 2]);
        ir.layer("ReLU", "", &[2], &[1, 2]);
        ir.layer("ReLU", "", &[1], &[1, 2]);
        assert_eq!(problem(&ir.xml()), "malformed IR: the edges form a cycle");
    }

    #[test]
    fn wrong_wiring_names_the_layer() {
        let text = tiny();
        assert!(problem(&text.replace("from-layer=\"0\"", "from-layer=\"7\"")).contains("\"7\""));
        let text_of_second = text.replace("from-port=\"out\"", "from-port=\"2\"");
        assert!(problem(&text_of_second).starts_with("layer \"Parameter_0\": its output port"));
        let start = text.find("<edge ").expect("an edge");
        let edge = &text[start..text.find("</edges>").expect("end")];
        assert!(problem(&text.replace(edge, "")).contains("Result_1"));
        assert!(problem(&text.replace(edge, &edge.repeat(2))).contains("fed twice"));
        assert!(problem(&text.replace("id=\"1\"", "id=\"0\"")).contains("appears twice"));
    }

    #[test]
    fn an_open_axis_is_accepted_for_the_batch_only() {
        assert_eq!(shape("?, 3, 48,48"), Some(vec![1, 3, 48, 48]));
        assert_eq!(shape("-1,3"), Some(vec![1, 3]));
        assert_eq!(shape("1,?"), None);
        assert_eq!(shape("1,0"), None);
        assert_eq!(shape("1,99999999999999999999"), None);
        assert_eq!(shape(&["1"; MAX_RANK + 1].join(",")), None);
        assert_eq!(shape(""), Some(vec![]));
    }

    #[test]
    fn lists_that_are_not_numbers_name_their_attribute() {
        let (mut ir, input) = Ir::with_input(&[1, 2]);
        ir.layer("MaxPool", &WINDOW.replace("\"1,1\"", "\"1,x\""), &[input], &[1, 2]);
        let text = ir.xml();
        let document = parse(&text).expect("parses");
        let (_, layers) = layers(&document).expect("is an IR");
        let error = layers[1].numbers("strides").expect_err("not numbers").to_string();
        assert_eq!(
            error,
            "layer \"MaxPool_1\": attribute \"strides\" is \"1,x\", not a list of numbers"
        );
    }
}

//! Softmax that is written out in a net, rewritten so that it does not overflow.
//!
//! The exponential of a number above 88 is infinite in single precision, and infinity divided by
//! infinity is not a number. A photo in plain black and white is enough for that. The largest value
//! is subtracted from all of them before, which does not change their softmax.

use super::{
    onnx::{ATTRIBUTE_I, GRAPH_OUTPUT, Model, Node, VALUE_NAME, write_constant},
    protobuf::{Content, Message, child, fields},
};

/// The least value that a net with sound weights returns. Pooling makes the least number there is
/// of what is no number; that is not subtracted, so that its softmax still is no number.
const LEAST: f32 = -1e6;

/// Rewrites every exp(x) ÷ sum of exp(x) in an ONNX model; `None` if there is none, or for bytes
/// that are no model.
pub(super) fn without_overflow(model: &[u8]) -> Option<Vec<u8>> {
    let model = Model::read(model)?;
    let returned: Vec<_> =
        model.messages(GRAPH_OUTPUT).filter_map(|value| child(value, VALUE_NAME)).collect();
    model.replacing(|node| {
        let (values, sum) = softmax(node, &model.nodes)?;
        let powers = node.outputs[0];
        if returned.contains(&powers) {
            return None;
        }
        let [largest, least, shift, shifted] = ["largest", "least", "shift", "shifted"]
            .map(|name| [values, b"/", name.as_bytes()].concat());
        let mut graph = Message::default();
        write_constant(&least, &[LEAST], &mut graph);
        sum.write_as(b"ReduceMax", &[values], &largest, &mut graph);
        node.write_as(b"Max", &[&largest, &least], &shift, &mut graph);
        node.write_as(b"Sub", &[values, &shift], &shifted, &mut graph);
        node.write_as(b"Exp", &[&shifted], powers, &mut graph);
        Some(graph)
    })
}

/// The values whose softmax begins with this operation, and the sum of their exponentials.
fn softmax<'a, 'n>(node: &Node<'a>, all: &'n [Node<'a>]) -> Option<(&'a [u8], &'n Node<'a>)> {
    let (b"Exp", [values], [powers]) = (node.op, &node.inputs[..], &node.outputs[..]) else {
        return None;
    };
    let mut users = all.iter().filter(|user| user.inputs.contains(powers));
    let (sum, quotient) = (users.next()?, users.next()?);
    let is_softmax = users.next().is_none()
        && sum.op == b"ReduceSum"
        && sum.inputs == [*powers]
        && keeps_axes(sum)
        && quotient.op == b"Div"
        && quotient.inputs == [*powers, *sum.outputs.first()?];
    is_softmax.then_some((*values, sum))
}

/// Whether a sum has as many axes as what it is the sum of.
fn keeps_axes(sum: &Node<'_>) -> bool {
    let is_zero = |attribute| {
        let fields = fields(attribute).unwrap_or_default();
        fields.iter().any(|f| f.number == ATTRIBUTE_I && matches!(f.content, Content::Number(0)))
    };
    !sum.attribute("keepdims").is_some_and(is_zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{
        GRAPH_NODE, NODE_ATTRIBUTE,
        tests::{attribute, model, node},
    };

    fn written_out() -> Vec<Vec<u8>> {
        let mut sum = node("ReduceSum", &["e"], "s");
        sum.extend(attribute("axes", &[1]));
        vec![node("Exp", &["x"], "e"), sum, node("Div", &["e", "s"], "y")]
    }

    #[test]
    fn the_largest_value_is_subtracted_along_the_axes_of_the_sum() {
        let nodes = written_out();
        let rewritten = without_overflow(&model(&nodes, b"")).unwrap();
        let mut largest = node("ReduceMax", &["x"], "x/largest");
        largest.extend(attribute("axes", &[1]));
        let shift = node("Max", &["x/largest", "x/least"], "x/shift");
        let shifted = node("Sub", &["x", "x/shift"], "x/shifted");
        let exp = node("Exp", &["x/shifted"], "e");
        let [_, sum, quotient] = <[Vec<u8>; 3]>::try_from(nodes).unwrap();
        let expected = model(&[largest, shift, shifted, exp, sum, quotient], b"");
        let written = |model: &[u8]| {
            let model = Model::read(model).unwrap();
            model.messages(GRAPH_NODE).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(written(&rewritten), written(&expected));
    }

    #[test]
    fn other_exponentials_stay() {
        let mut flat = written_out();
        let (mut keep, mut whole) = (Message::default(), Message::default());
        keep.bytes(1, b"keepdims");
        keep.number(ATTRIBUTE_I, 0);
        whole.bytes(NODE_ATTRIBUTE, &keep.0);
        flat[1].extend(whole.0);
        let mut other_quotient = written_out();
        other_quotient[2] = node("Div", &["s", "e"], "y");
        let mut used_again = written_out();
        used_again.push(node("Log", &["e"], "z"));
        let mut alone = written_out();
        alone.truncate(1);
        for nodes in [flat, other_quotient, used_again, alone] {
            assert_eq!(without_overflow(&model(&nodes, b"")), None);
        }
        let (mut value, mut output) = (Message::default(), Message::default());
        value.bytes(VALUE_NAME, b"e");
        output.bytes(GRAPH_OUTPUT, &value.0);
        assert_eq!(without_overflow(&model(&written_out(), &output.0)), None);
    }
}

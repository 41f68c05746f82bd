//! What each operation of the IR asks of its inputs and attributes, and the shape it yields.
//!
//! The thing to know: an operation is accepted only if it treats every item of a batch alike, so
//! weights and operands that would tie axis 0 to a size are refused here, one operation at a time.

use crate::error::Result;
use crate::graph::{Arithmetic, Constant, Node, Op};
use crate::ir::{IrReader, IrValue};
use crate::window::Window;
use crate::xml::{self, Layer};

/// An operation, the nodes it takes and the shape it yields.
type ReadOperation = (Op, Vec<usize>, Vec<usize>);

impl IrReader<'_> {
    /// Reads a layer that is neither a constant nor a result.
    pub(super) fn operation(&mut self, layer: &Layer<'_>) -> Result<Node> {
        let (op, inputs, shape) = match layer.kind {
            "Parameter" => parameter(layer).map(|shape| (Op::Input, Vec::new(), shape)),
            "Convolution" => self.convolution(layer, false),
            "GroupConvolution" => self.convolution(layer, true),
            "MatMul" => self.product(layer),
            "Add" => self.binary(layer, Arithmetic::Add),
            "Subtract" => self.binary(layer, Arithmetic::Subtract),
            "Multiply" => self.binary(layer, Arithmetic::Multiply),
            "PReLU" => self.prelu(layer),
            "ReLU" => self.unary(layer, Op::Relu),
            "Sigmoid" => self.unary(layer, Op::Sigmoid),
            "AvgPool" | "MaxPool" => self.pool(layer),
            "Reshape" => self.reshape(layer),
            _ => Err(layer.unsupported()),
        }?;
        Ok(Node { name: layer.name.to_owned(), op, inputs, shape })
    }

    fn convolution(&mut self, layer: &Layer<'_>, grouped: bool) -> Result<ReadOperation> {
        let (input, shape) = self.tensor(layer, 0, 2)?;
        let mut weights = self.floats(layer, 1, 2)?;
        // A group convolution's weights begin with an axis of groups: [groups, output channels of
        // a group, input channels of a group, kernel…]. ONNX wants the first two as one.
        let mut groups = 1;
        if grouped && weights.shape.len() > 1 {
            groups = weights.shape.remove(0);
            weights.shape[0] *= groups;
        }
        let (&[_, channels, ref space @ ..], &[yields, takes, ref kernel @ ..]) =
            (shape.as_slice(), weights.shape.as_slice())
        else {
            return Err(layer.wrong("a convolution of too few axes"));
        };
        if takes * groups != channels {
            let problem = format!("weights for {takes} x {groups} channels, input has {channels}");
            return Err(layer.wrong(problem));
        }
        let (window, sizes) = Window::read(layer, kernel.to_vec(), space)?;
        let shape = [&[1, yields], sizes.as_slice()].concat();
        Ok((Op::Conv { weights, bias: None, groups, window }, vec![input], shape))
    }

    fn product(&mut self, layer: &Layer<'_>) -> Result<ReadOperation> {
        let (input, shape) = self.tensor(layer, 0, 2)?;
        let weights = self.floats(layer, 1, 2)?;
        if layer.flag("transpose_a", false)? {
            return Err(layer.bad("transpose_a", "would move the batch axis"));
        }
        let transposed = layer.flag("transpose_b", false)?;
        let (&[_, width], &[first, second]) = (shape.as_slice(), weights.shape.as_slice()) else {
            return Err(layer.wrong("only a product of two matrices is supported"));
        };
        let (takes, yields) = if transposed { (second, first) } else { (first, second) };
        if takes != width {
            return Err(layer.wrong(format!("weights for {takes} inputs, there are {width}")));
        }
        Ok((Op::Gemm { weights, bias: None, transposed }, vec![input], vec![1, yields]))
    }

    fn binary(&mut self, layer: &Layer<'_>, arithmetic: Arithmetic) -> Result<ReadOperation> {
        match layer.attribute("auto_broadcast").unwrap_or("numpy") {
            "numpy" | "none" => {}
            other => return Err(layer.bad("auto_broadcast", format!("is {other:?}, not numpy"))),
        }
        let is_constant = |index| {
            Ok(matches!(self.input(layer, index, 2)?, IrValue::Constant(_))) as Result<bool>
        };
        let (inputs, constant) = match (is_constant(0)?, is_constant(1)?) {
            (true, true) => return Err(layer.wrong("both operands are constants")),
            (false, false) => (vec![self.node(layer, 0, 2)?, self.node(layer, 1, 2)?], None),
            (first, _) => {
                let tensor = self.floats(layer, usize::from(!first), 2)?;
                (vec![self.node(layer, usize::from(first), 2)?], Some(Constant { tensor, first }))
            }
        };
        let left = self.shape(inputs[0]);
        let right = match &constant {
            Some(constant) => constant.tensor.shape.as_slice(),
            None => self.shape(inputs[1]),
        };
        // Shapes align at their last axis; the batch axis has to meet the other's, or nothing.
        let aligned = right.len() == left.len() || (constant.is_some() && right.len() < left.len());
        let shape = Some(left).filter(|_| aligned).and_then(|left| broadcast(left, right));
        let Some(shape) = shape.filter(|shape| shape[0] == 1) else {
            return Err(layer.wrong(format!("shapes {left:?} and {right:?} do not go together")));
        };
        Ok((Op::Binary { arithmetic, constant }, inputs, shape))
    }

    fn prelu(&mut self, layer: &Layer<'_>) -> Result<ReadOperation> {
        let (input, shape) = self.tensor(layer, 0, 2)?;
        let slopes = self.floats(layer, 1, 2)?;
        let channels = shape.get(1).copied();
        // A plain list goes along the channels, unlike in other broadcasts.
        let is_list = slopes.shape.len() == 1 && Some(slopes.values.len()) == channels;
        let slopes = match slopes.values.len() {
            1 if slopes.shape.len() <= shape.len() => slopes.values,
            _ if is_list => slopes.values,
            _ => slopes.per_channel(&shape).ok_or_else(|| {
                layer.wrong(format!("slopes {:?} for a tensor {shape:?}", slopes.shape))
            })?,
        };
        Ok((Op::PRelu { slopes }, vec![input], shape))
    }

    fn unary(&self, layer: &Layer<'_>, op: Op) -> Result<ReadOperation> {
        let (input, shape) = self.tensor(layer, 0, 1)?;
        Ok((op, vec![input], shape))
    }

    fn pool(&self, layer: &Layer<'_>) -> Result<ReadOperation> {
        let (input, shape) = self.tensor(layer, 0, 1)?;
        let &[_, channels, ref space @ ..] = shape.as_slice() else {
            return Err(layer.wrong("a pooling of too few axes"));
        };
        let (window, sizes) = Window::read(layer, layer.required("kernel")?, space)?;
        let shape = [&[1, channels], sizes.as_slice()].concat();
        if layer.kind == "MaxPool" {
            return Ok((Op::MaxPool { window }, vec![input], shape));
        }
        // Runtimes divide by different counts where an incomplete window averages padding.
        if window.ceil {
            return Err(layer.bad("rounding_type", "adds an incomplete window to an average"));
        }
        if window.dilations.iter().any(|dilation| *dilation != 1) {
            return Err(layer.bad("dilations", "are not supported for an average"));
        }
        let count_pads = match layer.attribute("exclude-pad") {
            Some(_) => !layer.flag("exclude-pad", true)?,
            None => return Err(layer.bad("exclude-pad", "is missing")),
        };
        Ok((Op::AveragePool { window, count_pads }, vec![input], shape))
    }

    /// The target is resolved here, for one item, so that a batch of 1 written into it and a
    /// batch left open (-1 or 0) come out the same.
    fn reshape(&self, layer: &Layer<'_>) -> Result<ReadOperation> {
        let (input, from) = self.tensor(layer, 0, 2)?;
        let target = match self.input(layer, 1, 2)? {
            IrValue::Constant(stored) => stored.integers(layer)?,
            _ => return Err(layer.wrong("the target shape is not a constant")),
        };
        let zero_copies = layer.flag("special_zero", false)?;
        let shape = resolve(&from, &target, zero_copies).filter(|shape| shape.first() == Some(&1));
        let shape = shape.ok_or_else(|| {
            layer.wrong(format!("cannot reshape {from:?} to {target:?} item by item"))
        })?;
        Ok((Op::Reshape, vec![input], shape))
    }
}

fn parameter(layer: &Layer<'_>) -> Result<Vec<usize>> {
    match layer.attribute("element_type") {
        // Half precision is how such a network was stored; it is computed in single precision.
        Some("f32" | "f16") => {}
        other => return Err(layer.bad("element_type", format!("is {other:?}, not f32 or f16"))),
    }
    let text = layer.attribute("shape").ok_or_else(|| layer.bad("shape", "is missing"))?;
    let shape = xml::shape(text).filter(|shape| shape.first() == Some(&1));
    shape.ok_or_else(|| layer.bad("shape", format!("is {text:?}, not 1 or ? and then fixed sizes")))
}

/// The shape of an element-wise operation, `left` having at least as many axes as `right`.
fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let missing = left.len().checked_sub(right.len())?;
    let right = std::iter::repeat_n(&1, missing).chain(right);
    let dims = left.iter().zip(right).map(|(left, right)| match (left, right) {
        (1, dim) | (dim, 1) => Some(*dim),
        (left, right) => (left == right).then_some(*left),
    });
    dims.collect()
}

/// The shape that a `Reshape` gives to `from`: -1 stands for what is left over, and with
/// `zero_copies` 0 for the axis of the same number.
fn resolve(from: &[usize], target: &[i64], zero_copies: bool) -> Option<Vec<usize>> {
    let count = |shape: &[usize]| shape.iter().try_fold(1, |n: usize, dim| n.checked_mul(*dim));
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (axis, size) in target.iter().enumerate() {
        shape.push(match size {
            0 if zero_copies => *from.get(axis)?,
            -1 if open.replace(axis).is_none() => 1,
            size => usize::try_from(*size).ok().filter(|n| (1..=xml::MAX_DIM).contains(n))?,
        });
    }
    let all = count(from)?;
    if let Some(axis) = open {
        shape[axis] = all.checked_div(count(&shape)?)?;
    }
    (count(&shape) == Some(all) && shape.iter().all(|n| *n >= 1)).then_some(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConvertError;
    use crate::testing::{self, Ir, WINDOW};

    /// Reads one operation on an input and, after it, a constant.
    fn one(
        kind: &str,
        attributes: &str,
        input: &[usize],
        constant: Option<(&[usize], &[f32])>,
        yields: &[usize],
    ) -> Result<Op> {
        let (mut ir, first) = Ir::with_input(input);
        let mut inputs = vec![first];
        inputs.extend(constant.map(|(shape, values)| ir.floats(shape, values)));
        let last = ir.layer(kind, attributes, &inputs, yields);
        ir.result(last);
        Ok(testing::read(&ir)?.nodes.pop().expect("has nodes").op)
    }

    fn problem(result: Result<Op>) -> String {
        result.expect_err("must be refused").to_string()
    }

    fn reshape(attributes: &str, target: &[i64], yields: &[usize]) -> Result<Op> {
        let (mut ir, input) = Ir::with_input(&[1, 2, 3]);
        let target = ir.integers(target);
        let last = ir.layer("Reshape", attributes, &[input, target], yields);
        ir.result(last);
        Ok(testing::read(&ir)?.nodes.pop().expect("has nodes").op)
    }

    #[test]
    fn an_unknown_operation_is_named_with_its_layer() {
        let error = one("Loop", "", &[1, 2], None, &[1, 2]).expect_err("unknown");
        let text = error.to_string();
        assert!(matches!(error, ConvertError::UnsupportedOperation { .. }));
        assert_eq!(text, "layer \"Loop_1\": operation \"opset1/Loop\" is not supported");
    }

    #[test]
    fn an_operation_without_its_inputs_is_refused() {
        let error = problem(one("Convolution", WINDOW, &[1, 1, 4, 4], None, &[1, 1, 4, 4]));
        assert_eq!(error, "layer \"Convolution_1\": has 1 inputs, 2 are needed");
    }

    #[test]
    fn weights_for_other_channels_are_refused() {
        let weights: (&[usize], &[f32]) = (&[1, 2, 1, 1], &[1.0, 2.0]);
        let error = one("Convolution", WINDOW, &[1, 3, 4, 4], Some(weights), &[1, 1, 4, 4]);
        assert!(problem(error).contains("weights for 2 x 1 channels, input has 3"));
        let error = one("MatMul", "", &[1, 3], Some((&[2, 1], &[1.0, 2.0])), &[1, 1]);
        assert!(problem(error).contains("weights for 2 inputs, there are 3"));
    }

    #[test]
    fn groups_and_output_channels_become_one_axis() {
        let weights: (&[usize], &[f32]) = (&[2, 3, 1, 1, 1], &[1.0; 6]);
        let op = one("GroupConvolution", WINDOW, &[1, 2, 4, 4], Some(weights), &[1, 6, 4, 4]);
        match op.expect("is a convolution") {
            Op::Conv { weights, groups: 2, .. } => assert_eq!(weights.shape, [6, 1, 1, 1]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_would_tie_the_batch_axis_is_refused() {
        let rows: (&[usize], &[f32]) = (&[2, 2], &[1.0; 4]);
        assert!(problem(one("Add", "", &[1, 2], Some(rows), &[2, 2])).contains("go together"));
        let longer: (&[usize], &[f32]) = (&[1, 1, 2], &[1.0; 2]);
        assert!(problem(one("Add", "", &[1, 2], Some(longer), &[1, 1, 2])).contains("together"));
        let turned = one("MatMul", r#"transpose_a="true""#, &[1, 2], Some(rows), &[1, 2]);
        assert!(problem(turned).contains("transpose_a"));
        assert!(problem(reshape("", &[6, 1], &[6, 1])).contains("item by item"));
    }

    #[test]
    fn a_batch_of_more_than_one_or_a_second_open_axis_is_refused() {
        for shape in [&[2, 3][..], &[]] {
            let (mut ir, input) = Ir::with_input(shape);
            ir.result(input);
            assert!(matches!(testing::read(&ir), Err(ConvertError::Attribute { .. })), "{shape:?}");
        }
    }

    #[test]
    fn reshape_targets_resolve_for_one_item() {
        assert!(reshape("", &[1, 6], &[1, 6]).is_ok());
        assert!(reshape("", &[-1, 6], &[1, 6]).is_ok());
        assert!(reshape(r#"special_zero="true""#, &[0, -1], &[1, 6]).is_ok());
        for target in [&[0, 6][..], &[-1, -1], &[1, 5], &[-1, 4], &[1, -2], &[1, i64::MIN]] {
            assert!(problem(reshape("", target, &[1, 6])).contains("cannot reshape"), "{target:?}");
        }
    }

    #[test]
    fn slopes_go_along_the_channels() {
        let prelu = |shape: &[usize], count: usize| {
            one("PReLU", "", &[1, 2, 3], Some((shape, &[0.5, 0.25, 0.5, 0.1][..count])), &[1, 2, 3])
        };
        assert!(matches!(prelu(&[2], 2), Ok(Op::PRelu { .. })));
        assert!(matches!(prelu(&[1, 2, 1], 2), Ok(Op::PRelu { .. })));
        assert!(matches!(prelu(&[1], 1), Ok(Op::PRelu { .. })));
        assert!(problem(prelu(&[3], 3)).contains("slopes [3]"));
    }

    #[test]
    fn an_average_of_doubtful_meaning_is_refused() {
        let average = |attributes: &str, to: usize| {
            let attributes = format!(r#"kernel="3,3" strides="2,2" {attributes}"#);
            problem(one("AvgPool", &attributes, &[1, 1, 6, 6], None, &[1, 1, to, to]))
        };
        assert!(average("", 2).contains("\"exclude-pad\" is missing"));
        assert!(average(r#"exclude-pad="maybe""#, 2).contains("neither true nor false"));
        assert!(average(r#"exclude-pad="true" rounding_type="ceil""#, 3).contains("incomplete"));
    }
}

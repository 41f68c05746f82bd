//! Constants: where they lie in the weights, and their values in single precision.
//!
//! The thing to know: a constant is decoded at every use, not when it is declared, and each use is
//! charged against one budget. A small file in which many layers share one large constant thus
//! cannot grow without bound, and constants that nothing uses cost nothing.

use crate::error::{ConvertError, Result};
use crate::xml::{self, Layer};

/// Most single-precision numbers that one model may hold (256 MiB of them).
pub(super) const MAX_FLOATS: usize = 64 << 20;

/// How the numbers of a constant are stored, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    F16,
    F32,
    I32,
    I64,
}

/// A constant as it lies in the weights.
#[derive(Debug, Clone)]
pub(super) struct StoredTensor<'w> {
    bytes: &'w [u8],
    element: Element,
    /// Its shape; empty for a scalar.
    pub(super) shape: Vec<usize>,
}

/// A constant in single precision, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    /// Its shape; empty for a scalar.
    pub(super) shape: Vec<usize>,
    /// As many finite values as the shape says.
    pub(super) values: Vec<f32>,
}

impl<'w> StoredTensor<'w> {
    /// Finds the bytes of a `Const` layer.
    pub(super) fn read(layer: &Layer<'_>, weights: &'w [u8]) -> Result<Self> {
        let (element, width) = match layer.attribute("element_type") {
            Some("f16") => (Element::F16, 2),
            Some("f32") => (Element::F32, 4),
            Some("i32") => (Element::I32, 4),
            Some("i64") => (Element::I64, 8),
            other => {
                let problem = format!("is {:?}; f16, f32, i32, i64 are known", other.unwrap_or(""));
                return Err(layer.bad("element_type", problem));
            }
        };
        let text = layer.attribute("shape").ok_or_else(|| layer.bad("shape", "is missing"))?;
        let shape = xml::shape(text).filter(|_| !text.contains(['?', '-']));
        let shape = shape.ok_or_else(|| layer.bad("shape", format!("is {text:?}")))?;
        let (offset, size) = (number(layer, "offset")?, number(layer, "size")?);
        let needed = shape.iter().try_fold(width, |product: usize, dim| product.checked_mul(*dim));
        if needed != Some(size) {
            return Err(layer.bad("size", format!("is {size}, which does not fit shape {shape:?}")));
        }
        let end = offset.checked_add(size);
        let bytes = end.and_then(|end| weights.get(offset..end));
        let bytes = bytes.ok_or_else(|| ConvertError::WeightsOutOfRange {
            layer: layer.name.to_owned(),
            offset,
            size,
            available: weights.len(),
        })?;
        Ok(Self { bytes, element, shape })
    }

    /// Whether the constant holds fractions (`f16` or `f32`) and not integers.
    pub(super) fn is_float(&self) -> bool {
        matches!(self.element, Element::F16 | Element::F32)
    }

    /// The values in single precision, charged against `budget` (numbers left). Half precision
    /// widens exactly. `layer` is the one that uses the constant.
    pub(super) fn floats(&self, layer: &Layer<'_>, budget: &mut usize) -> Result<Tensor> {
        let width = if self.element == Element::F16 { 2 } else { 4 };
        charge(budget, self.bytes.len() / width)?;
        let values = match self.element {
            Element::F16 => {
                let halves = self.bytes.as_chunks().0.iter();
                finite(halves.map(|bytes| widen(u16::from_le_bytes(*bytes))))
            }
            Element::F32 => finite(singles(self.bytes)),
            Element::I32 | Element::I64 => {
                return Err(layer.wrong("a constant input holds integers, not fractions"));
            }
        };
        let values = values
            .ok_or_else(|| layer.wrong("a constant input holds a value that is not finite"))?;
        Ok(Tensor { shape: self.shape.clone(), values })
    }

    /// The values of a short list of integers, such as the target of a `Reshape`.
    pub(super) fn integers(&self, layer: &Layer<'_>) -> Result<Vec<i64>> {
        if self.shape.len() > 1 || self.shape.iter().any(|length| *length > xml::MAX_RANK) {
            return Err(layer.wrong("a constant input is not a short list of integers"));
        }
        match self.element {
            Element::I64 => {
                Ok(self.bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
            }
            Element::I32 => {
                let chunks = self.bytes.as_chunks().0.iter();
                Ok(chunks.map(|b| i64::from(i32::from_le_bytes(*b))).collect())
            }
            Element::F16 | Element::F32 => {
                Err(layer.wrong("a constant input holds fractions, not integers"))
            }
        }
    }
}

impl Tensor {
    /// The values as one per channel (axis 1) of a tensor of shape `of`, if broadcasting them to
    /// `of` varies along no other axis and does not enlarge it.
    pub(super) fn per_channel(&self, of: &[usize]) -> Option<Vec<f32>> {
        let channels = *of.get(1)?;
        // Broadcasting aligns shapes at their last axis.
        let first = of.len().checked_sub(self.shape.len())?;
        let varies = |(axis, dim): (usize, &usize)| *dim != 1 && first + axis != 1;
        if self.shape.iter().enumerate().any(varies) {
            return None;
        }
        match self.values.as_slice() {
            [value] => Some(vec![*value; channels]),
            values if values.len() == channels => Some(values.to_vec()),
            _ => None,
        }
    }
}

/// Takes `count` numbers off a budget of [`MAX_FLOATS`] for one model.
pub(super) fn charge(budget: &mut usize, count: usize) -> Result<()> {
    let left = budget.checked_sub(count);
    *budget = left.ok_or(ConvertError::TooLarge { what: "weights", limit: MAX_FLOATS })?;
    Ok(())
}

/// Numbers in single precision, little-endian; a rest of fewer than four bytes is left out.
pub(super) fn singles(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// All numbers, if each is finite: one NaN in the weights would make every result NaN.
pub(super) fn finite(numbers: impl Iterator<Item = f32>) -> Option<Vec<f32>> {
    numbers.map(|number| number.is_finite().then_some(number)).collect()
}

/// The values of a tensor with axes of sizes `from`, in the order in which they lie when its axes
/// are taken in the order `axes`.
pub(super) fn reorder(values: &[f32], from: [usize; 4], axes: [usize; 4]) -> Vec<f32> {
    let steps = [from[1] * from[2] * from[3], from[2] * from[3], from[3], 1];
    let [sizes, steps] = [from, steps].map(|list| axes.map(|axis| list[axis]));
    let mut reordered = Vec::with_capacity(values.len());
    for a in 0..sizes[0] {
        for b in 0..sizes[1] {
            for c in 0..sizes[2] {
                let start = a * steps[0] + b * steps[1] + c * steps[2];
                reordered.extend((0..sizes[3]).map(|d| values[start + d * steps[3]]));
            }
        }
    }
    reordered
}

fn number(layer: &Layer<'_>, name: &'static str) -> Result<usize> {
    match layer.required(name)?.as_slice() {
        [number] => Ok(*number),
        _ => Err(layer.bad(name, "is not one number")),
    }
}

/// IEEE 754 half precision to single precision, exactly.
fn widen(bits: u16) -> f32 {
    const SUBNORMAL_UNIT: f32 = 1.0 / 16_777_216.0; // 2^-24
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = bits & 0x03ff;
    let magnitude = match exponent {
        0 => (f32::from(fraction) * SUBNORMAL_UNIT).to_bits(),
        0x1f => 0x7f80_0000 | u32::from(fraction) << 13,
        // The exponents' biases differ by 127 - 15.
        _ => (exponent + 112) << 23 | u32::from(fraction) << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Ir};

    /// Adds the constant (the last layer) to an input of two numbers.
    fn add(mut ir: Ir, constant: usize) -> Result<()> {
        let sum = ir.layer("Add", "", &[0, constant], &[1, 2]);
        ir.result(sum);
        testing::read(&ir).map(|_| ())
    }

    #[test]
    fn half_precision_widens_exactly() {
        assert_eq!(widen(0x3c00).to_bits(), 1.0_f32.to_bits());
        assert_eq!(widen(0xc000).to_bits(), (-2.0_f32).to_bits());
        assert_eq!(widen(0x3555).to_bits(), 0.333_251_95_f32.to_bits());
        assert_eq!(widen(0x7bff).to_bits(), 65_504.0_f32.to_bits());
        assert_eq!(widen(0x0400).to_bits(), 6.103_515_6e-5_f32.to_bits());
        assert_eq!(widen(0x0001).to_bits(), 5.960_464_5e-8_f32.to_bits());
        assert_eq!(widen(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(widen(0x7c00).to_bits(), f32::INFINITY.to_bits());
        assert!(widen(0x7e00).is_nan());
    }

    #[test]
    fn weights_out_of_range_are_refused() {
        let (mut ir, _) = Ir::with_input(&[1, 2]);
        let constant = ir.floats(&[1, 2], &[1.0, 2.0]);
        ir.weights.pop();
        let error = add(ir, constant).expect_err("a byte is missing").to_string();
        assert_eq!(error, "layer \"Const_1\": bytes 0..+8 lie outside the weights (7 bytes)");
    }

    #[test]
    fn offsets_that_overflow_are_refused() {
        for attributes in [
            r#"element_type="f32" shape="1,2" offset="18446744073709551615" size="8""#,
            r#"element_type="f32" shape="1,2" offset="9223372036854775807" size="8""#,
        ] {
            let (mut ir, _) = Ir::with_input(&[1, 2]);
            let constant = ir.layer("Const", attributes, &[], &[1, 2]);
            assert!(matches!(add(ir, constant), Err(ConvertError::WeightsOutOfRange { .. })));
        }
    }

    #[test]
    fn a_size_that_does_not_fit_the_shape_is_refused() {
        for (shape, size) in [("1,2", "4"), ("1048576,1048576,1048576,1048576", "0"), ("1,?", "4")]
        {
            let (mut ir, _) = Ir::with_input(&[1, 2]);
            let attributes =
                format!(r#"element_type="f32" shape="{shape}" offset="0" size="{size}""#);
            let constant = ir.layer("Const", &attributes, &[], &[1, 2]);
            assert!(matches!(add(ir, constant), Err(ConvertError::Attribute { .. })), "{shape}");
        }
    }

    #[test]
    fn values_that_are_not_finite_or_not_fractions_are_refused() {
        let (mut ir, _) = Ir::with_input(&[1, 2]);
        let constant = ir.constant("f16", &[1, 1], vec![0x00, 0x7c]);
        assert!(add(ir, constant).expect_err("infinite").to_string().contains("not finite"));
        let (mut ir, _) = Ir::with_input(&[1, 2]);
        let constant = ir.integers(&[1, 2]);
        assert!(add(ir, constant).expect_err("integers").to_string().contains("integers"));
        let (mut ir, _) = Ir::with_input(&[1, 2]);
        let constant = ir.constant("bf16", &[1, 1], vec![0, 0]);
        assert!(add(ir, constant).expect_err("unknown").to_string().contains("\"bf16\""));
    }

    #[test]
    fn every_use_of_a_constant_is_charged() {
        let (mut ir, _) = Ir::with_input(&[1, 2]);
        ir.floats(&[1, 2], &[1.0, 2.0]);
        let text = ir.xml();
        let document = xml::parse(&text).expect("parses");
        let (_, layers) = xml::layers(&document).expect("is an IR");
        let stored = StoredTensor::read(&layers[1], &ir.weights).expect("lies in the weights");
        let mut budget = 3;
        assert_eq!(stored.floats(&layers[1], &mut budget).expect("2 of 3").values, [1.0, 2.0]);
        let error = stored.floats(&layers[1], &mut budget).expect_err("2 of 1");
        assert!(matches!(error, ConvertError::TooLarge { what: "weights", .. }));
    }

    #[test]
    fn numbers_per_channel_are_recognised() {
        let per_channel = |shape: &[usize], of: &[usize]| {
            let values = (0_u8..).map(f32::from).take(shape.iter().product()).collect();
            Tensor { shape: shape.to_vec(), values }.per_channel(of).map(|values| values.len())
        };
        assert_eq!(per_channel(&[1, 3, 1, 1], &[1, 3, 4, 4]), Some(3));
        assert_eq!(per_channel(&[3, 1, 1], &[1, 3, 4, 4]), Some(3));
        assert_eq!(per_channel(&[], &[1, 3, 4, 4]), Some(3));
        assert_eq!(per_channel(&[3], &[1, 3]), Some(3));
        assert_eq!(per_channel(&[4], &[1, 3, 4, 4]), None);
        assert_eq!(per_channel(&[1, 3, 1, 1], &[1, 1, 4, 4]), None);
        assert_eq!(per_channel(&[1, 1, 3, 1, 1], &[1, 3, 4, 4]), None);
    }

    #[test]
    fn weights_are_moved_from_channels_last_to_channels_first() {
        // [1, 2, 1, 3]: rows of three channels.
        let values = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
        let moved = reorder(&values, [1, 2, 1, 3], [0, 3, 1, 2]);
        assert_eq!(moved, [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
    }
}

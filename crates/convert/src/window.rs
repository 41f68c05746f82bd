//! The geometry of convolutions and poolings: padding, strides, dilations, rounding.
//!
//! The thing to know: `auto_pad` is resolved to explicit pads here, from the declared sizes, and
//! ONNX lists all pads at the start before all pads at the end. Rounding up is accepted only where
//! every runtime agrees on what it means.

use crate::error::Result;
use crate::xml::Layer;

/// Largest side, stride, dilation or pad. With [`super::xml::MAX_DIM`] it keeps every product
/// below within 32 bits, so plain arithmetic cannot overflow.
const MAX_STEP: usize = 1 << 10;

/// A sliding window; every list has one entry per spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Sides, in cells.
    pub(super) kernel: Vec<usize>,
    /// Steps from one window to the next.
    pub(super) strides: Vec<usize>,
    /// Steps from one cell of a window to the next.
    pub(super) dilations: Vec<usize>,
    /// Cells added before the first.
    pub(super) begin: Vec<usize>,
    /// Cells added after the last.
    pub(super) end: Vec<usize>,
    /// Whether a last, incomplete window counts. False where it would make no difference.
    pub(super) ceil: bool,
}

impl Window {
    /// A window of one cell over so many spatial axes.
    pub(super) fn one(axes: usize) -> Self {
        let [one, none] = [1, 0].map(|n| vec![n; axes]);
        Self {
            kernel: one.clone(),
            strides: one.clone(),
            dilations: one,
            begin: none.clone(),
            end: none,
            ceil: false,
        }
    }

    /// A window over two spatial axes of sizes `space`, padded so that as many windows come out as
    /// strides begin if `same`, else not padded; and the sizes of what it yields. `None` where a
    /// number is out of range or nothing fits.
    pub(super) fn sliding(
        kernel: Vec<usize>,
        strides: Vec<usize>,
        dilations: Vec<usize>,
        same: bool,
        space: &[usize],
    ) -> Option<(Self, Vec<usize>)> {
        let lists = [&kernel, &strides, &dilations];
        let sound = |list: &&Vec<usize>| {
            list.len() == space.len() && list.iter().all(|n| (1..=MAX_STEP).contains(n))
        };
        if !lists.iter().all(sound) {
            return None;
        }
        let mut window = Self { kernel, strides, dilations, ..Self::one(space.len()) };
        if same {
            window.pad_to_same(space, false);
        }
        let size = |(axis, size): (usize, &usize)| {
            Some(window.travel(axis, *size)? / window.strides[axis] + 1)
        };
        let sizes = space.iter().enumerate().map(size).collect::<Option<_>>()?;
        Some((window, sizes))
    }

    /// Reads a layer's window over spatial axes of sizes `space`; returns it and the sizes of
    /// what it yields.
    pub(super) fn read(
        layer: &Layer<'_>,
        kernel: Vec<usize>,
        space: &[usize],
    ) -> Result<(Self, Vec<usize>)> {
        let axes = space.len();
        if kernel.len() != axes || axes == 0 {
            return Err(layer.wrong(format!("a {kernel:?} window over {axes} spatial axes")));
        }
        if kernel.iter().any(|side| !(1..=MAX_STEP).contains(side)) {
            return Err(layer.wrong(format!("a {kernel:?} window, sides are 1 to {MAX_STEP}")));
        }
        let list = |name: &'static str, least: usize| {
            let numbers = layer.numbers(name)?.unwrap_or_else(|| vec![least; axes]);
            if numbers.len() == axes && numbers.iter().all(|n| (least..=MAX_STEP).contains(n)) {
                return Ok(numbers);
            }
            let problem = format!("is {numbers:?}, not {axes} numbers from {least} to {MAX_STEP}");
            Err(layer.bad(name, problem))
        };
        let mut window = Self {
            kernel,
            strides: list("strides", 1)?,
            dilations: list("dilations", 1)?,
            begin: list("pads_begin", 0)?,
            end: list("pads_end", 0)?,
            ceil: false,
        };
        match layer.attribute("auto_pad").unwrap_or("explicit") {
            "explicit" | "notset" => {}
            "valid" => (window.begin, window.end) = (vec![0; axes], vec![0; axes]),
            "same_upper" => window.pad_to_same(space, false),
            "same_lower" => window.pad_to_same(space, true),
            other => return Err(layer.bad("auto_pad", format!("is {other:?}"))),
        }
        let up = match layer.attribute("rounding_type").unwrap_or("floor") {
            "floor" => false,
            "ceil" => true,
            other => return Err(layer.bad("rounding_type", format!("is {other:?}"))),
        };
        let mut sizes = Vec::with_capacity(axes);
        for (axis, size) in space.iter().enumerate() {
            let Some(travel) = window.travel(axis, *size) else {
                return Err(layer.wrong("the window is larger than what it slides over"));
            };
            let stride = window.strides[axis];
            let mut count = travel / stride + 1;
            if up && travel % stride != 0 {
                // A window that would begin in the end padding: OpenVINO counts it, others do not.
                if count * stride >= size + window.begin[axis] {
                    return Err(layer.bad("rounding_type", "adds a window of nothing but padding"));
                }
                window.ceil = true;
                count += 1;
            }
            sizes.push(count);
        }
        Ok((window, sizes))
    }

    /// Cells that the window can move along an axis of that size, padding counted; `None` if it
    /// does not fit.
    fn travel(&self, axis: usize, size: usize) -> Option<usize> {
        (size + self.begin[axis] + self.end[axis]).checked_sub(self.reach(axis))
    }

    /// Cells from the window's first to its last along an axis, both counted.
    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Pads so that there are as many windows as strides begin within `space`; an odd cell goes to
    /// the end, or with `lower` to the beginning.
    fn pad_to_same(&mut self, space: &[usize], lower: bool) {
        for (axis, size) in space.iter().enumerate() {
            let last = (size.div_ceil(self.strides[axis]) - 1) * self.strides[axis];
            let total = (last + self.reach(axis)).saturating_sub(*size);
            let (small, large) = (total / 2, total - total / 2);
            (self.begin[axis], self.end[axis]) =
                if lower { (large, small) } else { (small, large) };
        }
    }

    /// The pads in ONNX's order: all beginnings, then all ends.
    pub(super) fn pads(&self) -> Vec<usize> {
        [self.begin.as_slice(), self.end.as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConvertError;
    use crate::graph::Op;
    use crate::testing::{self, Ir, WINDOW};

    /// The window of a maximum over 3x3 of an image.
    fn read(attributes: &str, from: [usize; 2], to: [usize; 2]) -> Result<Window> {
        let (mut ir, input) = Ir::with_input(&[1, 1, from[0], from[1]]);
        let attributes = format!(r#"kernel="3,3" {attributes}"#);
        let pool = ir.layer("MaxPool", &attributes, &[input], &[1, 1, to[0], to[1]]);
        ir.result(pool);
        match testing::read(&ir)?.nodes.pop().map(|node| node.op) {
            Some(Op::MaxPool { window }) => Ok(window),
            other => panic!("not a pool: {other:?}"),
        }
    }

    #[test]
    fn pads_to_the_same_size_put_an_odd_cell_at_the_end_or_the_beginning() {
        let upper = read(r#"strides="2,1" auto_pad="same_upper""#, [6, 5], [3, 5]);
        assert_eq!(upper.expect("is a window").pads(), [0, 1, 1, 1]);
        let lower = read(r#"strides="2,1" auto_pad="same_lower""#, [6, 5], [3, 5]);
        assert_eq!(lower.expect("is a window").pads(), [1, 1, 0, 1]);
        let valid = read(r#"pads_begin="2,2" auto_pad="valid""#, [6, 5], [4, 3]);
        assert_eq!(valid.expect("is a window").pads(), [0; 4]);
    }

    #[test]
    fn dilations_widen_the_window() {
        assert!(read(r#"dilations="2,1""#, [6, 5], [2, 3]).is_ok());
        let error = read(r#"dilations="3,1""#, [6, 5], [2, 3]).expect_err("too wide").to_string();
        assert!(error.contains("larger than"), "{error}");
    }

    #[test]
    fn rounding_up_counts_an_incomplete_window() {
        let up = r#"strides="2,2" rounding_type="ceil""#;
        assert!(read(up, [6, 6], [3, 3]).expect("is a window").ceil);
        assert!(!read(up, [5, 5], [2, 2]).expect("is a window").ceil, "nothing is left over");
        assert!(!read(r#"strides="2,2""#, [6, 6], [2, 2]).expect("is a window").ceil);
    }

    #[test]
    fn rounding_up_into_nothing_but_padding_is_refused() {
        let up = r#"strides="3,3" pads_end="2,2" rounding_type="ceil""#;
        let error = read(up, [3, 3], [2, 2]).expect_err("runtimes disagree").to_string();
        assert!(error.contains("nothing but padding"), "{error}");
    }

    #[test]
    fn hostile_numbers_are_refused_by_attribute() {
        for (attributes, name) in [
            (r#"strides="0,1""#, "strides"),
            (r#"strides="1""#, "strides"),
            (r#"strides="18446744073709551615,1""#, "strides"),
            (r#"dilations="4294967296,1""#, "dilations"),
            (r#"pads_begin="-1,0""#, "pads_begin"),
            (r#"pads_end="99999,0""#, "pads_end"),
            (r#"auto_pad="other""#, "auto_pad"),
            (r#"rounding_type="ceil_torch""#, "rounding_type"),
        ] {
            match read(attributes, [6, 6], [4, 4]) {
                Err(ConvertError::Attribute { attribute, .. }) => assert_eq!(attribute, name),
                other => panic!("{attributes}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_declared_shape_that_the_window_does_not_yield_is_refused() {
        match read(WINDOW, [6, 6], [5, 4]) {
            Err(ConvertError::Shape { layer, declared, computed }) => {
                assert_eq!((layer.as_str(), declared[2], computed[2]), ("MaxPool_1", 5, 4));
            }
            other => panic!("{other:?}"),
        }
    }
}

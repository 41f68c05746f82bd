//! Reads the weights of `YuNet`-s out of the shared library of libfacedetection, and writes the
//! graph.
//!
//! The thing to know: the library is read as data, nothing of it is run. It exports one array of
//! single-precision numbers for the weights and one for the bias of each convolution; the graph
//! that goes with them is that of the publisher (libfacedetection.train, `yunet_s`) and stands
//! here. The library has the weights with three significant digits, so the net is not the
//! publisher's file to the last digit.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::error::{ConvertError, Result};
use crate::graph::{Arithmetic, Graph, Node, OPEN, Op};
use crate::tensor::{Tensor, finite, singles};
use crate::window::Window;

/// Rows of the first convolution's weights are filled up to so many numbers.
const FIRST_ROW: usize = 32;
/// Channels of the picture.
const COLOURS: usize = 3;
/// Channels after the first convolution.
const FIRST: usize = 16;
/// Channels of the three levels at which faces are looked for.
const WIDE: usize = 64;
/// Pixels of the picture for each cell of those levels.
const STRIDES: [u32; 3] = [8, 16, 32];
/// What is said of each cell, in how many numbers, and whether they are probabilities.
const HEADS: [(&str, usize, bool); 4] =
    [("cls", 1, true), ("obj", 1, true), ("bbox", 4, false), ("kps", 10, false)];

/// Reads the arrays of the library `bytes` and builds the graph.
pub(super) fn read(bytes: &[u8]) -> Result<Graph> {
    let library = object::File::parse(bytes).map_err(|e| malformed(format!("{e}")))?;
    let input = Node {
        name: "input".to_owned(),
        op: Op::Input,
        inputs: Vec::new(),
        shape: vec![1, COLOURS, OPEN, OPEN],
    };
    let mut builder = YuNetBuilder { library, nodes: vec![input] };
    let results = builder.network()?;
    Ok(Graph { nodes: builder.nodes, results })
}

fn malformed(problem: impl Into<String>) -> ConvertError {
    ConvertError::MalformedModel { format: "libfacedetection", problem: problem.into() }
}

struct YuNetBuilder<'a> {
    library: object::File<'a>,
    nodes: Vec<Node>,
}

impl YuNetBuilder<'_> {
    fn network(&mut self) -> Result<Vec<(String, usize)>> {
        let first = self.first()?;
        let stem = self.unit("backbone__model0_dp", first, FIRST, FIRST)?;
        let stem = self.halve(stem, FIRST);
        let stem = self.stage(1, stem, FIRST, 2 * FIRST)?;
        let stem = self.stage(2, stem, 2 * FIRST, WIDE)?;
        let stem = self.halve(stem, WIDE);
        let fine = self.stage(3, stem, WIDE, WIDE)?;
        let middle = self.halve(fine, WIDE);
        let middle = self.stage(4, middle, WIDE, WIDE)?;
        let coarse = self.halve(middle, WIDE);
        let coarse = self.stage(5, coarse, WIDE, WIDE)?;
        // From coarse to fine, each level adds what the coarser one has seen.
        let coarse = self.unit("neck__lateral_convs__2", coarse, WIDE, WIDE)?;
        let middle = self.joined(middle, coarse);
        let middle = self.unit("neck__lateral_convs__1", middle, WIDE, WIDE)?;
        let fine = self.joined(fine, middle);
        let fine = self.unit("neck__lateral_convs__0", fine, WIDE, WIDE)?;
        let mut results = Vec::new();
        for (head, channels, is_probability) in HEADS {
            for (level, (from, stride)) in
                [fine, middle, coarse].into_iter().zip(STRIDES).enumerate()
            {
                let name = format!("bbox_head__multi_level_{head}__{level}");
                let mut node = self.pair(&name, from, WIDE, channels)?;
                node = self.push(&name, Op::Cells, node, vec![1, OPEN, channels]);
                if is_probability {
                    node = self.push(&name, Op::Sigmoid, node, vec![1, OPEN, channels]);
                }
                results.push((format!("{head}_{stride}"), node));
            }
        }
        Ok(results)
    }

    /// The convolution that sees the picture: 3 × 3 cells in every second row and column.
    fn first(&mut self) -> Result<usize> {
        let name = "backbone__model0_pw";
        let stored = self.array(&format!("{name}_weight"), FIRST * FIRST_ROW)?;
        let mut values = Vec::with_capacity(FIRST * 9 * COLOURS);
        for row in stored.chunks_exact(FIRST_ROW) {
            // Stored as (row, column, channel), wanted as (channel, row, column).
            values.extend(
                (0..COLOURS)
                    .flat_map(|colour| (0..9).map(move |cell| row[cell * COLOURS + colour])),
            );
        }
        let weights = Tensor { shape: vec![FIRST, COLOURS, 3, 3], values };
        let window = Window { strides: vec![2; 2], ..around() };
        let convolution = self.convolution(name, 0, weights, 1, window)?;
        Ok(self.push(name, Op::Relu, convolution, image(FIRST)))
    }

    /// Two units of stage `number`.
    fn stage(&mut self, number: usize, from: usize, takes: usize, yields: usize) -> Result<usize> {
        let first = self.unit(&format!("backbone__model{number}_dp1"), from, takes, takes)?;
        self.unit(&format!("backbone__model{number}_dp2"), first, takes, yields)
    }

    /// A pair of convolutions and a `ReLU`.
    fn unit(&mut self, name: &str, from: usize, takes: usize, yields: usize) -> Result<usize> {
        let convolved = self.pair(name, from, takes, yields)?;
        Ok(self.push(name, Op::Relu, convolved, image(yields)))
    }

    /// A convolution across channels, cell by cell, and one across 3 × 3 cells, channel by channel.
    fn pair(&mut self, name: &str, from: usize, takes: usize, yields: usize) -> Result<usize> {
        let across = format!("{name}_pw");
        let values = self.array(&format!("{across}_weight"), yields * takes)?;
        let weights = Tensor { shape: vec![yields, takes, 1, 1], values };
        let mixed = self.convolution(&across, from, weights, 1, Window::one(2))?;
        let around_cell = format!("{name}_dw");
        let stored = self.array(&format!("{around_cell}_weight"), 9 * yields)?;
        // Stored as (cell, channel), wanted as (channel, cell).
        let values = (0..yields).flat_map(|channel| (0..9).map(move |cell| (cell, channel)));
        let values = values.map(|(cell, channel)| stored[cell * yields + channel]).collect();
        let weights = Tensor { shape: vec![yields, 1, 3, 3], values };
        self.convolution(&around_cell, mixed, weights, yields, around())
    }

    fn convolution(
        &mut self,
        name: &str,
        from: usize,
        weights: Tensor,
        groups: usize,
        window: Window,
    ) -> Result<usize> {
        let yields = weights.shape[0];
        let bias = Some(self.array(&format!("{name}_bias"), yields)?);
        Ok(self.push(name, Op::Conv { weights, bias, groups, window }, from, image(yields)))
    }

    /// The largest of each 2 × 2 cells.
    fn halve(&mut self, from: usize, channels: usize) -> usize {
        let window = Window { kernel: vec![2; 2], strides: vec![2; 2], ..Window::one(2) };
        self.push("pool", Op::MaxPool { window }, from, image(channels))
    }

    /// A level, with the next coarser one brought to its size and added.
    fn joined(&mut self, fine: usize, coarse: usize) -> usize {
        let coarse = self.push("upsample", Op::Upsample { factor: 2 }, coarse, image(WIDE));
        let op = Op::Binary { arithmetic: Arithmetic::Add, constant: None };
        let sum = self.push("add", op, fine, image(WIDE));
        self.nodes[sum].inputs.push(coarse);
        sum
    }

    fn push(&mut self, name: &str, op: Op, input: usize, shape: Vec<usize>) -> usize {
        // Runtimes refuse two nodes of one name.
        let name = format!("{name}_{}", self.nodes.len());
        self.nodes.push(Node { name, op, inputs: vec![input], shape });
        self.nodes.len() - 1
    }

    /// The exported array of that name, which must hold exactly `count` finite numbers.
    fn array(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let symbol = self.library.dynamic_symbols().find(|symbol| symbol.name() == Ok(name));
        let symbol = symbol.ok_or_else(|| malformed(format!("it exports no array {name}")))?;
        let bytes = symbol.section_index().and_then(|index| {
            let section = self.library.section_by_index(index).ok()?;
            section.data_range(symbol.address(), symbol.size()).ok().flatten()
        });
        let values = finite(singles(bytes.unwrap_or_default())).filter(|all| all.len() == count);
        let problem = || malformed(format!("{name} is not an array of {count} finite numbers"));
        values.ok_or_else(problem)
    }
}

/// The shape of an image whose sides are left open.
fn image(channels: usize) -> Vec<usize> {
    vec![1, channels, OPEN, OPEN]
}

/// A window of 3 × 3 cells that leaves the size as it is.
fn around() -> Window {
    Window { kernel: vec![3; 2], begin: vec![1; 2], end: vec![1; 2], ..Window::one(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a 64-bit ELF file for x86-64 that has neither sections nor segments.
    fn elf() -> [u8; 64] {
        let mut header = [0; 64];
        header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        // A shared library, the machine, the version of the format and the size of this header.
        for (at, value) in [(16, 3), (18, 62), (20, 1), (52, 64)] {
            header[at] = value;
        }
        header
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        for bytes in [&b""[..], b"no library", b"\x7fELF", &[0; 4096]] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.starts_with("malformed libfacedetection model: "), "{error}");
        }
    }

    #[test]
    fn a_library_without_the_arrays_is_refused() {
        let error = read(&elf()).unwrap_err().to_string();
        let problem = "it exports no array backbone__model0_pw_weight";
        assert!(error.ends_with(problem), "{error}");
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = read(&own).unwrap_err();
        assert!(matches!(error, ConvertError::MalformedModel { .. }), "{error}");
    }

    #[test]
    fn a_header_cut_short_or_changed_anywhere_is_refused() {
        let whole = elf();
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole;
                changed[at] = value;
                assert!(read(&changed).is_err(), "{value} at {at}");
            }
        }
    }
}

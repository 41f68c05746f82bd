//! A net of ONNX Runtime on a device: probed for its batch size and warmed up.

use std::thread::{self, ScopedJoinHandle};

use ort::{
    session::Session,
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};

use super::{BatchNet, sizes};
use crate::{FaceError, graph::ModelGraph};

/// A net on a device: one session per size of batch. ONNX Runtime's provider for GPUs plans each
/// convolution again whenever the shape of its input changes, which takes two seconds for an
/// embedder.
pub(crate) struct OrtNet {
    /// From the fewest rows to the most.
    sessions: Vec<(usize, Session)>,
    ports: Ports,
    most: usize,
    tried: (usize, usize),
}

/// Names of a net, its input and its outputs.
struct Ports {
    net: String,
    input: String,
    outputs: Vec<String>,
}

/// The dimensions of the model's input; `None` where any size is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dimensions {
    rows: Option<usize>,
    height: Option<usize>,
    width: Option<usize>,
}

/// Sides of the input with which a net of any size is tried: many nets need multiples of 32.
const ANY_SIDE: usize = 64;

/// Largest difference of an output between batches, relative to the largest output.
const TOLERANCE: f32 = 1e-3;

impl OrtNet {
    /// Opens a net, determines its maximum batch size (at most `most`), and runs each size of batch
    /// once: memory shortage shows, and plans are made, before the first request.
    ///
    /// # Errors
    /// [`FaceError::Device`] when a GPU cannot be used or has too little memory,
    /// [`FaceError::Inference`] when ONNX Runtime refuses the graph.
    pub(crate) fn open(graph: &ModelGraph<'_>, most: usize) -> Result<Self, FaceError> {
        Self::open_graph(graph, most).map_err(|error| error.attributed_to(graph.device))
    }

    fn open_graph(graph: &ModelGraph<'_>, most: usize) -> Result<Self, FaceError> {
        let session = graph.session()?;
        let input = session.inputs().first();
        let dimensions = input.and_then(dimensions);
        let outputs = session.outputs().iter().filter(|output| is_single_precision(output));
        let ports = Ports {
            net: graph.name.to_owned(),
            input: input.map(|input| input.name().to_owned()).unwrap_or_default(),
            outputs: outputs.map(|output| output.name().to_owned()).collect(),
        };
        let sessions = vec![(1, session)];
        let mut net = Self { sessions, ports, most: 1, tried: (ANY_SIDE, ANY_SIDE) };
        if let Some(dimensions) = dimensions {
            net.prepare(graph, dimensions, most)?;
        }
        Ok(net)
    }

    fn prepare(
        &mut self,
        graph: &ModelGraph<'_>,
        dimensions: Dimensions,
        most: usize,
    ) -> Result<(), FaceError> {
        let Dimensions { rows, height, width } = dimensions;
        let fixed = height.is_some() && width.is_some();
        let (height, width) = (height.unwrap_or(ANY_SIDE), width.unwrap_or(ANY_SIDE));
        self.tried = (height, width);
        if rows.is_some() || most == 1 {
            if fixed {
                self.run(&vec![0.0; 3 * height * width], [1, 3, height, width])?;
            }
            return Ok(());
        }
        self.sessions.push((2, graph.session()?));
        if !self.keeps_rows_apart(height, width)? {
            tracing::warn!(
                net = self.ports.net,
                "the net mixes the rows of a batch: its tensors are run one by one"
            );
            self.sessions.truncate(1);
            return Ok(());
        }
        self.most = most;
        // The sessions for one and two rows exist already.
        let others = self.open_sizes(graph, sizes(most).skip(2), (height, width))?;
        self.sessions.extend(others);
        Ok(())
    }

    /// Sessions for these sizes of batch, each run once, in parallel: most of the time is spent on
    /// plans, which the libraries of a GPU make on one core.
    fn open_sizes(
        &self,
        graph: &ModelGraph<'_>,
        sizes: impl Iterator<Item = usize>,
        (height, width): (usize, usize),
    ) -> Result<Vec<(usize, Session)>, FaceError> {
        let open = |rows: usize| {
            let mut session = graph.session()?;
            let (black, shape) = (vec![0.0; rows * 3 * height * width], [rows, 3, height, width]);
            self.ports.run(&mut session, &black, shape)?;
            Ok((rows, session))
        };
        thread::scope(|scope| {
            let start = |rows: usize| {
                let (open, name) = (&open, format!("open-{rows}"));
                thread::Builder::new().name(name).spawn_scoped(scope, move || open(rows))
            };
            let threads: Vec<_> = sizes.map(start).collect();
            // Every thread is joined, even if another one failed.
            let opened: Vec<_> = threads
                .into_iter()
                .map(|thread| match thread.map(ScopedJoinHandle::join) {
                    Ok(Ok(opened)) => opened,
                    Ok(Err(_panic)) => Err(FaceError::Panicked),
                    Err(error) => {
                        let reason = format!("cannot start a thread: {error}");
                        Err(FaceError::Device { device: graph.device, reason })
                    }
                })
                .collect();
            opened.into_iter().collect()
        })
    }

    /// Whether two different images have the same outputs in one batch as alone. A model may
    /// declare any number of rows and still contain a fixed one.
    fn keeps_rows_apart(&mut self, height: usize, width: usize) -> Result<bool, FaceError> {
        let length = 3 * height * width;
        let rising: Vec<f32> = (0..length).map(|i| (i % 251) as f32).collect();
        let falling: Vec<f32> = rising.iter().map(|value| 250.0 - value).collect();
        let apart =
            [self.run(&rising, [1, 3, height, width])?, self.run(&falling, [1, 3, height, width])?];
        let both = [rising, falling].concat();
        let Ok(together) = self.run(&both, [2, 3, height, width]) else { return Ok(false) };
        let [one, other] = apart;
        let same = together.iter().zip(one).zip(other).all(|((both, one), other)| {
            let expected = [one, other].concat();
            let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * largest;
            both.len() == expected.len() && both.iter().zip(&expected).all(close)
        });
        Ok(same)
    }
}

impl BatchNet for OrtNet {
    fn name(&self) -> &str {
        &self.ports.net
    }

    fn outputs(&self) -> &[String] {
        &self.ports.outputs
    }

    fn most(&self) -> usize {
        self.most
    }

    fn tried(&self) -> (usize, usize) {
        self.tried
    }

    fn run(&mut self, tensors: &[f32], shape: [usize; 4]) -> Result<Vec<Vec<f32>>, FaceError> {
        let Self { sessions, ports, .. } = self;
        let session = sessions.iter_mut().find(|(rows, _)| *rows == shape[0]);
        let (_, session) = session.ok_or_else(|| {
            FaceError::Manifest(format!("{} has no session for {} rows", ports.net, shape[0]))
        })?;
        ports.run(session, tensors, shape)
    }
}

impl Ports {
    /// Runs tensors of `shape` that lie one behind the other, and returns each output for all of
    /// them, row by row.
    fn run(
        &self,
        session: &mut Session,
        tensors: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<Vec<f32>>, FaceError> {
        let failed = |source| FaceError::Inference { net: self.net.clone(), source };
        let tensors = TensorRef::from_array_view((shape, tensors)).map_err(failed)?;
        let ran = session.run(ort::inputs![self.input.as_str() => tensors]).map_err(failed)?;
        let values = |name: &String| {
            let output = ran.get(name).and_then(|o| o.try_extract_tensor::<f32>().ok());
            let rows = output.filter(|(is, _)| {
                shape[0] == 1
                    || is.first().is_some_and(|rows| usize::try_from(*rows) == Ok(shape[0]))
            });
            let (_, values) = rows.ok_or_else(|| FaceError::Contract {
                net: self.net.clone(),
                expected: format!("an output `{name}` of {} rows", shape[0]),
                found: "none".to_owned(),
            })?;
            Ok(values.to_vec())
        };
        self.outputs.iter().map(values).collect()
    }
}

fn is_single_precision(output: &Outlet) -> bool {
    matches!(output.dtype(), ValueType::Tensor { ty: TensorElementType::Float32, .. })
}

/// The dimensions of an input of shape [rows, 3, height, width]; `None` for any other.
fn dimensions(input: &Outlet) -> Option<Dimensions> {
    let ValueType::Tensor { shape, .. } = input.dtype() else { return None };
    let [rows, _, height, width] = shape[..] else { return None };
    let known = |dimension: i64| usize::try_from(dimension).ok();
    Some(Dimensions { rows: known(rows), height: known(height), width: known(width) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Device, Runtime, session::newest_library};

    const MOST: usize = 6;

    fn number(field: u8, value: u8) -> Vec<u8> {
        vec![field << 3, value]
    }

    fn part(field: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        let (low, high) = (u8::try_from(length & 127).unwrap(), u8::try_from(length >> 7).unwrap());
        [&[field << 3 | 2, low | 128, high], bytes].concat()
    }

    /// An input or output of shape [rows, 3, 2, 2]; no rows stand for any number of them.
    fn port(name: &str, rows: Option<u8>) -> Vec<u8> {
        let first = rows.map_or_else(|| part(2, b"batch"), |rows| number(1, rows));
        let others = [3, 2, 2].map(|side| part(1, &number(1, side)));
        let shape = part(2, &[part(1, &first), others.concat()].concat());
        let tensor = part(2, &part(1, &[number(1, 1), shape].concat()));
        [part(1, name.as_bytes()), tensor].concat()
    }

    fn node(operation: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
        let inputs: Vec<_> = inputs.iter().flat_map(|name| part(1, name.as_bytes())).collect();
        let names = [part(2, output.as_bytes()), part(4, operation.as_bytes())].concat();
        part(1, &[&inputs, &names, attributes].concat())
    }

    /// A model with input `x` and output `y`.
    fn model(nodes: &[Vec<u8>], rows: Option<u8>) -> Vec<u8> {
        let (x, y) = (part(11, &port("x", rows)), part(12, &port("y", rows)));
        let graph = [nodes.concat(), part(2, b"graph"), x, y].concat();
        [number(1, 8), part(7, &graph), part(8, &number(2, 13))].concat()
    }

    fn open(model: &[u8]) -> OrtNet {
        let path = std::env::var_os("ORT_DYLIB_PATH").map_or_else(
            || newest_library(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime")),
            Into::into,
        );
        let runtime = Runtime::load(&path).expect("run `make runtime`");
        let graph = ModelGraph {
            environment: &runtime.environment,
            bytes: model,
            name: "y.onnx",
            device: Device::CpuBatched,
            memory: 0,
        };
        OrtNet::open(&graph, MOST).unwrap()
    }

    #[test]
    fn the_input_of_a_model_determines_whether_it_takes_batches() {
        let doubles = node("Add", &["x", "x"], "y", &[]);
        let mut any = open(&model(std::slice::from_ref(&doubles), None));
        assert_eq!((any.most(), any.outputs()), (6, &["y".to_owned()][..]));
        for rows in [1, 2, 4, 6] {
            let tensors: Vec<_> = (0..rows * 12).map(|n| n as f32).collect();
            let twice: Vec<_> = tensors.iter().map(|n| 2.0 * n).collect();
            assert_eq!(any.run(&tensors, [rows, 3, 2, 2]).unwrap(), [twice]);
        }
        let three = any.run(&[0.0; 36], [3, 3, 2, 2]).unwrap_err().to_string();
        assert!(three.contains("3 rows"), "a batch is filled up before: {three}");
        assert_eq!(open(&model(&[doubles], Some(1))).most(), 1);
    }

    #[test]
    fn a_net_that_mixes_the_rows_of_a_batch_is_run_one_by_one_whatever_its_input_says() {
        let axis = part(5, &[part(1, b"axes"), number(8, 0), vec![0xa0, 1, 7]].concat());
        let mean = node("ReduceMean", &["x"], "mean", &axis);
        let mixing = [mean, node("Sub", &["x", "mean"], "y", &[])];
        assert_eq!(open(&model(&mixing, None)).most(), 1);
    }

    #[test]
    fn a_net_that_returns_other_rows_than_it_got_is_run_one_by_one_whatever_its_input_says() {
        let axes = [1, 0, 2, 3].map(|axis| number(8, axis)).concat();
        let permutation = part(5, &[part(1, b"perm"), axes, vec![0xa0, 1, 7]].concat());
        let mut net = open(&model(&[node("Transpose", &["x"], "y", &permutation)], None));
        assert_eq!(net.most(), 1);
        assert!(net.run(&[0.0; 12], [1, 3, 2, 2]).is_ok());
    }

    #[test]
    fn an_error_on_a_gpu_is_attributed_to_it_and_elsewhere_to_the_net() {
        let error = || FaceError::Panicked;
        assert!(matches!(error().attributed_to(Device::CpuBatched), FaceError::Panicked));
        let blamed = error().attributed_to(Device::Cuda(3)).to_string();
        assert!(
            blamed.starts_with("cuda:3 cannot be used: the face pipeline panicked"),
            "{blamed}"
        );
        assert!(blamed.contains("make runtime-gpu") && blamed.contains("docs/GPU.md"), "{blamed}");
    }
}

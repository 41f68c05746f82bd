//! ONNX Runtime: loading the shared library, checking a weights file, running one net.
//!
//! On the CPU every session runs on one thread: N workers with a one-thread session each are faster
//! than one session with N threads, and batches bring nothing there (both measured). On a GPU, all
//! engines share the sessions of one thread for the large nets, which it runs in batches;
//! [`Placement`] selects between the two.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    session::{RunOptions, Session},
    value::TensorRef,
};

use super::{
    batch::{ActiveThread, BatchOptions, OrtNet, OwnerThread, SharedNet},
    device::Device,
    error::FaceError,
    graph::ModelGraph,
    manifest::{Input, Located, Weights},
    patch::Patch,
    sha256::sha256_hex,
    telemetry,
};

/// The last `libonnxruntime.so*` of a folder by name; the plain name if there is none, so that a
/// message can name the expected file.
pub fn newest_library(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let is_library = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libonnxruntime.so"))
    };
    files.filter(is_library).max().unwrap_or_else(|| folder.join("libonnxruntime.so"))
}

/// The loaded ONNX Runtime, and where it runs nets; clones share both.
#[derive(Clone)]
pub struct Runtime {
    pub(super) environment: Environment,
    device: Device,
    batches: Option<(OwnerThread, BatchOptions)>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runtime({})", self.device)
    }
}

impl Runtime {
    /// Loads the shared library at `path`, to run nets on the CPU. ONNX Runtime exists once in a
    /// process: after the first success every call returns that one, whatever the path.
    ///
    /// # Errors
    /// [`FaceError::Runtime`] when it is missing, is no ONNX Runtime, or is too old;
    /// [`FaceError::Telemetry`] when its telemetry is not disabled.
    pub fn load(path: &Path) -> Result<Self, FaceError> {
        static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let runtime = Self::load_first(path)?;
        Ok(loaded.insert(runtime).clone())
    }

    fn load_first(path: &Path) -> Result<Self, FaceError> {
        // `with_telemetry(false)` below only drops events: the collector still creates its files
        // and connects.
        if !telemetry::is_disabled() {
            return Err(FaceError::Telemetry);
        }
        let wrong = |reason: String| FaceError::Runtime { path: path.to_path_buf(), reason };
        let builder = ort::init_from(path).map_err(|e| wrong(e.to_string()))?;
        builder
            .with_name("visavis")
            .with_telemetry(false)
            .build()
            .map(|environment| Self { environment, device: Device::Cpu, batches: None })
            .map_err(|e| wrong(e.to_string()))
    }

    /// The same library, with large nets run on `device`; a GPU gets a thread that runs them in
    /// batches by `options`.
    ///
    /// # Errors
    /// [`FaceError::Device`] when the library has no provider for it. What else a GPU lacks is
    /// found when a net is opened.
    pub fn on(&self, device: Device, options: BatchOptions) -> Result<Self, FaceError> {
        device.check_library()?;
        let batches = if device.is_shared() {
            Some((OwnerThread::start(device, options.wait)?, options))
        } else {
            None
        };
        Ok(Self { environment: self.environment.clone(), device, batches })
    }

    /// Where nets are run.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether the device has failed, so that the process must be restarted.
    pub fn is_gone(&self) -> bool {
        self.batches.as_ref().is_some_and(|(owner, _)| owner.is_gone())
    }

    /// Counts the calling thread as active until the result is dropped: batches may wait for it.
    pub fn mark_active(&self) -> Option<ActiveThread> {
        self.batches.as_ref().map(|(owner, _)| owner.mark_active())
    }
}

/// Reads a weights file and checks its digest.
///
/// # Errors
/// [`FaceError::MissingWeights`], [`FaceError::Unreadable`] or [`FaceError::WrongDigest`].
pub(crate) fn read_weights(
    path: &Path,
    weights: &Weights,
    pack: &str,
) -> Result<Vec<u8>, FaceError> {
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            FaceError::MissingWeights { path: path.to_path_buf(), pack: pack.to_owned() }
        }
        _ => FaceError::Unreadable { path: path.to_path_buf(), source },
    })?;
    let found = sha256_hex(&bytes);
    if found == weights.sha256 {
        Ok(bytes)
    } else {
        Err(FaceError::WrongDigest {
            path: path.to_path_buf(),
            found,
            expected: weights.sha256.clone(),
        })
    }
}

/// Where a net is run, and how exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the calling thread, in the precision of the model, with any device: for nets so small
    /// that a GPU is not faster, for nets whose result decides what others analyse, and for nets in
    /// eight bits.
    CallingThread,
    /// As [`CallingThread`](Self::CallingThread), for large inputs: at its end a run gives back the
    /// memory that holds no output.
    CallingThreadShrinking,
    /// On the device of the runtime: in batches on a GPU, in bfloat16 on [`Device::CpuBf16`].
    Device,
}

/// One net, ready to run.
pub struct NetSession {
    execution: Execution,
    name: String,
}

/// Where a net is run.
enum Execution {
    /// On the calling thread.
    CallingThread { session: Session, input: String, shrinks: bool },
    /// On the thread that owns the device, with the tensors of other engines.
    Device(SharedNet),
}

impl std::fmt::Debug for NetSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetSession({})", self.name)
    }
}

/// The outputs of a run that were asked for: values in row-major order.
pub(crate) type Outputs<const N: usize> = [Vec<f32>; N];

impl NetSession {
    /// Checks the digest of a located net and makes a one-thread session of it, or has the
    /// runtime's device make what all engines share.
    ///
    /// # Errors
    /// As [`read_weights`], or [`FaceError::Inference`] when ONNX Runtime refuses the graph.
    pub fn open<N>(
        runtime: &Runtime,
        located: &Located<N>,
        weights: &Weights,
        placement: Placement,
    ) -> Result<Self, FaceError> {
        let bytes = read_weights(&located.path, weights, &located.pack)?;
        Self::from_bytes(runtime, &bytes, &located.path, placement)
    }

    /// The same of an ONNX model whose digest has been checked.
    ///
    /// # Errors
    /// [`FaceError::Inference`] when ONNX Runtime refuses the graph, [`FaceError::Device`] when the
    /// device cannot be used.
    pub fn from_bytes(
        runtime: &Runtime,
        bytes: &[u8],
        path: &Path,
        placement: Placement,
    ) -> Result<Self, FaceError> {
        let name = PathBuf::from(path.file_name().unwrap_or_default()).display().to_string();
        let execution = match (placement, &runtime.batches) {
            (Placement::Device, Some((owner, options))) => {
                Execution::Device(shared(runtime, owner, *options, bytes, &name)?)
            }
            (Placement::Device, None) => here(runtime, bytes, &name, runtime.device, false)?,
            (Placement::CallingThread, _) => here(runtime, bytes, &name, Device::Cpu, false)?,
            (Placement::CallingThreadShrinking, _) => {
                here(runtime, bytes, &name, Device::Cpu, true)?
            }
        };
        Ok(Self { execution, name })
    }

    /// The model's file name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names of the outputs, in the model's order.
    pub fn output_names(&self) -> Vec<String> {
        match &self.execution {
            Execution::CallingThread { session, .. } => {
                session.outputs().iter().map(|o| o.name().to_owned()).collect()
            }
            Execution::Device(net) => net.outputs().to_vec(),
        }
    }

    /// Runs the net on one tensor of shape [1, 3, `height`, `width`] and returns the named outputs.
    ///
    /// # Errors
    /// [`FaceError::Inference`] when the run fails, [`FaceError::Contract`] when an output is
    /// missing, not single precision or not finite, [`FaceError::DeviceGone`] when the device has
    /// failed.
    pub fn run<const N: usize>(
        &mut self,
        tensor: &[f32],
        (width, height): (usize, usize),
        outputs: [&str; N],
    ) -> Result<Outputs<N>, FaceError> {
        let missing = |net: &str, output: &str| FaceError::Contract {
            net: net.to_owned(),
            expected: format!("an output `{output}` of single-precision numbers"),
            found: "none".to_owned(),
        };
        let failed = |net: &str, source| FaceError::Inference { net: net.to_owned(), source };
        let mut found: Outputs<N> = std::array::from_fn(|_| Vec::new());
        match &mut self.execution {
            Execution::CallingThread { session, input, shrinks } => {
                let tensor = TensorRef::from_array_view(([1, 3, height, width], tensor))
                    .map_err(|e| failed(&self.name, e))?;
                let inputs = ort::inputs![input.as_str() => tensor];
                let mut options = RunOptions::new().map_err(|e| failed(&self.name, e))?;
                if *shrinks {
                    options.set(SHRINK, "cpu:0").map_err(|e| failed(&self.name, e))?;
                }
                let ran = session
                    .run_with_options(inputs, &options)
                    .map_err(|e| failed(&self.name, e))?;
                for (values, name) in found.iter_mut().zip(outputs) {
                    let output = ran.get(name).and_then(|o| o.try_extract_tensor::<f32>().ok());
                    let (_, data) = output.ok_or_else(|| missing(&self.name, name))?;
                    values.extend_from_slice(data);
                }
            }
            Execution::Device(net) => {
                let mut rows = net.run(tensor, (width, height))?;
                for (values, name) in found.iter_mut().zip(outputs) {
                    let execution = net.outputs().iter().position(|output| output == name);
                    let row = execution.and_then(|execution| rows.get_mut(execution));
                    *values = std::mem::take(row.ok_or_else(|| missing(&self.name, name))?);
                }
            }
        }
        // Such a number makes all results NaN, and no comparison with it is true.
        let is_finite = found.iter().flatten().all(|value| value.is_finite());
        let broken = || self.broken("finite numbers".to_owned(), "infinity or NaN".to_owned());
        is_finite.then_some(found).ok_or_else(broken)
    }

    fn broken(&self, expected: String, found: String) -> FaceError {
        FaceError::Contract { net: self.name.clone(), expected, found }
    }

    /// Runs a net with one output on a patch and checks the length of what comes back.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn run_patch(
        &mut self,
        patch: &Patch,
        input: &Input,
        expected: usize,
    ) -> Result<Vec<f32>, FaceError> {
        let tensor = patch.to_tensor(input);
        let output = self.output_names().into_iter().next().unwrap_or_default();
        let [values] = self.run(&tensor, (patch.width, patch.height), [&output])?;
        self.expect_length(values, expected)
    }

    /// `values` if their number is `expected`.
    ///
    /// # Errors
    /// [`FaceError::Contract`] otherwise.
    pub(crate) fn expect_length(
        &self,
        values: Vec<f32>,
        expected: usize,
    ) -> Result<Vec<f32>, FaceError> {
        if values.len() == expected {
            return Ok(values);
        }
        Err(self.broken(format!("{expected} numbers"), format!("{} numbers", values.len())))
    }
}

/// A net for the calling thread.
fn here(
    runtime: &Runtime,
    bytes: &[u8],
    name: &str,
    device: Device,
    shrinks: bool,
) -> Result<Execution, FaceError> {
    let graph = ModelGraph { environment: &runtime.environment, bytes, name, device, memory: 0 };
    let session = graph.session().map_err(|error| error.attributed_to(device))?;
    let input = session.inputs().first().map(|i| i.name().to_owned()).unwrap_or_default();
    Ok(Execution::CallingThread { session, input, shrinks })
}

/// A net on the device of the runtime, opened there if no other engine has had it opened.
fn shared(
    runtime: &Runtime,
    owner: &OwnerThread,
    options: BatchOptions,
    bytes: &[u8],
    name: &str,
) -> Result<SharedNet, FaceError> {
    let (environment, device) = (runtime.environment.clone(), runtime.device);
    let (bytes, name) = (bytes.to_vec(), name.to_owned());
    owner.open(sha256_hex(&bytes), move || {
        let memory = options.memory;
        let (environment, bytes, name) = (&environment, &bytes, &name);
        let graph = ModelGraph { environment, bytes, name, device, memory };
        Ok(Box::new(OrtNet::open(&graph, options.most)?))
    })
}

/// Makes an arena return its free memory.
const SHRINK: &str = "memory.enable_memory_arena_shrinkage";

//! What broke on our side: the model files, ONNX Runtime, or what a net answered.
//!
//! Never shown to a client: the text names files and nets for the operator's log.

use std::path::PathBuf;

use super::{device::Device, refusal::Refusal, telemetry};

/// A failure of the face pipeline that is not the sender's fault.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// The shared library cannot be used.
    #[error(
        "ONNX Runtime could not be loaded from {path}: {reason}. \
         Run `make runtime` (for \"cpu-bf16\" `make runtime-openvino`, for a GPU `make runtime-gpu`), \
         or set ORT_DYLIB_PATH to libonnxruntime.so of version 1.{minimum} or newer",
        minimum = ort::MINOR_VERSION
    )]
    Runtime {
        /// Where it was looked for.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The library could report to its maker.
    #[error(
        "ONNX Runtime is not loaded because its telemetry is not disabled: set {}={} in the environment",
        telemetry::VARIABLE,
        telemetry::DISABLED
    )]
    Telemetry,
    /// The device cannot be used, or not for this net.
    #[error("{device} cannot be used: {reason}. {cure}", cure = device.cure())]
    Device {
        /// Which one.
        device: Device,
        /// What was found.
        reason: String,
    },
    /// The thread that owns the device has ended: it panicked, or nothing could be run any more.
    #[error("the thread that runs nets on {device} has ended; the process has to be started again")]
    DeviceGone {
        /// Which one.
        device: Device,
    },
    /// A weights file is not there.
    #[error("the weights {path} are missing: run `visavis models pull {pack}`")]
    MissingWeights {
        /// The file.
        path: PathBuf,
        /// The pack that names it.
        pack: String,
    },
    /// A weights file is not the one that the manifest names.
    #[error(
        "{path} has SHA-256 {found} but the manifest says {expected}: \
         the file was changed or damaged and is not loaded; run `visavis models pull` to fetch it again"
    )]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// What its bytes hash to.
        found: String,
        /// What they should hash to.
        expected: String,
    },
    /// A weights file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest or a pack file is wrong.
    #[error("{0}")]
    Manifest(String),
    /// ONNX Runtime refused a graph or failed while running it.
    #[error("{net}: {source}")]
    Inference {
        /// The net's file name.
        net: String,
        /// ONNX Runtime's words.
        source: ort::Error,
    },
    /// A net answered with something other than its contract says.
    #[error("{net} answered with {found} where {expected} was expected")]
    Contract {
        /// The net's file name.
        net: String,
        /// What the contract says.
        expected: String,
        /// What came.
        found: String,
    },
    /// A stage panicked; the engine must be made anew.
    #[error("the face pipeline panicked")]
    Panicked,
}

impl FaceError {
    /// The same as something that `device` cannot do. A net that runs on any processor and not on this device has
    /// nothing wrong with it.
    pub(super) fn attributed_to(self, device: Device) -> Self {
        if matches!(device, Device::Cpu | Device::CpuBatched) || matches!(self, Self::Device { .. })
        {
            return self;
        }
        // ONNX Runtime ends some of its messages with an end of line.
        let words: Vec<_> = self.to_string().split_whitespace().map(str::to_owned).collect();
        Self::Device { device, reason: words.join(" ") }
    }
}

/// Why an analysis ended without a face.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The photo cannot be used.
    Refused(Refusal),
    /// An internal failure.
    Failed(FaceError),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<FaceError> for Ended {
    fn from(error: FaceError) -> Self {
        Self::Failed(error)
    }
}

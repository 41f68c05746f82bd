//! Internal failures: the model files, ONNX Runtime, or the output of a net.
//!
//! Never shown to a client: the text names files and nets for the operator's log.

use std::path::PathBuf;

use super::{device::Device, refusal::Refusal, telemetry};

/// A failure of the face pipeline that is not the sender's fault.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// The shared library cannot be used.
    #[error(
        "cannot load ONNX Runtime from {path}: {reason}. Run `make runtime` (for \"cpu-bf16\" \
         `make runtime-openvino`, for a GPU `make runtime-gpu`), or set ORT_DYLIB_PATH to \
         libonnxruntime.so of version 1.{minimum} or newer",
        minimum = ort::MINOR_VERSION
    )]
    Runtime {
        /// The path of the library.
        path: PathBuf,
        /// The error of the loader.
        reason: String,
    },
    /// The telemetry of the library is not disabled.
    #[error(
        "ONNX Runtime is not loaded because its telemetry is not disabled: set {}={} in the \
         environment",
        telemetry::VARIABLE,
        telemetry::DISABLED
    )]
    Telemetry,
    /// The device cannot be used, or not for this net.
    #[error("{device} cannot be used: {reason}. {}", device.requirements())]
    Device {
        /// The device.
        device: Device,
        /// Why.
        reason: String,
    },
    /// The thread that owns the device has ended: it panicked, or the device failed.
    #[error("the thread that runs nets on {device} has ended: restart the process")]
    DeviceGone {
        /// The device.
        device: Device,
    },
    /// A weights file does not exist.
    #[error("the weights {path} are missing: run `visavis models pull {pack}`")]
    MissingWeights {
        /// The file.
        path: PathBuf,
        /// The pack that names it.
        pack: String,
    },
    /// A weights file is not the one that the manifest names.
    #[error(
        "{path} has SHA-256 {found}, expected {expected} by the manifest, and is not loaded: run \
         `visavis models pull` to fetch it again"
    )]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest in the manifest.
        expected: String,
    },
    /// A weights file cannot be read.
    #[error("cannot read {path}: {source}")]
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
        /// The error of ONNX Runtime.
        source: ort::Error,
    },
    /// The output of a net is not the expected one.
    #[error("{net} returned {found}, expected {expected}")]
    Contract {
        /// The net's file name.
        net: String,
        /// The expected output.
        expected: String,
        /// The actual output.
        found: String,
    },
    /// A stage panicked; the engine must be created again.
    #[error("the face pipeline panicked")]
    Panicked,
}

impl FaceError {
    /// The same error as a failure of `device`: a net that runs on any processor but not on this
    /// device is not the cause.
    pub(super) fn attributed_to(self, device: Device) -> Self {
        if matches!(device, Device::Cpu | Device::CpuBatched) || matches!(self, Self::Device { .. })
        {
            return self;
        }
        // Some messages of ONNX Runtime end with a line feed.
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

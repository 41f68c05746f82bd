//! The execution providers of ONNX Runtime, one for each device.

use ort::ep::{
    self, ArbitrarilyConfigurableExecutionProvider as _, ArenaExtendStrategy,
    ExecutionProvider as _, ExecutionProviderDispatch, cuda::ConvAlgorithmSearch,
};

use super::{device::Device, error::FaceError};

impl Device {
    /// Whether the processor supports it. For a GPU, only its driver can report what is missing.
    ///
    /// # Errors
    /// [`FaceError::Device`] when not.
    pub fn check_processor(self) -> Result<(), FaceError> {
        if self == Self::CpuBf16 && !has_bfloat16() {
            return Err(self.unusable("this processor has no instructions for bfloat16"));
        }
        Ok(())
    }

    /// Whether the ONNX Runtime that was loaded has the provider.
    ///
    /// # Errors
    /// [`FaceError::Device`] when not.
    pub(super) fn check_library(self) -> Result<(), FaceError> {
        match self {
            Self::Cuda(_) if !ep::CUDA::is_available().unwrap_or(false) => {
                Err(self.unusable("the loaded ONNX Runtime has no CUDA provider"))
            }
            Self::CpuBf16 if !ep::OpenVINO::is_available().unwrap_or(false) => {
                Err(self.unusable("the loaded ONNX Runtime has no OpenVINO provider"))
            }
            _ => Ok(()),
        }
    }

    fn unusable(self, reason: &str) -> FaceError {
        FaceError::Device { device: self, reason: reason.to_owned() }
    }

    /// The provider for a session; the processor in single precision needs none. Missing hardware
    /// or libraries are an error; single operations that the provider does not have are computed by
    /// that of the processor, as ONNX Runtime does it. `memory` is the most of a GPU's, in bytes; 0
    /// is no limit.
    pub(super) fn execution_provider(self, memory: usize) -> Option<ExecutionProviderDispatch> {
        let provider = match self {
            Self::Cpu | Self::CpuBatched => return None,
            Self::CpuBf16 => bfloat16(),
            Self::Cuda(number) => cuda(number, memory),
        };
        Some(provider.error_on_failure())
    }
}

/// Whether the processor has instructions for bfloat16, twice as fast as in single precision.
/// Without them, `OpenVINO` emulates them and takes longer.
pub fn has_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// The name of these instructions in `/proc/cpuinfo`, the fastest first, if the processor has them.
/// Every processor with AMX for bfloat16 has AVX-512 BF16 too, which `OpenVINO` requires.
pub fn bfloat16_flag() -> Option<&'static str> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_amx = || processors.split_whitespace().any(|flag| flag == "amx_bf16");
    has_bfloat16().then(|| if has_amx() { "amx_bf16" } else { "avx512_bf16" })
}

/// `OpenVINO` on the calling thread. Its own threads stay idle; it is configured with one thread,
/// not pinned.
fn bfloat16() -> ExecutionProviderDispatch {
    let options = r#"{"CPU": {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": "1", "ENABLE_CPU_PINNING": "NO"}}"#;
    ep::OpenVINO::default()
        .with_device_type("CPU")
        .with_arbitrary_config("load_config", options)
        .build()
}

fn cuda(number: u16, memory: usize) -> ExecutionProviderDispatch {
    let cuda = ep::CUDA::default()
        .with_device_id(i32::from(number))
        // Powers of two would reach the limit with half of it unused.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        // The exhaustive search doubles the time to start for a few tenths of a millisecond.
        .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
        // Scores are calibrated with single precision.
        .with_tf32(false);
    let limited = if memory == 0 { cuda } else { cuda.with_memory_limit(memory) };
    limited.build()
}

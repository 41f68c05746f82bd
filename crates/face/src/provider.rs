//! The execution providers of ONNX Runtime, one for each device.

use ort::ep::{
    self, ArbitrarilyConfigurableExecutionProvider as _, ArenaExtendStrategy,
    ExecutionProvider as _, ExecutionProviderDispatch, cuda::ConvAlgorithmSearch,
};

use super::{
    device::{Device, field},
    error::FaceError,
};

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

/// Whether the processor has instructions for bfloat16. It may still be slower in bfloat16:
/// [`faster_bfloat16`]. Without them, `OpenVINO` emulates them and takes longer.
pub fn has_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// The instructions, by their name in `/proc/cpuinfo`, that compute faster in bfloat16 than in
/// single precision; `None` without such instructions. They are AMX, with any vendor, and AVX-512
/// BF16 of AMD. An Intel processor with AVX-512 BF16 alone, on which a hypervisor hides AMX, took
/// longer (docs/decisions/0031).
pub fn faster_bfloat16() -> Option<&'static str> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // `OpenVINO` requires AVX-512 BF16, which every processor with AMX has.
    has_bfloat16().then(|| faster_bfloat16_of(&processors)).flatten()
}

/// The same of a text of `/proc/cpuinfo`.
fn faster_bfloat16_of(processors: &str) -> Option<&'static str> {
    let flags = field(processors, "flags").unwrap_or_default();
    let has = |name: &str| flags.split_whitespace().any(|flag| flag == name);
    let is_amd = field(processors, "vendor_id").is_some_and(|vendor| vendor == "AuthenticAMD");
    if has("amx_bf16") {
        Some("amx_bf16")
    } else {
        (is_amd && has("avx512_bf16")).then_some("avx512_bf16")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_is_faster_with_amx_and_with_avx_512_of_amd() {
        let cases = [
            ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", Some("amx_bf16")),
            ("AuthenticAMD", "avx512f avx512_bf16 amx_bf16", Some("amx_bf16")),
            ("AuthenticAMD", "avx512f avx512_bf16", Some("avx512_bf16")),
            ("GenuineIntel", "avx512f avx512_bf16 amx_tile", None),
            ("AuthenticAMD", "avx2 avx512f", None),
            ("", "", None),
        ];
        for (vendor, flags, expected) in cases {
            let processor =
                format!("vendor_id\t: {vendor}\nmodel\t\t: 1\nflags\t\t: fpu {flags}\n");
            let processors = format!("processor\t: 0\n{processor}\nprocessor\t: 1\n{processor}");
            assert_eq!(faster_bfloat16_of(&processors), expected, "{vendor} {flags}");
        }
    }
}

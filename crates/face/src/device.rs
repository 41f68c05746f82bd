//! The device on which nets are run, and its provider in ONNX Runtime.

use std::{fmt, fs, io, path::Path, str::FromStr, thread};

/// The device on which nets are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor: every engine has its own sessions and runs them on its own thread.
    #[default]
    Cpu,
    /// The processor, with embedder and head pose in bfloat16, for processors with such
    /// instructions: these nets take half the time on many of them, and the measured error rates
    /// are those of [`Cpu`](Self::Cpu) (docs/decisions/0019).
    CpuBf16,
    /// The processor, used like a GPU: one thread runs the large nets of all engines, in batches.
    /// Slower than [`Cpu`](Self::Cpu); for testing the code for GPUs without one.
    CpuBatched,
    /// The large nets on the NVIDIA GPU of this number, in batches.
    Cuda(u16),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (text, number) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cpu-bf16", _) => Ok(Self::CpuBf16),
            ("cpu-batched", _) => Ok(Self::CpuBatched),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            _ => Err(format!(
                "`{text}` is not a device: use \"auto\", \"cpu\", \"cpu-bf16\" (a processor with \
                 bfloat16), \"cuda:0\" (the first NVIDIA GPU), \"cuda:1\" (the second)"
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::CpuBf16 => f.write_str("cpu-bf16"),
            Self::CpuBatched => f.write_str("cpu-batched"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl Device {
    /// The provider of ONNX Runtime for it.
    pub fn provider(self) -> &'static str {
        match self {
            Self::Cpu | Self::CpuBatched => "cpu",
            Self::CpuBf16 => "openvino",
            Self::Cuda(_) => "cuda",
        }
    }

    /// Whether all engines share the sessions of one thread for the large nets, which it runs in
    /// batches.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::CpuBatched | Self::Cuda(_))
    }

    /// The requirements of the device, for the message that it cannot be used.
    pub(crate) fn requirements(self) -> &'static str {
        match self {
            Self::Cpu | Self::CpuBatched => "It needs ONNX Runtime: run `make runtime`",
            Self::CpuBf16 => {
                "It needs a processor with AVX-512 BF16 (the flag avx512_bf16 in /proc/cpuinfo); \
                 ONNX Runtime with OpenVINO: run `make runtime-openvino`, and let runtime.library \
                 and ORT_DYLIB_PATH be empty or name that one; and the right to make code \
                 executable while running, which systemd's MemoryDenyWriteExecute takes away. \
                 docs/PERFORMANCE.md has the steps. To compare in single precision set \
                 runtime.device to \"cpu\""
            }
            Self::Cuda(_) => {
                "It needs an NVIDIA driver of version 580 or newer, CUDA 13 and cuDNN 9 where the \
                 system looks for libraries (LD_LIBRARY_PATH), and ONNX Runtime with CUDA: run \
                 `make runtime-gpu`; docs/GPU.md has the steps. To compare on the processor set \
                 runtime.device to \"cpu\""
            }
        }
    }

    /// Number of compute threads that keep it and the processor busy: one per core, or two if
    /// threads wait for the device.
    ///
    /// # Errors
    /// When the system does not report the number of cores.
    pub fn threads(self) -> io::Result<usize> {
        let cores = thread::available_parallelism()?.get();
        Ok(if self.is_shared() { 2 * cores } else { cores })
    }

    /// The vendor's name of it, or an empty text if the system does not report it. Empty too for
    /// GPUs of several models, because CUDA may number them in another order than the driver.
    pub fn model_name(self) -> String {
        match self {
            Self::Cpu | Self::CpuBf16 | Self::CpuBatched => {
                let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
                field(&processors, "model name").unwrap_or_default()
            }
            Self::Cuda(_) => gpu_model(Path::new("/proc/driver/nvidia/gpus")),
        }
    }
}

/// The one model of all the GPUs that the driver shows in `folder`.
fn gpu_model(folder: &Path) -> String {
    let gpus = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = gpus.filter_map(|gpu| fs::read_to_string(gpu.path().join("information")).ok());
    let mut models: Vec<_> = texts.filter_map(|text| field(&text, "Model")).collect();
    models.dedup();
    match &models[..] {
        [model] => model.clone(),
        _ => String::new(),
    }
}

/// The value of the first line `key: value`.
pub(super) fn field(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_it_is_written() {
        for device in
            [Device::Cpu, Device::CpuBf16, Device::CpuBatched, Device::Cuda(0), Device::Cuda(12)]
        {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!(Device::Cuda(1).provider(), "cuda");
        assert!(!Device::Cpu.is_shared() && Device::Cuda(0).is_shared());
        assert_eq!(Device::Cuda(0).threads().unwrap(), 2 * Device::Cpu.threads().unwrap());
    }

    #[test]
    fn what_is_no_device_is_refused_with_what_would_be_one() {
        for text in ["gpu", "cuda", "cuda:", "cuda:-1", "cuda:70000", "CPU", ""] {
            let complaint = text.parse::<Device>().unwrap_err();
            assert!(complaint.contains(&format!("`{text}`")), "{complaint}");
            assert!(
                complaint.contains("\"cpu\"") && complaint.contains("\"cuda:0\""),
                "{complaint}"
            );
        }
    }

    #[test]
    fn a_gpu_has_the_name_that_the_driver_tells_unless_it_could_be_anothers() {
        let folder = tempfile::tempdir().unwrap();
        let add = |place: &str, model: &str| {
            fs::create_dir(folder.path().join(place)).unwrap();
            let text = format!("Model: \t\t {model}\nIRQ:   \t\t 17\n");
            fs::write(folder.path().join(place).join("information"), text).unwrap();
        };
        assert_eq!(gpu_model(&folder.path().join("nothing")), "");
        add("0000:01:00.0", "Some GPU");
        assert_eq!(gpu_model(folder.path()), "Some GPU");
        add("0000:02:00.0", "Some GPU");
        assert_eq!(gpu_model(folder.path()), "Some GPU");
        add("0000:03:00.0", "Another GPU");
        assert_eq!(gpu_model(folder.path()), "");
    }
}

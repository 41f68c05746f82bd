//! Finds ONNX Runtime, and chooses the device where `runtime.device` is "auto".

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use memmap2::MmapMut;
use visavis_face::{
    Device, faster_bfloat16, has_bfloat16, manifest::ResolvedPack, session::newest_library,
};

use crate::config::Config;

/// The device for a pack, and why: bfloat16 where nothing prevents it, else single precision.
pub(super) fn choose_device(config: &Config, pack: &ResolvedPack) -> (Device, String) {
    let folder = runtime_folder(Device::CpuBf16);
    let flag = faster_bfloat16();
    let obstacles = [
        (!has_bfloat16(), "the processor has no avx512_bf16".to_owned()),
        (
            flag.is_none(),
            "this processor is not faster in bfloat16: it has avx512_bf16 without amx_bf16"
                .to_owned(),
        ),
        (
            own_library(config).is_some(),
            "runtime.library or ORT_DYLIB_PATH names the library".to_owned(),
        ),
        (
            !pack.calibration.as_ref().is_some_and(|table| table.bfloat16),
            format!("the table of the pack {} was not checked in bfloat16", pack.name),
        ),
        (
            !newest_library(&beside_program(folder)).exists(),
            format!("{folder}/ has no library: run `make runtime-openvino` to compare faster"),
        ),
        (
            !may_make_executable(),
            "this process may not make code executable (MemoryDenyWriteExecute)".to_owned(),
        ),
    ];
    let obstacle = obstacles.into_iter().find(|(applies, _)| *applies);
    let (device, why) = obstacle.map_or_else(
        || {
            let flag = flag.unwrap_or_default();
            (Device::CpuBf16, format!("the processor has {flag} and {folder}/ exists"))
        },
        |(_, why)| (Device::Cpu, why),
    );
    (device, format!("auto: {device}, because {why}"))
}

/// Whether this process may execute what it has written into memory, which `OpenVINO` does.
fn may_make_executable() -> bool {
    MmapMut::map_anon(1).and_then(MmapMut::make_exec).is_ok()
}

/// `name` beside the program if it exists, else in the working folder.
pub(super) fn beside_program(name: &str) -> PathBuf {
    installed(name).unwrap_or_else(|| PathBuf::from(name))
}

/// `name` beside the program, if it exists.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    Some(program.parent()?.join(name)).filter(|path| path.exists())
}

/// ONNX Runtime's shared library: `runtime.library`, else `ORT_DYLIB_PATH`, else in the folder for
/// the device: `runtime`, `runtime-openvino` or `runtime-gpu`. Always an absolute path, so that the
/// system's search path is not used.
///
/// # Errors
/// When the setting is not a path.
pub fn library(config: &Config, device: Device) -> Result<PathBuf> {
    let path = own_library(config)
        .unwrap_or_else(|| newest_library(&beside_program(runtime_folder(device))));
    std::path::absolute(&path).with_context(|| format!("{} is not a path", path.display()))
}

/// The folder of the library for a device.
fn runtime_folder(device: Device) -> &'static str {
    match device {
        Device::Cpu | Device::CpuBatched => "runtime",
        Device::CpuBf16 => "runtime-openvino",
        Device::Cuda(_) => "runtime-gpu",
    }
}

/// The library that the operator names for every device.
fn own_library(config: &Config) -> Option<PathBuf> {
    let configured = Some(config.runtime.library.clone()).filter(|path| !path.is_empty());
    let from_environment = || std::env::var("ORT_DYLIB_PATH").ok().filter(|p| !p.is_empty());
    configured.or_else(from_environment).map(PathBuf::from)
}

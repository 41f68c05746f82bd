//! Opens the configured model pack.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Result, anyhow, bail};
use visavis_face::{
    Device, Engine, FaceError, Pipeline, PipelineOptions, PixelMemory, Runtime,
    calibration::{Calibration, CalibrationTable},
    manifest::{Manifest, ResolvedPack},
};

use super::{
    MemoryPlan,
    runtime::{beside_program, choose_device, installed, library},
};
use crate::{compare::Policy, config::Config, worker::EngineFactory};

/// The engine of the configured pack, ready to be made on any thread, and how it decides.
pub struct Model {
    /// Makes an engine.
    pub(crate) factory: EngineFactory,
    /// The decision.
    pub(crate) policy: Arc<Policy>,
    /// The pack.
    pub(crate) pack: ResolvedPack,
    /// How many threads this machine has for engines.
    pub(crate) threads: usize,
    /// The runtime for its nets.
    pub(crate) runtime: Runtime,
    /// Why on its device, where that was chosen.
    pub(crate) device_reason: Option<String>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({})", self.pack.name)
    }
}

/// The configured pack and what its engines need.
#[derive(Debug)]
pub struct OpenedPack {
    /// The pack.
    pub(crate) pack: ResolvedPack,
    /// How many threads this machine has for its engines.
    pub(crate) threads: usize,
    runtime: Runtime,
    device_reason: Option<String>,
    options: PipelineOptions,
}

impl OpenedPack {
    /// A warm engine, for one thread.
    ///
    /// # Errors
    /// When a net cannot be loaded.
    pub(crate) fn engine(&self) -> Result<Pipeline, FaceError> {
        let mut engine = Pipeline::open(&self.runtime, &self.pack, self.options.clone())?;
        engine.warm_up()?;
        Ok(engine)
    }
}

/// Loads ONNX Runtime for the configured device and finds the configured pack, calibrated or not.
///
/// # Errors
/// When library or pack cannot be used.
pub fn open_pack(config: &Config) -> Result<OpenedPack> {
    let configured = config.runtime.device()?;
    // First: a library that the processor cannot use need not be fetched.
    configured.map(Device::check_processor).transpose()?;
    let manifest = Manifest::load(&model_dir(config))?;
    let pack = manifest.resolve(&config.model.pack)?;
    let (device, device_reason) = if let Some(device) = configured {
        (device, None)
    } else {
        let (device, reason) = choose_device(config, &pack);
        (device, Some(reason))
    };
    let runtime = Runtime::load(&library(config, device)?)?.on(device, config.runtime.batches())?;
    if let Some(missing) = pack.missing_file() {
        let fetched = manifest.fetched();
        // Another pack is never used without notice. Without any pack, the error of the first net
        // has the command.
        if !fetched.is_empty() {
            bail!(
                "{} is missing: run `visavis models pull {}`, or choose a pack that is in {} ({}) \
                 with model.pack (VISAVIS_MODEL_PACK)",
                missing.display(),
                pack.name,
                manifest.folder.display(),
                fetched.join(", ")
            );
        }
    }
    let plan = MemoryPlan::new(config)?;
    let options = PipelineOptions {
        limits: config.image,
        selfie: config.quality.selfie,
        document: config.quality.document,
        memory: PixelMemory::new(plan.pixels),
    };
    Ok(OpenedPack { pack, threads: plan.threads, runtime, device_reason, options })
}

/// The table of a pack without calibration that the operator allowed; its scores mean nothing.
fn uncalibrated() -> CalibrationTable {
    let knots = vec![(0.25, 1e-2), (0.35, 1e-3), (0.43, 1e-4), (0.51, 1e-5), (0.58, 1e-6)];
    CalibrationTable { id: "uncalibrated".to_owned(), knots, ..Default::default() }
}

/// Loads ONNX Runtime and the configured pack.
///
/// # Errors
/// When library or pack cannot be used, or the pack has no calibration table and that was not
/// allowed.
pub fn load_model(config: &Config) -> Result<Model> {
    let opened = open_pack(config)?;
    let pack = opened.pack.clone();
    let table = table(&pack, config.model.allow_uncalibrated)?;
    let calibration =
        Calibration::new(&table, config.compare.population).map_err(|why| anyhow!(why))?;
    let policy = Policy::new(calibration, &pack.name, config.compare.fmr_settings()?.fmr());
    let (threads, runtime) = (opened.threads, opened.runtime.clone());
    let device_reason = opened.device_reason.clone();
    let factory: EngineFactory =
        Arc::new(move || Ok(Box::new(opened.engine()?) as Box<dyn Engine>));
    Ok(Model { factory, policy: Arc::new(policy), pack, threads, runtime, device_reason })
}

/// The pack's table, if it was measured with exactly this pack.
fn table(pack: &ResolvedPack, allow_uncalibrated: bool) -> Result<CalibrationTable> {
    let file = pack.embedder.path.with_file_name("pack.toml");
    let cure = format!(
        "measure one with `visavis calibrate --folder DIR --id NAME` and append it to {}, or set \
         model.allow_uncalibrated = true to use it all the same",
        file.display()
    );
    match &pack.calibration {
        Some(table) if table.model == pack.digest() || allow_uncalibrated => Ok(table.clone()),
        Some(table) => bail!(
            "the calibration table `{}` of the pack `{}` was measured with other nets or \
             another version of the pipeline (`{}`, and this is `{}`), so its scores would mean \
             something else; {cure}",
            table.id,
            pack.name,
            table.model,
            pack.digest()
        ),
        None if allow_uncalibrated => Ok(uncalibrated()),
        None => bail!(
            "the pack `{}` has no calibration table, so its scores would mean nothing; {cure}",
            pack.name
        ),
    }
}

/// The folder of packs: `model.dir`, else `models` beside the program, else in the working folder.
pub fn model_dir(config: &Config) -> PathBuf {
    if config.model.dir.is_empty() {
        beside_program("models")
    } else {
        PathBuf::from(&config.model.dir)
    }
}

/// The settings file beside the program, which names the pack that was installed with it.
pub fn installed_settings() -> Option<PathBuf> {
    installed("visavis.toml")
}

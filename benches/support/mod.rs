//! What the benches share: photos that may be shipped, the real nets, a client and a server.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each bench uses a part; a bench may stop at the first surprise"
)]

use std::{path::Path, path::PathBuf};

use visavis::{app::library as library_for, config::Config};
use visavis_face::{
    Pipeline, PipelineOptions, Runtime,
    manifest::{Manifest, ResolvedPack},
};

/// The repository; the working folder where the bench was built on another machine.
pub(crate) fn root() -> &'static Path {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    if built.exists() { built } else { Path::new(".") }
}

/// A photograph from samples/.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    std::fs::read(root().join("samples").join(name)).unwrap()
}

/// The built-in configuration with runtime and models of this checkout.
pub(crate) fn config() -> Config {
    let mut config = Config::load(None, std::iter::empty()).unwrap();
    config.runtime.prefer_single_precision();
    config.model.dir = root().join("models").display().to_string();
    config.runtime.library = library().display().to_string();
    config
}

fn library() -> PathBuf {
    let config = Config::load(None, std::env::vars()).unwrap();
    library_for(&config, config.runtime.device().unwrap().unwrap_or_default()).unwrap()
}

/// The runtime.
pub(crate) fn runtime() -> Runtime {
    Runtime::load(&library()).unwrap()
}

/// The pack that is configured: the default, unless `VISAVIS_MODEL_PACK` names another.
pub(crate) fn pack() -> ResolvedPack {
    let config = Config::load(None, std::env::vars()).unwrap();
    Manifest::load(&root().join("models")).unwrap().resolve(&config.model.pack).unwrap()
}

/// The whole pipeline.
pub(crate) fn engine() -> Pipeline {
    let mut engine = Pipeline::open(&runtime(), &pack(), PipelineOptions::default()).unwrap();
    engine.warm_up().unwrap();
    engine
}

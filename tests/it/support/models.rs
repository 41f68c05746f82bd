//! The real runtime and the real pack, and the folder with photos.

use std::path::{Path, PathBuf};

use image::RgbImage;
use visavis::{
    config::Config,
    face::{
        EngineOptions, OnnxEngine, Runtime,
        decode::{DecodeLimits, decode},
        manifest::{Manifest, ResolvedPack},
    },
};

use super::runtime_library;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The built-in configuration.
pub fn config() -> Config {
    Config::load(None, std::iter::empty()).unwrap()
}

/// The runtime that `make` fetched.
pub fn runtime() -> Runtime {
    let from_environment = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    Runtime::load(&from_environment.unwrap_or_else(runtime_library)).unwrap()
}

/// The default pack that `make` fetched.
pub fn pack() -> ResolvedPack {
    Manifest::load(&root().join("models")).unwrap().resolve("omz").unwrap()
}

/// The pipeline as the service runs it.
pub fn engine() -> OnnxEngine {
    engine_of(&pack(), config().image)
}

/// The pipeline with a pack and limits of the test's own.
pub fn engine_of(pack: &ResolvedPack, limits: DecodeLimits) -> OnnxEngine {
    let config = config();
    let options =
        EngineOptions { limits, selfie: config.quality.selfie, document: config.quality.document };
    OnnxEngine::open(&runtime(), pack, options).expect("the pack is in models/: run `make models`")
}

/// A folder of photos and weights that are not part of the repository, or a loud word that the test
/// did not run.
pub fn shared(part: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("VISAVIS_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = folder.join(part);
    if path.exists() {
        return Some(path);
    }
    super::left_out_everywhere(&format!(
        "{} is missing; set VISAVIS_SHARED to the folder with faces/, models/ and vectors/",
        path.display()
    ));
    None
}

/// One of the sample photos, as it is in the repository.
pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(root().join(format!("samples/{name}.jpg"))).unwrap()
}

/// Its pixels.
pub fn sample_photo(name: &str) -> RgbImage {
    decode(&sample(name), &DecodeLimits::default()).unwrap()
}

/// A file of reference numbers.
pub fn reference(name: &str) -> serde_json::Value {
    let path = root().join("tests/reference").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

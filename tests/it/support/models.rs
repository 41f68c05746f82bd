//! The real runtime and the real pack, and the folder with photos.

use std::path::{Path, PathBuf};

use image::RgbImage;
use visavis::config::Config;
use visavis_face::{
    DecodeLimits, Pipeline, PipelineOptions, Runtime,
    decode::decode,
    manifest::{Manifest, ResolvedPack},
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

/// The built-in packs that tests take, the default first.
const PACKS: [&str; 2] = ["omz", "mobilefacenet"];

/// Those of [`PACKS`] that `make` fetched, at least one.
fn fetched() -> Vec<ResolvedPack> {
    let manifest = Manifest::load(&root().join("models")).unwrap();
    let packs = PACKS.map(|name| manifest.resolve(name).unwrap());
    let packs: Vec<_> = packs.into_iter().filter(|pack| pack.missing_file().is_none()).collect();
    assert!(!packs.is_empty(), "models/ has no pack: run `make models runtime`");
    packs
}

/// The packs that `make` fetched: all of [`PACKS`] where CI=true.
pub fn packs() -> Vec<ResolvedPack> {
    let packs = fetched();
    if packs.len() < PACKS.len() {
        super::left_out(
            "one of the packs omz and mobilefacenet is not in models/: run `make models`",
        );
    }
    packs
}

/// The pack that `make` fetched: the default, or else the one of package registries.
pub fn pack() -> ResolvedPack {
    fetched().swap_remove(0)
}

/// The default pack; `None` with a loud word where its publishers could not be reached.
pub fn default_pack() -> Option<ResolvedPack> {
    let pack = pack();
    if pack.name == PACKS[0] {
        return Some(pack);
    }
    super::left_out(
        "the pack omz is not in models/: set VISAVIS_MODEL_MIRROR and run `make models`",
    );
    None
}

/// The pipeline as the service runs it.
pub fn engine() -> Pipeline {
    engine_of(&pack(), config().image)
}

/// The pipeline with a pack and limits of the test's own.
pub fn engine_of(pack: &ResolvedPack, limits: DecodeLimits) -> Pipeline {
    let config = config();
    let options = PipelineOptions {
        limits,
        selfie: config.quality.selfie,
        document: config.quality.document,
        ..PipelineOptions::default()
    };
    Pipeline::open(&runtime(), pack, options).expect("the pack is in models/: run `make models`")
}

/// A folder of photos and weights that are not part of the repository. Without it the test is left
/// out, which is counted, and a failure where CI=true.
pub fn shared(part: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("VISAVIS_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = folder.join(part);
    if path.exists() {
        return Some(path);
    }
    super::left_out_without(part);
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

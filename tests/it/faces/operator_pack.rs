//! A pack of the operator's own is data: a folder with weights and a `pack.toml`.

use std::fs;

use visavis::face::{
    Comparison, Engine as _, EngineOptions, FaceError, OnnxEngine, Picture, PictureKind,
    manifest::Manifest,
};

use crate::support::models::{root, runtime, shared};

const PACK: &str = r#"
about = "MobileFace V2 with the detector of omz"
accuracy = "LFW 99.07 %"
detector = { from = "omz" }
landmarks = { from = "omz" }
[embedder]
file = "mobileface_v2.onnx"
sha256 = "9e70702462cfc6d31172c4ab2b64db3b09c653b4eae41493ebfd21bb3856e635"
licence = "MIT"
origin = "becauseofAI"
input = { width = 112, height = 112, order = "rgb" }
dimension = 256
template = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
template_size = [112.0, 112.0]
[calibration]
id = "mobileface-lfw"
knots = [[0.262, 1e-2], [0.370, 1e-3], [0.456, 1e-4], [0.524, 1e-5], [0.579, 1e-6]]
"#;

#[test]
fn an_embedder_of_the_operator_s_own_compares_faces() {
    let Some(weights) = shared("models/operator/mobileface_v2.onnx") else { return };
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("mine");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("pack.toml"), PACK).unwrap();
    fs::copy(weights, own.join("mobileface_v2.onnx")).unwrap();
    std::os::unix::fs::symlink(root().join("models/omz"), folder.path().join("omz")).unwrap();

    let pack = Manifest::load(folder.path()).unwrap().resolve("mine").unwrap();
    assert_eq!(pack.calibration.as_ref().unwrap().id, "mobileface-lfw");
    let mut engine = OnnxEngine::open(&runtime(), &pack, EngineOptions::default()).unwrap();
    let mut compare = |a: &str, b: &str| {
        let read = |name: &str| fs::read(root().join("samples").join(name)).unwrap();
        let (a, b) = (read(a), read(b));
        let picture = |bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie };
        match engine.compare(&picture(&a), &picture(&b)).unwrap() {
            Comparison::Compared { similarity, .. } => similarity.value(),
            refused @ Comparison::Refused { .. } => panic!("{refused:?}"),
        }
    };
    let same = compare("obama-2012.jpg", "obama-2009.jpg");
    let different = compare("obama-2012.jpg", "collins.jpg");
    assert!(same > 0.524 && different < 0.37, "{same} {different}");
}

#[test]
fn a_changed_weights_file_is_refused_by_name_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let omz = folder.path().join("omz");
    fs::create_dir(&omz).unwrap();
    for entry in fs::read_dir(root().join("models/omz")).expect("run `make models`") {
        let path = entry.unwrap().path();
        fs::copy(&path, omz.join(path.file_name().unwrap())).unwrap();
    }
    let eyes = omz.join("open-closed-eye.onnx");
    let mut bytes = fs::read(&eyes).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&eyes, bytes).unwrap();
    let pack = Manifest::load(folder.path()).unwrap().resolve("omz").unwrap();
    let error = OnnxEngine::open(&runtime(), &pack, EngineOptions::default()).unwrap_err();
    assert!(matches!(error, FaceError::WrongDigest { .. }));
    let words = error.to_string();
    assert!(words.contains("open-closed-eye.onnx") && words.contains("models pull"), "{words}");
    fs::remove_file(&eyes).unwrap();
    let error = OnnxEngine::open(&runtime(), &pack, EngineOptions::default()).unwrap_err();
    assert!(matches!(error, FaceError::MissingWeights { .. }), "{error}");
}

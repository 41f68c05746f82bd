//! Each stage alone, fed with the reference's input for that stage, so that a mistake shows where
//! it is made. The numbers were made once with `OpenCV`, Pillow, scikit-image and onnxruntime
//! (`tests/reference/`).

use std::{path::Path, time::Duration};

use image::RgbImage;
use serde_json::Value;
use visavis_face::{
    BatchOptions, DecodeLimits, Detection, Device,
    align::{AlignmentTransform, align},
    attributes::{EyeClassifier, PoseEstimator},
    decode::decode,
    detect::Detector,
    embed::Embedder,
    gates::in_blocks,
    geometry::{BoundingBox, Landmarks, Point},
    landmarks::LandmarkRefiner,
    quality::{Observed, measure},
    session::{NetSession, Placement},
};

use crate::{
    noise::Dice,
    support::models::{default_pack, reference, runtime, shared},
};

/// A JPEG decoder rounds differently from another, most of all in photos of a few pixels.
const PIXEL_MEAN: f64 = 1.25;

fn open(path: &Path) -> RgbImage {
    let limits = DecodeLimits { min_side: 1, ..DecodeLimits::default() };
    decode(&std::fs::read(path).unwrap(), &limits)
        .unwrap_or_else(|r| panic!("{}: {r:?}", path.display()))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn landmarks(value: &Value) -> Landmarks {
    Landmarks(std::array::from_fn(|i| {
        let point = numbers(&value[i]);
        Point::new(point[0] as f32, point[1] as f32)
    }))
}

fn area(value: &Value) -> BoundingBox {
    let n = numbers(value);
    BoundingBox::new(n[0] as f32, n[1] as f32, n[2] as f32, n[3] as f32)
}

fn close(ours: &[f64], theirs: &[f64], tolerance: f64) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= tolerance)
}

/// The reference photos with their photos; empty without the photos.
fn photos() -> Vec<(String, RgbImage, Value)> {
    let Some(faces) = shared("faces") else { return Vec::new() };
    let Value::Object(detections) = reference("detect.json") else { panic!("an object") };
    detections
        .into_iter()
        .map(|(name, entry)| (name.clone(), open(&faces.join(name)), entry))
        .collect()
}

/// The reference's largest face: the one that its later stages are about.
fn largest(entry: &Value) -> Detection {
    let faces = entry["faces"].as_array().unwrap();
    let size = |face: &&Value| (area(&face["box"]).area() * 1e3) as u64;
    let face = faces.iter().max_by_key(size).unwrap();
    Detection {
        area: area(&face["box"]),
        landmarks: landmarks(&face["landmarks"]),
        confidence: face["score"].as_f64().unwrap() as f32,
    }
}

#[test]
fn detections_agree_with_opencv() {
    let Some(pack) = default_pack() else { return };
    let mut detector = Detector::open(&runtime(), &pack.detector).unwrap();
    for (name, picture, expected) in photos() {
        let long = picture.width().max(picture.height()).min(640);
        let ours = detector.detect_at(&picture, long).unwrap();
        let theirs = expected["faces"].as_array().unwrap();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for face in theirs {
            let (their_area, their_points) = (area(&face["box"]), landmarks(&face["landmarks"]));
            let ours = ours
                .iter()
                .max_by(|a, b| a.area.iou(&their_area).total_cmp(&b.area.iou(&their_area)));
            let ours = ours.unwrap();
            assert!(ours.area.iou(&their_area) > 0.95, "{name}: {:?} {their_area:?}", ours.area);
            assert!(
                (f64::from(ours.confidence) - face["score"].as_f64().unwrap()).abs() < 0.02,
                "{name}"
            );
            for (our_point, their_point) in ours.landmarks.0.iter().zip(their_points.0) {
                let apart = our_point.distance(their_point) / their_area.width;
                assert!(apart < 0.02, "{name}: landmark {apart:.3} of the box apart");
            }
        }
    }
}

#[test]
fn refined_landmarks_agree_with_the_reference() {
    let Some(pack) = default_pack() else { return };
    let mut refiner = LandmarkRefiner::open(&runtime(), pack.landmarks.as_ref().unwrap()).unwrap();
    let expected = reference("landmarks.json");
    for (name, picture, entry) in photos() {
        let face = largest(&entry);
        let ours = refiner.refine(&picture, &face).unwrap().unwrap();
        for (our_point, their_point) in ours.0.iter().zip(landmarks(&expected[&name]).0) {
            let apart = our_point.distance(their_point) / face.area.width;
            assert!(apart < 0.005, "{name}: {apart:.4} of the box apart");
        }
    }
}

#[test]
fn alignment_agrees_with_the_reference_fit_and_with_opencv_s_warp() {
    let Some(pack) = default_pack() else { return };
    let net = pack.embedder.net;
    let (points, expected) = (reference("landmarks.json"), reference("align.json"));
    for (name, picture, _) in photos() {
        let from = landmarks(&points[&name]);
        let fit = AlignmentTransform::fit(&from, &net.template).unwrap();
        let theirs = &expected[&name];
        for point in from.0 {
            let frame = fit.apply(point);
            let ours = [f64::from(frame.x) * 128.0 / 96.0, f64::from(frame.y) * 128.0 / 112.0];
            let there = [0, 1].map(|row| {
                let m = numbers(&theirs["matrix"][row]);
                m[0] * f64::from(point.x) + m[1] * f64::from(point.y) + m[2]
            });
            assert!(close(&ours, &there, 0.05), "{name}: {ours:?} {there:?}");
        }
        let patch = align(&picture, &from, &net).unwrap().patch;
        let channel = |c: usize| {
            let values = patch.pixels.iter().skip(c).step_by(3).map(|v| f64::from(*v));
            values.sum::<f64>() / (patch.width * patch.height) as f64
        };
        let means = [channel(0), channel(1), channel(2)];
        assert!(
            close(&means, &numbers(&theirs["mean"]), PIXEL_MEAN),
            "{name}: {means:?} {}",
            theirs["mean"]
        );
        let mut apart = Vec::new();
        for (row, line) in theirs["grid"].as_array().unwrap().iter().enumerate() {
            for (column, pixel) in line.as_array().unwrap().iter().enumerate() {
                let at = ((row * 16 + 8) * patch.width + column * 16 + 8) * 3;
                let ours = &patch.pixels[at..at + 3];
                apart.extend(
                    ours.iter().zip(numbers(pixel)).map(|(a, b)| (f64::from(*a) - b).abs()),
                );
            }
        }
        let average = apart.iter().sum::<f64>() / apart.len() as f64;
        assert!(average < 2.0, "{name}: pixels of the grid are {average:.2} levels apart");
    }
}

#[test]
fn embeddings_agree_with_onnxruntime_in_python() {
    let Some(pack) = default_pack() else { return };
    let located = pack.embedder;
    let mut embedder = Embedder::open(&runtime(), &located).unwrap();
    let (points, expected) = (reference("landmarks.json"), reference("embed.json"));
    for (name, picture, _) in photos() {
        let aligned = align(&picture, &landmarks(&points[&name]), &located.net).unwrap();
        let embedding = embedder.embed(&aligned).unwrap();
        assert_eq!(embedding.values().len(), 256);
        let first: Vec<f64> = embedding.values()[..16].iter().map(|v| f64::from(*v)).collect();
        let theirs = numbers(&expected[&name]["first"]);
        assert!(close(&first, &theirs, 0.012), "{name}: {first:.3?} {theirs:.3?}");
    }
}

#[test]
fn quality_measures_agree_with_the_reference() {
    let Some(pack) = default_pack() else { return };
    let runtime = runtime();
    let mut pose = PoseEstimator::open(&runtime, pack.pose.as_ref().unwrap()).unwrap();
    let mut eyes = EyeClassifier::open(&runtime, pack.eyes.as_ref().unwrap()).unwrap();
    let (points, expected) = (reference("landmarks.json"), reference("quality.json"));
    for (name, picture, entry) in photos() {
        let (face, points, theirs) = (largest(&entry), landmarks(&points[&name]), &expected[&name]);
        let head = pose.estimate(&picture, &face.area).unwrap();
        let ours = [head.yaw, head.pitch, head.roll].map(f64::from);
        assert!(
            close(&ours, &numbers(&theirs["pose"]), 1.0),
            "{name}: {ours:?} {}",
            theirs["pose"]
        );
        let open = eyes.open_probability(&picture, &points).unwrap();
        let ours = open.map(f64::from);
        assert!(
            close(&ours, &numbers(&theirs["eyes_open"]["0.8"]), 0.1),
            "{name}: {ours:?} {theirs}"
        );
        let aligned = align(&picture, &points, &pack.embedder.net).unwrap();
        let measures = measure(&Observed {
            size: picture.dimensions(),
            face: &face,
            landmarks: &points,
            faces: &[face],
            confidence: face.confidence,
            roll: head.roll,
            yaw: Some(head.yaw),
            pitch: Some(head.pitch),
            eyes: Some(open),
            cover: None,
            aligned: &aligned,
            length: 15.0,
            unified: None,
        });
        let sharpness = theirs["sharpness"].as_f64().unwrap();
        let ratio = f64::from(measures.sharpness.unwrap()) / sharpness;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{name}: sharpness {:?} {sharpness}",
            measures.sharpness
        );
        let light =
            [measures.brightness, measures.over_exposed, measures.under_exposed].map(f64::from);
        let luma = ["mean", "bright", "dark"].map(|key| theirs["luma"][key].as_f64().unwrap());
        assert!(close(&light, &luma, 0.02), "{name}: {light:?} {luma:?}");
    }
}

/// As it comes from its publisher, the net overflows for some of these.
#[test]
fn eyes_in_plain_black_and_white_have_a_probability_of_being_open() {
    let Some(pack) = default_pack() else { return };
    let mut eyes = EyeClassifier::open(&runtime(), pack.eyes.as_ref().unwrap()).unwrap();
    let at = |x, y| Point::new(x, y);
    let [left, right, below] = [at(32.0, 32.0), at(96.0, 32.0), at(64.0, 64.0)];
    let points = Landmarks([left, right, below, below, below]);
    let mut dice = Dice::new(1);
    for number in 0..1_000 {
        // Black and white blocks.
        let side = 2 + dice.below(14) as u32;
        let white: Vec<bool> = (0..64 * 64).map(|_| dice.below(2) == 0).collect();
        let picture = RgbImage::from_fn(128, 64, |x, y| {
            let block = (y / side * 64 + x / side) as usize;
            image::Rgb([if white[block] { 255 } else { 0 }; 3])
        });
        let open = eyes.open_probability(&picture, &points);
        let open = open.unwrap_or_else(|error| panic!("pattern {number}: {error}"));
        assert!(open.iter().all(|open| (0.0..=1.0).contains(open)), "{open:?}");
    }
}

/// The third of them is opened for batches, for which nothing is rewritten.
#[test]
fn the_gates_of_the_default_embedder_are_rewritten_and_its_results_stay_the_same_bits() {
    let Some(pack) = default_pack() else { return };
    let bytes = std::fs::read(&pack.embedder.path).unwrap();
    let rewritten = in_blocks(&bytes).expect("gates").model;
    assert_eq!(in_blocks(&rewritten), None, "nothing is left to rewrite");
    let runtime = runtime();
    let options = BatchOptions { wait: Duration::default(), most: 1, memory: 0 };
    let batched = runtime.on(Device::CpuBatched, options).unwrap();
    let nets = [
        (&runtime, &bytes, Placement::CallingThread),
        (&runtime, &rewritten, Placement::CallingThread),
        (&batched, &bytes, Placement::Device),
    ];
    let tensor: Vec<f32> = (0..3 * 128 * 128).map(|n| (n * 7 % 256) as f32).collect();
    let [one, other, batch] = nets.map(|(runtime, bytes, placement)| {
        let path = Path::new("embedder.onnx");
        let mut net = NetSession::from_bytes(runtime, bytes, path, placement).unwrap();
        let [values] = net.run(&tensor, (128, 128), ["out"]).unwrap();
        values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert!(one == other && other == batch);
}

//! The conversion of the published `OpenVINO` graphs computes what a right conversion computes.

use std::fs;

use visavis::{
    face::session::{NetSession, Runtime, sha256_hex},
    models::convert::convert,
};

use crate::support::models::{pack, runtime, shared};

/// Largest difference of any output, as a share of the largest output.
const CLOSE: f32 = 1e-4;

fn run(runtime: &Runtime, model: &[u8], input: &[f32], side: usize) -> Vec<(String, Vec<f32>)> {
    let mut net = NetSession::from_bytes(runtime, model, "net.onnx".as_ref()).unwrap();
    let names = net.output_names();
    let outputs = names.iter().map(|name| {
        let [values] = net.run(input, (side, side), [name.as_str()]).unwrap();
        (name.clone(), values)
    });
    let mut outputs: Vec<_> = outputs.collect();
    outputs.sort_by(|a, b| a.0.cmp(&b.0));
    outputs
}

#[test]
fn converted_nets_compute_the_reference_s_answers_and_have_the_pinned_digests() {
    let Some(models) = shared("models") else { return };
    let (runtime, pack) = (runtime(), pack());
    let (landmarks, pose) = (pack.landmarks.unwrap().net, pack.pose.unwrap().net);
    let embedder = pack.embedder.net;
    for (weights, input) in [
        (landmarks.weights, landmarks.input),
        (pose.weights, pose.input),
        (embedder.weights, embedder.input),
    ] {
        let published: Vec<Vec<u8>> = weights
            .sources
            .iter()
            .map(|source| fs::read(models.join("upstream").join(&source.mirror)).unwrap())
            .collect();
        let xml = std::str::from_utf8(&published[0]).unwrap();
        let ours = convert(xml, &published[1]).unwrap();
        assert_eq!(sha256_hex(&ours), weights.sha256, "{}", weights.file);
        assert_eq!(ours, convert(xml, &published[1]).unwrap(), "the conversion is deterministic");
        let theirs = fs::read(models.join("converted").join(&weights.file)).unwrap();
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

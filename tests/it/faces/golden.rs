//! The same pair gives the same score, whoever computes it, in whatever order and beside whatever else.

use std::thread;

use visavis::face::{
    Comparison, Engine as _, OnnxEngine, Picture, PictureKind, calibration::Calibration,
};

use crate::support::models::{engine, pack, sample};

/// Pairs of the samples with their scores. Kernels differ in their last bits between kinds of processors, which is
/// worth some hundredths of a point.
const GOLDEN: [(&str, &str, f64); 4] = [
    ("obama-2009", "obama-2012", 99.75),
    ("collins", "hopper", 41.62),
    ("collins", "obama-2009", 36.97),
    ("hopper", "obama-2012", 36.87),
];

fn score(engine: &mut OnnxEngine, one: &str, other: &str) -> f64 {
    let (one, other) = (sample(one), sample(other));
    let picture = |bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie };
    let compared = engine.compare(&picture(&one), &picture(&other)).unwrap();
    let Comparison::Compared { similarity, .. } = compared else { panic!("both show a face") };
    Calibration::new(&pack().calibration.unwrap()).unwrap().score(similarity)
}

#[test]
fn golden_pairs_have_their_scores() {
    let mut engine = engine();
    for (one, other, golden) in GOLDEN {
        let score = score(&mut engine, one, other);
        assert!((score - golden).abs() < 0.1, "{one} {other}: {score}, golden {golden}");
    }
}

#[test]
fn a_score_depends_on_nothing_but_the_pair() {
    let alone: Vec<f64> = {
        let mut engine = engine();
        GOLDEN.iter().map(|(one, other, _)| score(&mut engine, one, other)).collect()
    };
    thread::scope(|scope| {
        for worker in 0..3 {
            let alone = &alone;
            scope.spawn(move || {
                let mut engine = engine();
                for n in 0..GOLDEN.len() {
                    let n = (n + worker) % GOLDEN.len();
                    let (one, other, _) = GOLDEN[n];
                    let there = score(&mut engine, one, other);
                    let back = score(&mut engine, other, one);
                    assert!(
                        (there - alone[n]).abs() < 1e-4,
                        "{one} {other}: {there}, {}",
                        alone[n]
                    );
                    assert!((there - back).abs() < 1e-4, "{one} {other}: {there} and {back}");
                }
            });
        }
    });
}

//! The same pair gives the same score, on any engine, in any order and beside whatever
//! else.

use std::thread;

use visavis_face::{
    Comparison, Engine as _, Picture, PictureKind, Pipeline,
    calibration::{Calibration, Population},
    manifest::ResolvedPack,
};

use crate::support::models::{config, engine_of, packs, sample};

/// Pairs of the samples with their scores, of omz and of mobilefacenet. Kernels differ in their
/// last bits between kinds of processors, which is worth some hundredths of a point; the decoders
/// of JPEG round differently, which is worth some tenths.
const GOLDEN: [(&str, &str, [f64; 2]); 4] = [
    ("obama-2009", "obama-2012", [99.75, 99.10]),
    ("collins", "hopper", [41.62, 37.75]),
    ("collins", "obama-2009", [36.97, 29.29]),
    ("hopper", "obama-2012", [36.87, 37.64]),
];

fn engine(pack: &ResolvedPack) -> Pipeline {
    engine_of(pack, config().image)
}

fn score(pack: &ResolvedPack, engine: &mut Pipeline, one: &str, other: &str) -> f64 {
    let (one, other) = (sample(one), sample(other));
    let picture = |bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie };
    let compared = engine.compare(&picture(&one), &picture(&other)).unwrap();
    let Comparison::Compared { similarity, .. } = compared else { panic!("both show a face") };
    Calibration::new(pack.calibration.as_ref().unwrap(), Population::Mixed)
        .unwrap()
        .score(similarity)
}

#[test]
fn golden_pairs_have_their_scores() {
    for pack in packs() {
        let mut engine = engine(&pack);
        let number = usize::from(pack.name != "omz");
        for (one, other, golden) in GOLDEN {
            let (score, golden) = (score(&pack, &mut engine, one, other), golden[number]);
            let close = (score - golden).abs() < 0.3;
            assert!(close, "{} {one} {other}: {score}, golden {golden}", pack.name);
        }
    }
}

#[test]
fn a_score_depends_on_nothing_but_the_pair() {
    for pack in packs() {
        let alone: Vec<f64> = {
            let mut engine = engine(&pack);
            GOLDEN.iter().map(|(one, other, _)| score(&pack, &mut engine, one, other)).collect()
        };
        thread::scope(|scope| {
            for worker in 0..3 {
                let (alone, pack) = (&alone, &pack);
                scope.spawn(move || compare_all(pack, worker, alone));
            }
        });
    }
}

/// Compares the pairs there and back, beginning with number `first`.
fn compare_all(pack: &ResolvedPack, first: usize, alone: &[f64]) {
    let mut engine = engine(pack);
    for n in 0..GOLDEN.len() {
        let n = (n + first) % GOLDEN.len();
        let (one, other, _) = GOLDEN[n];
        let there = score(pack, &mut engine, one, other);
        let back = score(pack, &mut engine, other, one);
        assert!((there - alone[n]).abs() < 1e-4, "{one} {other}: {there}, {}", alone[n]);
        assert!((there - back).abs() < 1e-4, "{one} {other}: {there} and {back}");
    }
}

//! The whole pipeline on labelled pairs: right decisions, and the reference's similarities.

use std::collections::BTreeMap;

use visavis::{
    compare::{Fmr, Outcome, Policy},
    face::{Comparison, Engine as _, Picture, PictureKind, Side, calibration::Calibration},
};

use crate::support::models::{engine, pack, root, shared};

/// How far a similarity may be from the reference's.
const SIMILARITY: f32 = 0.01;
/// Wrong decisions that are forgiven among the 300 pairs.
const EXCEPTIONS: usize = 2;

struct Row {
    a: String,
    b: String,
    same: bool,
    similarity: f32,
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/reference/similarity.csv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Row {
            a: cells[0].to_owned(),
            b: cells[1].to_owned(),
            same: cells[2] == "1",
            similarity: cells[3].parse().unwrap(),
        }
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn all_labelled_pairs_are_decided_right_and_agree_with_the_reference() {
    let Some(folder) = shared("faces/pairs") else { return };
    let mut engine = engine();
    let mut faces = BTreeMap::new();
    for row in rows() {
        for name in [row.a, row.b] {
            faces.entry(name).or_insert_with_key(|name| {
                let bytes = std::fs::read(folder.join(name)).unwrap();
                let picture = Picture { bytes: &bytes, hint: None, kind: PictureKind::Selfie };
                engine.analyse(&picture).unwrap().unwrap_or_else(|r| panic!("{name}: {r:?}"))
            });
        }
    }
    let calibration = Calibration::new(&pack().calibration.unwrap()).unwrap();
    let policy = Policy::new(calibration, "omz", Fmr::new(1e-5).unwrap());
    let net = pack().embedder.net;
    let (mut wrong, mut far) = (Vec::new(), Vec::new());
    for Row { a, b, same, similarity } in rows() {
        let (one, other) = (&faces[&a], &faces[&b]);
        let ours = net.similarity(&one.embedding, &other.embedding);
        let cosine = one.embedding.cosine(&other.embedding).value();
        let compared = Comparison::Compared {
            similarity: ours,
            probe: Box::new(one.report.clone()),
            reference: Box::new(other.report.clone()),
        };
        let outcome = policy.decide(compared, None);
        let Outcome::Compared(verdict) = outcome else { panic!("{a} {b}") };
        if verdict.same_person() != same {
            wrong.push(format!("{a} {b}: {:.4}, score {:?}", ours.value(), verdict.score));
        }
        if (cosine - similarity).abs() > SIMILARITY {
            far.push(format!("{a} {b}: {cosine:.4}, reference {similarity}"));
        }
    }
    eprintln!("{} of {} pairs decided wrong: {wrong:?}", wrong.len(), rows().len());
    assert!(wrong.len() <= EXCEPTIONS, "\n{}", wrong.join("\n"));
    assert!(far.is_empty(), "{} similarities are off:\n{}", far.len(), far.join("\n"));
}

#[test]
fn the_order_of_the_pictures_changes_nothing_but_the_sides() {
    let mut engine = engine();
    let read = |name: &str| std::fs::read(root().join("samples").join(name)).unwrap();
    let (one, other) = (read("collins.jpg"), read("hopper.jpg"));
    let picture = |bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie };
    let there = engine.compare(&picture(&one), &picture(&other)).unwrap();
    let back = engine.compare(&picture(&other), &picture(&one)).unwrap();
    let (
        Comparison::Compared { similarity: s1, probe, .. },
        Comparison::Compared { similarity: s2, reference, .. },
    ) = (there, back)
    else {
        panic!("both show a face")
    };
    assert!((s1.value() - s2.value()).abs() < 1e-6);
    assert_eq!(probe, reference);
    let refused = engine.compare(&picture(&one), &picture(b"BM")).unwrap();
    assert!(matches!(refused, Comparison::Refused { side: Side::Reference, .. }));
}

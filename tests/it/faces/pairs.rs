//! The whole pipeline on labelled pairs: right decisions, and the reference's similarities.

use std::{collections::BTreeMap, io::Cursor};

use image::ImageFormat;
use visavis::compare::{Fmr, Outcome, Policy, RequestOptions};
use visavis_face::{
    AnalysedFace, Comparison, DecodeLimits, Engine as _, Picture, PictureKind, Pipeline, Side,
    calibration::{Calibration, Population},
    decode::decode,
    manifest::ResolvedPack,
};

use super::two_embedders::duo;
use crate::support::models::{default_pack, engine, engine_of, packs, root, shared};

/// How far a similarity may be from the reference's, which looks for faces at 640 pixels.
const SIMILARITY: f32 = 0.01;
/// How far it may be when faces are looked for at the pack's sizes and large photos are decoded
/// with fewer pixels.
const ANOTHER_LOOK: f32 = 0.06;
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

fn analysed(engine: &mut Pipeline, name: &str, bytes: &[u8]) -> AnalysedFace {
    let picture = Picture { bytes, hint: None, kind: PictureKind::Selfie };
    engine.analyse(&picture).unwrap().unwrap_or_else(|r| panic!("{name}: {r:?}"))
}

/// The faces of all photos by name, each from what `file` makes of it.
fn faces(
    engine: &mut Pipeline,
    file: impl Fn(&[u8]) -> Vec<u8>,
) -> Option<BTreeMap<String, AnalysedFace>> {
    let folder = shared("faces/pairs")?;
    let mut faces = BTreeMap::new();
    for name in rows().into_iter().flat_map(|row| [row.a, row.b]) {
        faces.entry(name).or_insert_with_key(|name| {
            analysed(engine, name, &file(&std::fs::read(folder.join(name)).unwrap()))
        });
    }
    Some(faces)
}

/// The pairs whose cosine is further than `most` from the reference's.
fn far(faces: &BTreeMap<String, AnalysedFace>, most: f32) -> Vec<String> {
    let far = rows().into_iter().filter_map(|Row { a, b, similarity, .. }| {
        let cosine = faces.get(&a)?.embedding.cosine(&faces.get(&b)?.embedding).value();
        ((cosine - similarity).abs() > most)
            .then(|| format!("{a} {b}: {cosine:.4}, reference {similarity}"))
    });
    far.collect()
}

/// With room for bitmaps.
fn roomy_engine(pack: &ResolvedPack) -> Pipeline {
    engine_of(pack, DecodeLimits { max_bytes: 64 << 20, ..DecodeLimits::default() })
}

/// A bitmap, which is always decoded at its own size.
fn as_bitmap(file: &[u8]) -> Vec<u8> {
    let picture = decode(file, &DecodeLimits::default()).unwrap();
    let mut bitmap = Cursor::new(Vec::new());
    picture.write_to(&mut bitmap, ImageFormat::Bmp).unwrap();
    bitmap.into_inner()
}

#[test]
fn looking_where_the_reference_looks_gives_its_similarities() {
    let Some(mut pack) = default_pack() else { return };
    (pack.detector.net.long_sides, pack.detector.net.near) = (vec![640], 0.0);
    let Some(mut faces) = faces(&mut roomy_engine(&pack), as_bitmap) else { return };
    let all = faces.len();
    // The reference does not detect a tilted head again.
    faces.retain(|_, face| face.report.quality.measures.roll_deg < 12.0);
    assert!(faces.len() + 2 >= all, "{} of {all}", faces.len());
    let far = far(&faces, SIMILARITY);
    assert!(far.is_empty(), "{} similarities are off:\n{}", far.len(), far.join("\n"));
}

#[test]
fn all_labelled_pairs_are_decided_right_by_each_pack_and_as_the_reference_says_by_omz() {
    for pack in packs().into_iter().chain(duo()) {
        let Some(faces) = faces(&mut roomy_engine(&pack), <[u8]>::to_vec) else { return };
        decide_all(&pack, &faces);
        if pack.name == "omz" {
            let far = far(&faces, ANOTHER_LOOK);
            assert!(far.is_empty(), "{} similarities are off:\n{}", far.len(), far.join("\n"));
        }
    }
}

fn decide_all(pack: &ResolvedPack, faces: &BTreeMap<String, AnalysedFace>) {
    let calibration =
        Calibration::new(pack.calibration.as_ref().unwrap(), Population::Mixed).unwrap();
    let policy = Policy::new(calibration, &pack.name, Fmr::new(1e-5).unwrap());
    let mut wrong = Vec::new();
    for Row { a, b, same, .. } in rows() {
        let (one, other) = (&faces[&a], &faces[&b]);
        let similarity = one.embedding.similarity(&other.embedding);
        let compared = Comparison::Compared {
            similarity,
            degradation_loss: one.embedding.degradation_loss(&other.embedding),
            probe: Box::new(one.report.clone()),
            reference: Box::new(other.report.clone()),
            times: [one.times, other.times],
        };
        let outcome = policy.decide(compared, &RequestOptions::default());
        let Outcome::Compared(verdict) = outcome else { panic!("{a} {b}") };
        if verdict.same_person() != same {
            wrong.push(format!("{a} {b}: {:.4}, score {:?}", similarity.value(), verdict.score));
        }
    }
    eprintln!("{}: {} of {} pairs decided wrong: {wrong:?}", pack.name, wrong.len(), rows().len());
    assert!(wrong.len() <= EXCEPTIONS, "{}\n{}", pack.name, wrong.join("\n"));
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_photo_decoded_with_fewer_pixels_shows_the_same_face() {
    let mut engine = roomy_engine(&crate::support::models::pack());
    let Some(fewer) = faces(&mut engine, <[u8]>::to_vec) else { return };
    let Some(all) = faces(&mut engine, as_bitmap) else { return };
    for (name, face) in &fewer {
        let (one, other) = (&face.report, &all[name].report);
        assert_eq!((one.width, one.height), (other.width, other.height), "{name}");
        assert!(one.area.iou(&other.area) > 0.9, "{name}: {:?} {:?}", one.area, other.area);
        let cosine = face.embedding.cosine(&all[name].embedding).value();
        assert!(cosine > 0.96, "{name}: {cosine}");
        let [ours, theirs] = [one, other].map(|report| report.quality.measures);
        let [ours, theirs] = [ours, theirs].map(|measures| measures.sharpness.unwrap());
        assert!((0.7..1.4).contains(&(ours / theirs)), "{name}: {ours} {theirs}");
        assert_eq!(one.quality.verdict, other.quality.verdict, "{name}");
    }
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

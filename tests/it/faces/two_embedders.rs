//! A pack whose cosine is the sum of those of two embedders.

use visavis_face::{
    AnalysedFace, Picture, PictureKind,
    manifest::{Manifest, ResolvedPack},
};

use crate::support::models::{config, default_pack, engine_of, packs, root, sample};

const SAMPLES: [&str; 4] = ["obama-2009", "obama-2012", "collins", "hopper"];

/// The pack `omz-duo`; `None` where one of the two packs that it borrows from is not installed.
pub(super) fn duo() -> Option<ResolvedPack> {
    default_pack()?;
    // Says so if it is the other one.
    let both = packs().len() == 2;
    both.then(|| Manifest::load(&root().join("models")).unwrap().resolve("omz-duo").unwrap())
}

fn faces(pack: &ResolvedPack) -> Vec<AnalysedFace> {
    let mut engine = engine_of(pack, config().image);
    let analyse = |name| {
        let bytes = sample(name);
        let picture = Picture { bytes: &bytes, hint: None, kind: PictureKind::Selfie };
        engine.analyse(&picture).unwrap().expect("a face")
    };
    SAMPLES.map(analyse).into()
}

#[test]
fn the_cosine_of_two_embedders_is_the_weighted_sum_of_theirs() {
    let Some(duo) = duo() else { return };
    assert!(duo.missing_file().is_none());
    let [first, other]: [ResolvedPack; 2] = packs().try_into().unwrap();
    // The other embedder, on the faces of the first pack.
    let mut second = first.clone();
    second.embedder = other.embedder;
    let [both, first, second] = [&duo, &first, &second].map(faces);
    for one in 0..SAMPLES.len() {
        for other in 0..one {
            let cosine = |faces: &[AnalysedFace]| {
                faces[one].embedding.cosine(&faces[other].embedding).value()
            };
            let sum = 0.7 * cosine(&first) + 0.3 * cosine(&second);
            let pair = (SAMPLES[one], SAMPLES[other]);
            assert!((cosine(&both) - sum).abs() < 1e-4, "{pair:?}: {} {sum}", cosine(&both));
        }
    }
    let factor = |faces: &[AnalysedFace]| faces[0].embedding.correction().factor();
    let product = factor(&first).powf(0.7) * factor(&second).powf(0.3);
    assert!((factor(&both) - product).abs() < 1e-4);
    // Everything but the embedding is that of the first pack.
    assert_eq!(both[0].report.landmarks, first[0].report.landmarks);
}

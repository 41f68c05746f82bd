//! The face pipeline on real nets and real photos: stage by stage against an independent reference,
//! then as a whole.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "numbers of a reference file; what was counted is shown"
)]

mod batching;
mod closer;
mod convert;
mod damaged;
mod decoding;
mod degrade;
mod degraded;
mod golden;
mod odd;
mod operator_pack;
mod pairs;
mod robust;
mod stages;
mod tilted;
mod turned;
mod two_embedders;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use visavis_face::{AnalysedFace, Picture, PictureKind, Pipeline};

use crate::support::models::{config, engine_of, packs};

/// Checks it with each installed pack.
fn with_each_engine(check: impl Fn(&mut Pipeline)) {
    for pack in packs() {
        // Shown with a check that fails.
        eprintln!("pack {}", pack.name);
        check(&mut engine_of(&pack, config().image));
    }
}

/// A photo, as a file without loss as long as that stays within its limit; `None` if it shows no
/// face.
fn analysed(engine: &mut Pipeline, picture: &RgbImage) -> Option<AnalysedFace> {
    let mut bytes = Vec::new();
    let format = if picture.len() < 3_000_000 { ImageFormat::Bmp } else { ImageFormat::Jpeg };
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    let picture = Picture { bytes: &bytes, hint: None, kind: PictureKind::Selfie };
    engine.analyse(&picture).unwrap().ok()
}

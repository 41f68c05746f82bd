//! Every odd file gets a documented response and none a panic.

use std::{collections::BTreeMap, fs, path::PathBuf};

use visavis_face::{DecodeLimits, Picture, PictureKind, Pipeline, Refusal};

use super::with_each_engine;
use crate::support::models::{engine, shared};

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn every_odd_file_is_analysed_or_refused_and_what_is_refused_is_described() {
    let Some(folder) = shared("faces/odd") else { return };
    with_each_engine(|engine| analyse_all(engine, files(folder.clone())));
}

fn analyse_all(engine: &mut Pipeline, files: Vec<PathBuf>) {
    let mut counted: BTreeMap<(String, String), usize> = BTreeMap::new();
    assert!(files.len() > 500);
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let picture = Picture { bytes: &bytes, hint: None, kind: PictureKind::Selfie };
        let answer = match engine.analyse(&picture).unwrap() {
            Ok(face) => format!("{:?}", face.report.quality.verdict),
            Err(refusal) => {
                let words = refusal.describe("face1.content", &DecodeLimits::default());
                assert!(words.contains("face1.content"), "{words}");
                format!("{refusal:?}").split([' ', '{']).next().unwrap().to_owned()
            }
        };
        let group = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        if group == "other-formats" {
            assert_eq!(answer, "UnknownFormat", "{}", path.display());
        }
        *counted.entry((group, answer)).or_default() += 1;
    }
    for ((group, answer), n) in &counted {
        eprintln!("{group:<18} {answer:<16} {n}");
    }
    let get = |group: &str, answer: &str| {
        counted.get(&(group.to_owned(), answer.to_owned())).copied().unwrap_or(0)
    };
    assert!(get("masks", "Pass") + get("masks", "Fail") >= 28, "most masked faces are found");
    assert!(get("no-face", "NoFace") >= 36, "hardly an animal shows a face");
    assert!(get("no-face", "Pass") <= 2, "and hardly one passes for a person");
}

#[test]
fn a_picture_that_promises_a_billion_pixels_is_refused_without_decoding_it() {
    let mut engine = engine();
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend([0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30, 8, 2, 0, 0, 0]);
    // CRC-32 of the header chunk (30,000 × 30,000, 8-bit RGB), and an empty data chunk.
    png.extend(crc(&png[12..]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xAF\x06\x1E");
    let picture = Picture { bytes: &png, hint: None, kind: PictureKind::Selfie };
    let refused = engine.analyse(&picture).unwrap().unwrap_err();
    assert_eq!(refused, Refusal::Dimensions { width: 30_000, height: 30_000 });
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 }
        })
    })
}

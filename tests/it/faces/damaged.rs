//! Photos that arrived in part are refused, and those with flaws that no viewer minds are not.

use std::io::Cursor;

use image::RgbImage;
use visavis_face::{
    AnalysedFace, DecodeLimits, Flaw, Format, Picture, PictureKind, Pipeline, Refusal,
    decode::{decode, decode_reduced},
    geometry::BoundingBox,
    jpeg,
};

use super::with_each_engine;
use crate::{
    crash::server::{App, Data, Server},
    support::models::{sample, shared},
};

const SAMPLES: [&str; 4] = ["collins", "hopper", "obama-2009", "obama-2012"];
const INCOMPLETE: Refusal = Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::Jpeg) };

/// At full size and as a search begins: with as few pixels as do.
fn decoded(file: &[u8]) -> [Result<RgbImage, Refusal>; 2] {
    let limits = DecodeLimits::default();
    [decode(file, &limits), decode_reduced(file, &limits, 100).map(|reduced| reduced.image)]
}

/// Where the last scan's codes begin: behind its header.
fn codes(file: &[u8]) -> usize {
    file.windows(2).rposition(|two| two == [0xFF, 0xDA]).unwrap() + 14
}

#[test]
fn a_photo_that_was_cut_short_is_incomplete_and_one_with_bytes_behind_it_is_whole() {
    for name in SAMPLES {
        let file = sample(name);
        let whole = decoded(&file);
        assert!(whole.iter().all(Result::is_ok));
        let end = file.len() - 2;
        assert_eq!(file[end..], [0xFF, 0xD9], "{name}");
        for cut in (1..64).map(|part| end * part / 64).chain(end - 8..end) {
            for result in decoded(&file[..cut]) {
                assert_eq!(result.map(|_| "a picture"), Err(INCOMPLETE), "{name} {cut} of {end}");
            }
        }
        let flaws: [(&str, Vec<u8>); 5] = [
            ("no end marker", file[..end].to_vec()),
            ("half an end marker", file[..=end].to_vec()),
            ("bytes behind the end", [&file[..], b"SAMSUNG trailer"].concat()),
            ("a photo behind the photo", file.repeat(2)),
            ("filling before a marker", [&file[..2], &[0xFF; 9], &file[2..]].concat()),
        ];
        for (flaw, file) in flaws {
            assert!(decoded(&file) == whole, "{name} with {flaw}");
        }
    }
}

#[test]
fn a_photo_of_which_a_part_was_lost_is_damaged() {
    for name in SAMPLES {
        let file = sample(name);
        let codes = codes(&file);
        for part in 0..16 {
            let at = codes + (file.len() - codes - 700) * part / 16;
            for filling in [0, 0x55, 0xFF] {
                let mut lost = file.clone();
                lost[at..at + 600].fill(filling);
                for result in decoded(&lost) {
                    let result = result.map(|_| "a picture");
                    let is_refused = matches!(result, Err(Refusal::Undecodable { .. }));
                    assert!(is_refused, "{name} at {at} with {filling}: {result:?}");
                }
            }
        }
    }
}

#[test]
fn the_sender_of_an_incomplete_photo_is_told_so() {
    let data = Data::new();
    let app = App::register(&data);
    let server = Server::start(&data);
    let file = sample("obama-2009");
    let mut png = Cursor::new(Vec::new());
    decode(&file, &DecodeLimits::default())
        .unwrap()
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let png = png.into_inner();
    for (format, cut) in [("JPEG", &file[..file.len() * 3 / 10]), ("PNG", &png[..png.len() - 20])] {
        let response = app.compare(&server, cut, &file);
        assert_eq!(response["result"]["resultCode"], "UNABLE_GET_IMAGE", "{response}");
        let expected = format!(
            "FACE_IMAGE_VIDEO_TYPE_NOT_SUPPORTED: face1.content is incomplete (the {format} ends \
             early): upload it again"
        );
        assert_eq!(response["result"]["resultMessage"], expected);
    }
    assert_eq!(server.terminate(), Some(0));
}

fn analysed(
    engine: &mut Pipeline,
    bytes: &[u8],
    hint: Option<BoundingBox>,
) -> Result<AnalysedFace, Refusal> {
    engine.analyse(&Picture { bytes, hint, kind: PictureKind::Selfie }).unwrap()
}

#[test]
fn files_that_others_read_give_the_face_that_others_see() {
    let Some(folder) = shared("cases") else { return };
    let case = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let second = Some(BoundingBox::new(245.0, 110.0, 140.0, 180.0));
    let (portrait, obama) = (case("reference.png"), sample("obama-2009"));
    with_each_engine(|engine| {
        for (name, hint, expected, least) in [
            ("interleaved-420-good.jpg", None, &portrait, 0.985),
            ("noninterleaved-420.jpg", None, &portrait, 0.985),
            ("luma-coarser-than-chroma.jpg", None, &portrait, 0.985),
            ("bmp32-v5-alpha-all-0.bmp", None, &portrait, 0.985),
            ("two-faces-jpg-exif6-then-exif1.jpg", second, &obama, 0.7),
            ("two-faces-webp-exif6-with-prefix.webp", second, &obama, 0.7),
        ] {
            let expected = analysed(engine, expected, None).unwrap();
            let similarity = match analysed(engine, &case(name), hint) {
                Ok(face) => face.embedding.cosine(&expected.embedding).value(),
                // The other decoder knows fewer sampling factors, and says so.
                Err(Refusal::Undecodable { flaw: Flaw::JpegSampling })
                    if jpeg::DECODER != "libjpeg-turbo" =>
                {
                    continue;
                }
                Err(refusal) => panic!("{name}: {refusal:?}"),
            };
            assert!(similarity > least, "{name}: {similarity}");
        }
        let cut = analysed(engine, &case("cut-at-30-percent.jpg"), None);
        assert_eq!(cut.map(|_| "a face"), Err(INCOMPLETE));
    });
}

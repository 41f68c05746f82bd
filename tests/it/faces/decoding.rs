//! Every photo of a large collection of odd ones, compared with what Pillow makes of it
//! (`tests/reference/`).

use std::collections::BTreeMap;

use image::RgbImage;
use visavis_face::{DecodeLimits, Flaw, Refusal, decode::decode, jpeg};

use crate::support::models::{root, shared};

/// Columns and rows of a photo whose mean colours are compared.
const GRID: u32 = 4;

/// Pillow has libjpeg-turbo, and lays alpha over white with other roundings. Another decoder of
/// JPEG differs most where colours change from pixel to pixel.
fn apart() -> u8 {
    if jpeg::DECODER == "libjpeg-turbo" { 2 } else { 4 }
}

/// Pixels on which programs do not agree, in part because the file does not define them.
const OTHER_PIXELS: [&str; 2] = [
    // Alpha of one bit: Pillow drops it.
    "faces/odd/bmp/bmp-images-V5_A1_R5_G5_B5.bmp",
    // Pixels that no run of the file has.
    "faces/odd/bmp/bmp-images-pal4rletrns.bmp",
];

/// What Pillow reads and is refused here, beside the files made by a fuzzer.
const REFUSED: [&str; 8] = [
    // Headers with values that their format does not have.
    "faces/odd/bmp/images-lenient-badplanes.bmp",
    "faces/odd/bmp/images-lenient-badrle.bmp",
    "faces/odd/bmp/images-lenient-rletopdown.bmp",
    // Checksums of the pixels that do not fit them.
    "faces/odd/png-suite/tests-bugfixes-x_interlaced_chck.png",
    "faces/odd/png-suite/tests-pngsuite-xcsn0g01.png",
    // A longer side than is accepted.
    "faces/odd/jpeg/images-imagetestsuite-8e5e74dbf9b68a322fbb9512db837329.jpg",
    // Scans with codes that no encoder wrote.
    "faces/odd/jpeg/images-imagetestsuite-b55977028a3a574336966b6536640fc9.jpg",
    "faces/odd/jpeg/images-imagetestsuite-f6b4389c3cf0f5997b2e5a4b905aea8d.jpg",
];

/// The mean colour of each cell, rounded; cells have a pixel at least.
fn grid(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let range = |cell: u32, side: u32| {
        let from = side * cell / GRID;
        from..(side * (cell + 1) / GRID).max(from + 1)
    };
    let cells = (0..GRID).flat_map(|row| (0..GRID).map(move |column| (row, column)));
    let means = cells.flat_map(|(row, column)| {
        let (mut sums, mut pixels) = ([0.0; 3], 0.0);
        for y in range(row, height) {
            for x in range(column, width) {
                let pixel = picture.get_pixel(x, y).0;
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(value));
                pixels += 1.0;
            }
        }
        sums.map(|sum: f64| (sum / pixels + 0.5) as u8)
    });
    means.collect()
}

/// What Pillow makes of each file: width, height and mean colours, or nothing where it refuses it.
fn reference() -> BTreeMap<String, Option<(u32, u32, Vec<u8>)>> {
    let text = std::fs::read_to_string(root().join("tests/reference/pixels.csv")).unwrap();
    let parsed = text.lines().skip(1).map(|line| {
        let [file, width, height, grid]: [&str; 4] =
            line.split(',').collect::<Vec<_>>().try_into().unwrap();
        let bytes = grid
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
        let picture =
            width.parse().ok().map(|width| (width, height.parse().unwrap(), bytes.collect()));
        (file.to_owned(), picture)
    });
    parsed.collect()
}

#[test]
fn every_odd_picture_has_the_pixels_that_pillow_sees_or_is_refused() {
    let Some(folder) = shared("faces/odd").and(shared("cases")) else { return };
    let folder = folder.parent().unwrap().to_owned();
    let limits = DecodeLimits { min_side: 1, ..DecodeLimits::default() };
    let (mut wrong, mut same, mut refused) = (Vec::new(), 0, 0);
    for (name, expected) in reference() {
        let ours = decode(&std::fs::read(folder.join(&name)).unwrap(), &limits);
        let is_made_up = name.contains("/broken/") || name.contains("/fuzz-afl-in-id_");
        match (ours, expected) {
            // Nothing to compare with: Pillow does not know some kinds of BMP.
            (_, None) => {}
            (Ok(picture), Some((width, height, theirs))) => {
                let ours = grid(&picture);
                let is_close = ours.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= apart());
                if picture.dimensions() != (width, height) {
                    wrong.push(format!("{name}: {:?}", picture.dimensions()));
                } else if is_close == OTHER_PIXELS.contains(&&*name) {
                    wrong.push(format!("{name}:\n{ours:?}\n{theirs:?}"));
                } else {
                    same += 1;
                }
            }
            (Err(Refusal::Undecodable { flaw: Flaw::JpegSampling }), Some(_))
                if jpeg::DECODER != "libjpeg-turbo" => {}
            (Err(_), Some(_)) if is_made_up => refused += 1,
            (Err(_), Some(_)) if REFUSED.contains(&&*name) => {}
            (Err(refusal), Some(_)) => wrong.push(format!("{name}: {refusal:?}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(same > 270 && refused < 25, "{same} have Pillow's pixels, {refused} are refused");
}

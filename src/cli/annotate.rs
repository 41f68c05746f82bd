//! The image of `compare --annotate`: both faces side by side with box, landmarks and verdict.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixel arithmetic: every value is checked against the size of the image"
)]

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use image::{Rgb, RgbImage, imageops};
use visavis_face::{
    DecodeLimits, FaceReport, decode::decode, geometry::Point, quality::QualityVerdict,
};

use super::bitmap_font;
use crate::compare::{Score, Verdict};

/// Height of each picture in the sheet, pixels.
const PICTURE_HEIGHT: u32 = 480;
/// Height of the strip with the verdict, pixels.
const STRIP: u32 = 64;
/// Space around pictures, pixels.
const GAP: u32 = 12;

const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
const INK: Rgb<u8> = Rgb([32, 36, 40]);
const GOOD: Rgb<u8> = Rgb([22, 128, 84]);
const BAD: Rgb<u8> = Rgb([190, 40, 45]);
const MARK: Rgb<u8> = Rgb([255, 210, 60]);

/// Writes the sheet as PNG.
pub(super) fn write(
    path: &Path,
    probe: &[u8],
    reference: &[u8],
    verdict: &Verdict,
    limits: &DecodeLimits,
) -> Result<()> {
    let open = |bytes| decode(bytes, limits).map_err(|r| anyhow!(r.describe("the photo", limits)));
    let left = panel(&open(probe)?, &verdict.probe);
    let right = panel(&open(reference)?, &verdict.reference);
    let width = left.width() + right.width() + 3 * GAP;
    let mut sheet = RgbImage::from_pixel(width, PICTURE_HEIGHT + STRIP + 2 * GAP, PAPER);
    imageops::replace(&mut sheet, &left, i64::from(GAP), i64::from(GAP));
    imageops::replace(&mut sheet, &right, i64::from(left.width() + 2 * GAP), i64::from(GAP));
    let colour = if verdict.same_person() {
        GOOD
    } else if verdict.unreliable().is_some() {
        INK
    } else {
        BAD
    };
    let below = PICTURE_HEIGHT + 2 * GAP;
    // The font has capital letters only.
    let headline = headline(verdict).to_uppercase();
    let size = if bitmap_font::width(&headline, 3) + 2 * GAP > width { 2 } else { 3 };
    bitmap_font::draw(&mut sheet, GAP, below, size, colour, &headline);
    let numbers = format!(
        "SCORE {}  THRESHOLD {}  SIMILARITY {:.3}",
        verdict.score.value(),
        Score::least_match(verdict.threshold).value(),
        verdict.similarity.value()
    );
    bitmap_font::draw(&mut sheet, GAP, below + 30, 2, INK, &numbers);
    sheet.save(path).with_context(|| format!("cannot write {}", path.display()))
}

/// One photo at the height of the sheet, with box, landmarks and verdict.
fn panel(picture: &RgbImage, face: &FaceReport) -> RgbImage {
    let scale = PICTURE_HEIGHT as f32 / picture.height() as f32;
    let width = ((picture.width() as f32 * scale).round() as u32).max(1);
    let mut panel =
        imageops::resize(picture, width, PICTURE_HEIGHT, imageops::FilterType::Triangle);
    let passes = face.quality.verdict == QualityVerdict::Pass;
    let colour = if passes { GOOD } else { BAD };
    let area = face.area.scaled(scale, scale);
    frame(&mut panel, (area.x, area.y), (area.x + area.width, area.y + area.height), colour);
    for point in face.landmarks.scaled(scale, scale).0 {
        dot(&mut panel, point);
    }
    let text = if passes { "QUALITY PASS" } else { "QUALITY FAIL" };
    let shade = RgbImage::from_pixel(bitmap_font::width(text, 2) + 8, 22, PAPER);
    imageops::replace(&mut panel, &shade, 0, 0);
    bitmap_font::draw(&mut panel, 4, 4, 2, colour, text);
    panel
}

/// A rectangle three pixels thick.
fn frame(picture: &mut RgbImage, from: (f32, f32), to: (f32, f32), colour: Rgb<u8>) {
    for inset in 0..3 {
        let inset = inset as f32;
        let (x0, y0, x1, y1) = (from.0 + inset, from.1 + inset, to.0 - inset, to.1 - inset);
        for x in steps(x0, x1) {
            put(picture, x, y0, colour);
            put(picture, x, y1, colour);
        }
        for y in steps(y0, y1) {
            put(picture, x0, y, colour);
            put(picture, x1, y, colour);
        }
    }
}

fn steps(from: f32, to: f32) -> impl Iterator<Item = f32> {
    (0..=((to - from).max(0.0) as u32)).map(move |i| from + i as f32)
}

fn dot(picture: &mut RgbImage, at: Point) {
    for dy in -3_i8..=3 {
        for dx in -3_i8..=3 {
            if dx * dx + dy * dy <= 10 {
                put(picture, at.x + f32::from(dx), at.y + f32::from(dy), MARK);
            }
        }
    }
}

fn put(picture: &mut RgbImage, x: f32, y: f32, colour: Rgb<u8>) {
    if x >= 0.0 && y >= 0.0 && x < picture.width() as f32 && y < picture.height() as f32 {
        picture.put_pixel(x as u32, y as u32, colour);
    }
}

/// The verdict as a headline.
pub(super) fn headline(verdict: &Verdict) -> String {
    match verdict.unreliable() {
        Some(why) => format!("NO RELIABLE RESULT: {why}"),
        None if verdict.same_person() => "SAME PERSON".to_owned(),
        None => "NOT THE SAME PERSON".to_owned(),
    }
}

//! Faces that fill or leave the frame, lie on their side, are small, dark or covered: each made
//! from photos on which the face is known, so that what is lost by it can be counted.
//!
//! `ROBUST_PHOTOS` photos are taken (24 in `make test`; `make accuracy` takes more and prints the
//! table of `docs/lab/accuracy.md`).

use std::{fs, path::PathBuf, sync::OnceLock};

use image::{Rgb, RgbImage, imageops};
use visavis_face::{DecodeLimits, decode::decode, geometry::BoundingBox, quality::QualityVerdict};

use super::{analysed, tilted::rotated};
use crate::support::models::{engine, root, shared};

/// What became of one way to spoil a photo.
struct Row {
    name: &'static str,
    photos: usize,
    missed: usize,
    /// By quality, although the original passes.
    failed: usize,
    similarities: Vec<f32>,
}

impl Row {
    /// Of the similarities; −1 if no face was found.
    fn quantile(&self, share: f64) -> f32 {
        if self.similarities.is_empty() {
            return -1.0;
        }
        self.similarities[(share * (self.similarities.len() - 1) as f64) as usize]
    }

    /// At most half a per cent of the photos: of few photos none.
    fn hardly_misses(&self) -> bool {
        self.missed as f64 <= 0.005 * self.photos as f64
    }
}

/// Folders of all people, by name.
pub(super) fn people() -> Vec<PathBuf> {
    let Some(folder) = shared("faces/calibration") else { return Vec::new() };
    let mut people: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    people.sort();
    people
}

/// One photo each of people all over the alphabet.
pub(super) fn photos(people: &[PathBuf], count: usize) -> Vec<PathBuf> {
    let step = (people.len() / count).max(1);
    let first = |person: &PathBuf| {
        let mut photos: Vec<_> = fs::read_dir(person).unwrap().map(|e| e.unwrap().path()).collect();
        photos.sort();
        photos.into_iter().next()
    };
    people.iter().step_by(step).take(count).filter_map(first).collect()
}

/// The part of a photo between shares of a box, as far as the photo goes; 0 and 1 are the box's
/// edges.
fn part(picture: &RgbImage, area: &BoundingBox, x: (f32, f32), y: (f32, f32)) -> RgbImage {
    let within = |at: f32, end: u32| at.round().clamp(0.0, end as f32) as u32;
    let left = within(area.x + x.0 * area.width, picture.width());
    let right = within(area.x + x.1 * area.width, picture.width());
    let top = within(area.y + y.0 * area.height, picture.height());
    let bottom = within(area.y + y.1 * area.height, picture.height());
    let cut = imageops::crop_imm(picture, left, top, (right - left).max(1), (bottom - top).max(1));
    cut.to_image()
}

/// A close-up whose frame is 1 / `share` faces wide and high.
fn close_up(picture: &RgbImage, area: &BoundingBox, share: f32) -> RgbImage {
    let beyond = (1.0 / share - 1.0) / 2.0;
    part(picture, area, (-beyond, 1.0 + beyond), (-beyond, 1.0 + beyond))
}

/// A photo with paint between shares of the width and height of the face; 0 and 1 are its edges.
pub(super) fn covered(
    picture: &RgbImage,
    area: &BoundingBox,
    x: (f32, f32),
    y: (f32, f32),
    colour: impl Fn(u32, u32) -> [u8; 3],
) -> RgbImage {
    let mut covered = picture.clone();
    let (left, right) = (area.x + x.0 * area.width, area.x + x.1 * area.width);
    let (top, bottom) = (area.y + y.0 * area.height, area.y + y.1 * area.height);
    for (column, row, pixel) in covered.enumerate_pixels_mut() {
        let (x, y) = (column as f32, row as f32);
        if x >= left && x <= right && y >= top && y <= bottom {
            *pixel = Rgb(colour(column, row));
        }
    }
    covered
}

/// The whole width of a face.
pub(super) const ACROSS: (f32, f32) = (0.0, 1.0);

fn scaled(picture: &RgbImage, factor: f32) -> RgbImage {
    let side = |pixels: u32| ((pixels as f32 * factor).round() as u32).max(1);
    let (width, height) = (side(picture.width()), side(picture.height()));
    imageops::resize(picture, width, height, imageops::FilterType::Triangle)
}

/// A wall of 12 megapixels, with the photo on it so that its face is `height` pixels high.
fn on_a_wall(picture: &RgbImage, area: &BoundingBox, height: f32, n: usize) -> RgbImage {
    static WALL: OnceLock<RgbImage> = OnceLock::new();
    let bare = || {
        RgbImage::from_fn(4000, 3000, |x, y| {
            let grain = ((x / 5 * 7 + y / 5 * 13) % 17) as u8;
            Rgb([170 + grain, 165 + grain, 150 + grain])
        })
    };
    let mut wall = WALL.get_or_init(bare).clone();
    let small = scaled(picture, height / area.height);
    let n = i64::try_from(n).unwrap();
    let (x, y) = ((n * 977) % 3500, (n * 613) % 2500);
    imageops::replace(&mut wall, &small, x, y);
    wall
}

type Spoil = fn(&RgbImage, &BoundingBox, usize) -> RgbImage;

const CLOSE: [(&str, Spoil); 8] = [
    ("face 40 % of the frame", |p, a, _| close_up(p, a, 0.4)),
    ("60 %", |p, a, _| close_up(p, a, 0.6)),
    ("80 %", |p, a, _| close_up(p, a, 0.8)),
    ("100 %", |p, a, _| close_up(p, a, 1.0)),
    ("upper fifth cut", |p, a, _| part(p, a, (0.0, 1.0), (0.2, 1.0))),
    ("lower fifth cut", |p, a, _| part(p, a, (0.0, 1.0), (0.0, 0.8))),
    ("left fifth cut", |p, a, _| part(p, a, (0.2, 1.0), (0.0, 1.0))),
    ("right fifth cut", |p, a, _| part(p, a, (0.0, 0.8), (0.0, 1.0))),
];

const TURNED: [(&str, Spoil); 3] = [
    ("turned by 90°", |p, _, _| imageops::rotate90(p)),
    ("turned by 180°", |p, _, _| imageops::rotate180(p)),
    ("turned by 270°", |p, _, _| imageops::rotate270(p)),
];

const TILTED: [(&str, Spoil); 6] = [
    ("tilted by −60°", |p, _, _| rotated(p, -60.0)),
    ("−45°", |p, _, _| rotated(p, -45.0)),
    ("−30°", |p, _, _| rotated(p, -30.0)),
    ("30°", |p, _, _| rotated(p, 30.0)),
    ("45°", |p, _, _| rotated(p, 45.0)),
    ("60°", |p, _, _| rotated(p, 60.0)),
];

const LARGE: [(&str, Spoil); 3] = [
    ("enlarged to 12 megapixels", |p, _, _| scaled(p, 3500.0 / p.width() as f32)),
    ("face of 100 pixels on 12 megapixels", |p, a, n| on_a_wall(p, a, 100.0, n)),
    ("face of 50 pixels on 12 megapixels", |p, a, n| on_a_wall(p, a, 50.0, n)),
];

const HARD: [(&str, Spoil); 3] = [
    ("a seventh of the light", |p, _, _| {
        let mut dark = p.clone();
        dark.iter_mut().for_each(|value| *value = (f32::from(*value) * 0.15) as u8);
        dark
    }),
    ("mouth and nose covered", |p, a, _| {
        covered(p, a, ACROSS, (0.55, 1.0), |_, _| [200, 210, 225])
    }),
    ("eyes covered", |p, a, _| covered(p, a, ACROSS, (0.28, 0.45), |_, _| [20, 20, 20])),
];

/// Takes one photo of `every`, where each takes long.
fn measure(spoils: &[(&'static str, Spoil)], every: usize) -> Vec<Row> {
    let count = std::env::var("ROBUST_PHOTOS").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let mut engine = engine();
    let mut rows: Vec<Row> = spoils
        .iter()
        .map(|(name, _)| Row { name, photos: 0, missed: 0, failed: 0, similarities: Vec::new() })
        .collect();
    for (n, path) in photos(&people(), (count / every).max(1)).iter().enumerate() {
        let photo = decode(&fs::read(path).unwrap(), &DecodeLimits::default()).unwrap();
        let original = analysed(&mut engine, &photo)
            .unwrap_or_else(|| panic!("{}: a frontal photo without a face", path.display()));
        for ((_, spoil), row) in spoils.iter().zip(&mut rows) {
            row.photos += 1;
            match analysed(&mut engine, &spoil(&photo, &original.report.area, n)) {
                Some(face) => {
                    let [before, after] =
                        [&original, &face].map(|face| face.report.quality.verdict);
                    let fails = after == QualityVerdict::Fail && before != QualityVerdict::Fail;
                    row.failed += usize::from(fails);
                    let similarity = original.embedding.similarity(&face.embedding);
                    row.similarities.push(similarity.value());
                }
                None => row.missed += 1,
            }
        }
    }
    for row in &mut rows {
        row.similarities.sort_by(f32::total_cmp);
        eprintln!(
            "| {} | {} | {} | {} | {:.2} | {:.2} |",
            row.name,
            row.photos,
            row.missed,
            row.failed,
            row.quantile(0.5),
            row.quantile(0.05)
        );
    }
    rows
}

/// Hardly any face is missed, and the median similarity of each row is above `least`.
fn assert_found_and_similar(rows: &[Row], least: f32) {
    for row in rows {
        assert!(row.hardly_misses(), "{}: {} of {} missed", row.name, row.missed, row.photos);
        assert!(row.quantile(0.5) > least, "{}: {}", row.name, row.quantile(0.5));
    }
}

#[test]
fn a_close_up_loses_no_face_and_shows_the_same_person() {
    if shared("faces/calibration").is_none() {
        return;
    }
    let rows = measure(&CLOSE, 1);
    // Without its forehead a face has lost more than with any other fifth.
    assert_found_and_similar(&rows, 0.87);
    let mut all: Vec<f32> = rows.into_iter().flat_map(|row| row.similarities).collect();
    all.sort_by(f32::total_cmp);
    assert!(all[all.len() / 2] > 0.9);
}

#[test]
fn a_photo_on_its_side_or_head_loses_no_face() {
    if shared("faces/calibration").is_none() {
        return;
    }
    assert_found_and_similar(&measure(&TURNED, 1), 0.97);
}

#[test]
fn a_tilted_head_is_found_and_hardly_ever_fails_by_quality() {
    if shared("faces/calibration").is_none() {
        return;
    }
    let rows = measure(&TILTED, 1);
    assert_found_and_similar(&rows, 0.95);
    let (failed, photos) =
        rows.iter().fold((0, 0), |sum, row| (sum.0 + row.failed, sum.1 + row.photos));
    assert!(failed * 100 <= photos, "{failed} of {photos}");
}

#[test]
fn faces_on_twelve_megapixels_are_found_large_and_small() {
    if shared("faces/calibration").is_none() {
        return;
    }
    for row in measure(&LARGE, 6) {
        assert!(
            row.missed * 6 <= row.photos,
            "{}: {} of {} missed",
            row.name,
            row.missed,
            row.photos
        );
        assert!(row.quantile(0.5) > 0.75, "{}: {}", row.name, row.quantile(0.5));
    }
}

#[test]
fn dark_and_covered_faces_are_found() {
    if shared("faces/calibration").is_none() {
        return;
    }
    for row in measure(&HARD, 1) {
        assert!(
            row.missed * 10 <= row.photos,
            "{}: {} of {} missed",
            row.name,
            row.missed,
            row.photos
        );
        let least = if row.name.contains("covered") { 0.4 } else { 0.75 };
        assert!(row.quantile(0.5) > least, "{}: {}", row.name, row.quantile(0.5));
    }
}

/// The muzzle is found first, because it is larger; it is no face, and not counted as one either.
#[test]
fn beside_an_animal_the_person_is_compared() {
    let Some(folder) = shared("faces/odd/no-face") else { return };
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let terrier = files.find(|p| p.to_string_lossy().contains("wire-haired_fox_terrier")).unwrap();
    let open = |path: PathBuf| decode(&fs::read(path).unwrap(), &DecodeLimits::default()).unwrap();
    let animal = open(terrier);
    let person = open(root().join("samples/hopper.jpg"));
    let mut engine = engine();
    let alone = analysed(&mut engine, &person).unwrap();
    let small = scaled(&person, 110.0 / alone.report.area.height);
    let mut both = RgbImage::new(animal.width() + small.width(), animal.height());
    imageops::replace(&mut both, &animal, 0, 0);
    imageops::replace(&mut both, &small, i64::from(animal.width()), 0);
    let found = analysed(&mut engine, &both).unwrap();
    assert!(found.report.area.x > animal.width() as f32 / 2.0, "{:?}", found.report.area);
    assert_eq!(found.report.faces, 1);
    assert!(found.embedding.cosine(&alone.embedding).value() > 0.8);
}

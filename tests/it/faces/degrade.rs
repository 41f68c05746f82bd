//! Ways to degrade a photo, in the coordinates of the box of its face: 0 and 1 are its edges.

use std::io::Cursor;

use image::{
    Rgb, RgbImage,
    codecs::jpeg::JpegEncoder,
    imageops::{self, FilterType, filter3x3},
};
use visavis_face::{DecodeLimits, decode::decode, geometry::BoundingBox};

use crate::noise::Dice;

/// Maps each channel value of each pixel, given the position of the pixel on the face.
fn each(picture: &RgbImage, face: &BoundingBox, value: impl Fn(f32, f32, f32) -> f32) -> RgbImage {
    let mut degraded = picture.clone();
    for (column, row, pixel) in degraded.enumerate_pixels_mut() {
        let (x, y) = ((column as f32 - face.x) / face.width, (row as f32 - face.y) / face.height);
        pixel.0 = pixel.0.map(|old| value(f32::from(old), x, y).round().clamp(0.0, 255.0) as u8);
    }
    degraded
}

/// Adds the sum of four uniform numbers, nearly a normal one, with this deviation.
pub(super) fn noisy(picture: &RgbImage, deviation: f32, seed: usize) -> RgbImage {
    const STEPS: usize = 1 << 24;
    let mut dice = Dice::new(seed as u64);
    let mut uniform = || dice.below(STEPS) as f32 / STEPS as f32 - 0.5;
    let mut noisy = picture.clone();
    for value in noisy.iter_mut() {
        let sum: f32 = (0..4).map(|_| uniform()).sum();
        *value = (f32::from(*value) + sum * 3.0_f32.sqrt() * deviation).clamp(0.0, 255.0) as u8;
    }
    noisy
}

/// Grain of the same kind, three pixels wide, in each channel of its own or the same in all.
pub(super) fn grainy(picture: &RgbImage, deviation: f32, is_grey: bool, seed: usize) -> RgbImage {
    let grey = RgbImage::from_pixel(picture.width(), picture.height(), Rgb([128; 3]));
    // A box over 3 × 3 pixels leaves a third of the deviation.
    let grain = filter3x3(&noisy(&grey, 3.0 * deviation, seed), &[1.0 / 9.0; 9]);
    let mut grainy = picture.clone();
    for (pixel, grain) in grainy.pixels_mut().zip(grain.pixels()) {
        for channel in 0..3 {
            let added = grain[if is_grey { 1 } else { channel }];
            let value = i16::from(pixel[channel]) + i16::from(added) - 128;
            pixel[channel] = value.clamp(0, 255) as u8;
        }
    }
    grainy
}

/// Moved while it was taken, by this share of the face's width and height.
pub(super) fn moved(picture: &RgbImage, face: &BoundingBox, x: f32, y: f32) -> RgbImage {
    const STEPS: u32 = 24;
    let (width, height) = picture.dimensions();
    let (right, down) = (x * face.width, y * face.height);
    RgbImage::from_fn(width, height, |column, row| {
        let mut sums = [0; 3];
        for step in 0..STEPS {
            let share = (step as f32 + 0.5) / STEPS as f32 - 0.5;
            let column = (column as f32 + share * right).round().clamp(0.0, width as f32 - 1.0);
            let row = (row as f32 + share * down).round().clamp(0.0, height as f32 - 1.0);
            let pixel = picture.get_pixel(column as u32, row as u32);
            for channel in 0..3 {
                sums[channel] += u32::from(pixel[channel]);
            }
        }
        Rgb(sums.map(|sum| (sum / STEPS) as u8))
    })
}

/// Made of squares with this share of the face's width as side.
pub(super) fn squares(picture: &RgbImage, face: &BoundingBox, side: f32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let count = |pixels: u32| ((pixels as f32 / (side * face.width)).round() as u32).max(1);
    let small = imageops::resize(picture, count(width), count(height), FilterType::Triangle);
    imageops::resize(&small, width, height, FilterType::Nearest)
}

/// Written with this quality.
pub(super) fn compressed(picture: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(Cursor::new(&mut bytes), quality).encode_image(picture).unwrap();
    decode(&bytes, &DecodeLimits::default()).unwrap()
}

/// An ellipse of white light over the middle of the face.
pub(super) fn glare(picture: &RgbImage, face: &BoundingBox) -> RgbImage {
    each(picture, face, |old, x, y| {
        let inside = (x - 0.5).hypot(y - 0.5) <= 0.4;
        if inside { 0.4 * old + 0.6 * 255.0 } else { old }
    })
}

/// Lit from a side: a tenth of the light on the other one.
pub(super) fn lit_from(picture: &RgbImage, face: &BoundingBox, right: f32, down: f32) -> RgbImage {
    each(picture, face, |old, x, y| {
        let share = ((x - 0.5) * right + (y - 0.5) * down + 0.5).clamp(0.0, 1.0);
        old * (0.1 + 1.1 * share)
    })
}

/// The left half in a shadow.
pub(super) fn half_in_shadow(picture: &RgbImage, face: &BoundingBox) -> RgbImage {
    each(picture, face, |old, x, _| {
        let lit = ((x - 0.5) / 0.1 + 0.5).clamp(0.0, 1.0);
        old * (0.15 + 0.85 * lit)
    })
}

/// Each channel in four levels.
pub(super) fn in_four_levels(picture: &RgbImage, face: &BoundingBox) -> RgbImage {
    each(picture, face, |old, _, _| (old / 64.0).floor() * 85.0)
}

/// Dark for bright.
pub(super) fn inverted(picture: &RgbImage, face: &BoundingBox) -> RgbImage {
    each(picture, face, |old, _, _| 255.0 - old)
}

/// Diagonal lines, half transparent, on a quarter of the pixels.
pub(super) fn lined(picture: &RgbImage, face: &BoundingBox) -> RgbImage {
    each(picture, face, |old, x, y| {
        let phase = ((x + y) * 8.0).rem_euclid(1.0);
        if phase < 0.25 { old.midpoint(230.0) } else { old }
    })
}

/// A bar of white light over the eyes.
pub(super) fn lit_over_the_eyes(picture: &RgbImage, face: &BoundingBox) -> RgbImage {
    each(
        picture,
        face,
        |old, _, y| {
            if (0.25..0.5).contains(&y) { 0.4 * old + 0.6 * 255.0 } else { old }
        },
    )
}

/// Wider by this factor.
pub(super) fn stretched(picture: &RgbImage, factor: f32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let width = (width as f32 * factor).round() as u32;
    imageops::resize(picture, width, height, FilterType::Triangle)
}

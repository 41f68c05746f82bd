//! Alignment: the similarity transform that brings five landmarks onto a template, and the warp.
//!
//! The fit is made in the template's own frame and then stretched to the net's input; fitting in
//! the stretched frame would bend a similarity into something the net was not trained on.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixel arithmetic: every value is checked or clamped to its range"
)]

use std::borrow::Cow;

use image::RgbImage;

use super::{
    geometry::{BoundingBox, Landmarks, Point},
    manifest::EmbedderNet,
    patch::{Affine, Patch},
};

/// Rotation, uniform scale and translation: (x, y) → (a·x − b·y + c, b·x + a·y + d).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlignmentTransform {
    a: f64,
    b: f64,
    c: f64,
    d: f64,
}

impl AlignmentTransform {
    /// The least-squares fit of `from` onto `to`; never a reflection. `None` when all landmarks
    /// fall on one point.
    pub fn fit(from: &Landmarks, to: &[[f32; 2]; 5]) -> Option<Self> {
        let mean = |points: &[(f64, f64)]| {
            let n = points.len() as f64;
            let sum = points.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
            (sum.0 / n, sum.1 / n)
        };
        let from = from.0.map(|p| (f64::from(p.x), f64::from(p.y)));
        let to = to.map(|[x, y]| (f64::from(x), f64::from(y)));
        let (from_mean, to_mean) = (mean(&from), mean(&to));
        let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(&to) {
            let (px, py) = (p.0 - from_mean.0, p.1 - from_mean.1);
            let (qx, qy) = (q.0 - to_mean.0, q.1 - to_mean.1);
            dot += px * qx + py * qy;
            cross += px * qy - py * qx;
            spread += px * px + py * py;
        }
        if spread <= f64::EPSILON || dot.hypot(cross) <= f64::EPSILON {
            return None;
        }
        let (a, b) = (dot / spread, cross / spread);
        let c = to_mean.0 - a * from_mean.0 + b * from_mean.1;
        let d = to_mean.1 - b * from_mean.0 - a * from_mean.1;
        Some(Self { a, b, c, d })
    }

    /// Rotates around `from` by `degrees`, counter-clockwise, so that `scale` pixels become one and
    /// `from` becomes `to`.
    pub(crate) fn rotation(from: Point, to: Point, degrees: f32, scale: f32) -> Self {
        let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
        let (a, b) = (cos / f64::from(scale), -sin / f64::from(scale));
        let [(x, y), (to_x, to_y)] = [from, to].map(|p| (f64::from(p.x), f64::from(p.y)));
        Self { a, b, c: to_x - a * x + b * y, d: to_y - b * x - a * y }
    }

    /// Template pixels per picture pixel.
    pub(crate) fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    /// Where a point of the picture lands in the template frame.
    pub fn apply(&self, point: Point) -> Point {
        let (x, y) = (f64::from(point.x), f64::from(point.y));
        Point::new(
            (self.a * x - self.b * y + self.c) as f32,
            (self.b * x + self.a * y + self.d) as f32,
        )
    }

    /// Where a point of the template frame lies in the picture.
    pub(crate) fn apply_inverse(&self, point: Point) -> Point {
        let (x, y) = (f64::from(point.x), f64::from(point.y));
        let [first, second] = self.inverse((1.0, 1.0));
        let along = |row: [f64; 3]| (row[0] * x + row[1] * y + row[2]) as f32;
        Point::new(along(first), along(second))
    }

    /// The matrix from the stretched frame back to the picture; `stretch` is frame pixels per
    /// template pixel on each axis.
    fn inverse(&self, stretch: (f64, f64)) -> [[f64; 3]; 2] {
        let n = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / n, self.b / n);
        let (c, d) = (self.c, self.d);
        [
            [a / stretch.0, b / stretch.1, -(a * c + b * d)],
            [-b / stretch.0, a / stretch.1, b * c - a * d],
        ]
    }
}

/// A face brought to the embedder's frame.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignedFace {
    /// RGB, 0 to 255, of the size of the embedder's input.
    pub patch: Patch,
    /// For each of its pixels, row by row, whether it lies inside the picture; the others are
    /// black.
    pub(crate) inside: Vec<bool>,
}

/// How many pixels of the embedder's input a pixel of the picture is spread over, in one direction,
/// when the face with these landmarks is aligned: above 1 the picture has fewer than the input
/// could show. 0 when they allow no fit.
pub(crate) fn magnification(landmarks: &Landmarks, net: &EmbedderNet) -> f64 {
    let fit = AlignmentTransform::fit(landmarks, &net.template);
    let stretch = stretch(net);
    fit.map_or(0.0, |fit| fit.scale() * (stretch.0 * stretch.1).sqrt())
}

/// Pixels of the embedder's input per pixel of the template's frame, on each axis.
fn stretch(net: &EmbedderNet) -> (f64, f64) {
    let [width, height] = net.template_size.map(f64::from);
    (net.input.width as f64 / width, net.input.height as f64 / height)
}

/// Warps the face with these landmarks into the embedder's frame: bilinear, black beyond the
/// picture.
///
/// When the face shrinks by a factor k ≥ 2 the picture is first averaged over k × k blocks, because
/// a bilinear sample of a large face reads four pixels out of k² and the rest becomes noise.
/// `None` when the landmarks allow no fit.
pub fn align(picture: &RgbImage, landmarks: &Landmarks, net: &EmbedderNet) -> Option<AlignedFace> {
    let size = (net.input.width, net.input.height);
    let fit = AlignmentTransform::fit(landmarks, &net.template)?;
    let source = Source::new(picture, &fit.inverse(stretch(net)), size);
    Some(AlignedFace { patch: source.warp(size), inside: source.inside(size) })
}

/// The part of a picture that a transform maps to a frame of this size, warped as by [`align`].
pub(crate) fn crop(
    picture: &RgbImage,
    transform: &AlignmentTransform,
    size: (usize, usize),
) -> Patch {
    Source::new(picture, &transform.inverse((1.0, 1.0)), size).warp(size)
}

/// What a warp reads: a picture, averaged over blocks if the frame has fewer pixels.
struct Source<'a> {
    pixels: Cow<'a, RgbImage>,
    /// From the frame to the pixels.
    inverse: Affine,
}

impl<'a> Source<'a> {
    /// Pixel (x, y) of the frame is `inverse` × (x, y, 1) of the picture.
    fn new(picture: &'a RgbImage, inverse: &[[f64; 3]; 2], size: (usize, usize)) -> Self {
        let determinant = inverse[0][0] * inverse[1][1] - inverse[0][1] * inverse[1][0];
        let k = (determinant.abs().sqrt().floor() as u32).max(1);
        let (pixels, left, top) = reduce(picture, inverse, size, k);
        // Pixel centres: a reduced pixel i covers k·i … k·i + k − 1, whose middle is k·i + (k − 1)
        // / 2.
        let centre = (f64::from(k) - 1.0) / 2.0;
        let k = f64::from(k);
        let row = |r: [f64; 3], origin: u32| {
            [(r[0] / k) as f32, (r[1] / k) as f32, ((r[2] - f64::from(origin) - centre) / k) as f32]
        };
        Self { pixels, inverse: [row(inverse[0], left), row(inverse[1], top)] }
    }

    fn warp(&self, (width, height): (usize, usize)) -> Patch {
        Patch::warp(&self.pixels, &self.inverse, width, height)
    }

    /// Which pixels of the frame are sampled from within the picture, row by row.
    fn inside(&self, size: (usize, usize)) -> Vec<bool> {
        inside(&self.inverse, self.pixels.dimensions(), size)
    }
}

/// Which pixels of the frame are sampled from within the source.
fn inside(inverse: &Affine, source: (u32, u32), (width, height): (usize, usize)) -> Vec<bool> {
    let [[a, b, c], [d, e, f]] = *inverse;
    let (right, bottom) = (source.0 as f32 - 1.0, source.1 as f32 - 1.0);
    let mut all = Vec::with_capacity(width * height);
    for y in (0..height).map(|y| y as f32) {
        let row = (0..width).map(|x| x as f32);
        let sampled = row.map(|x| (a * x + b * y + c, d * x + e * y + f));
        all.extend(sampled.map(|(x, y)| x >= 0.0 && y >= 0.0 && x <= right && y <= bottom));
    }
    all
}

/// The part of the picture that the warp reads, averaged over `k` × `k` blocks, and the picture
/// coordinates of its first pixel. Blocks start at multiples of `k`; a rest at the far border is
/// left out.
fn reduce<'a>(
    picture: &'a RgbImage,
    inverse: &[[f64; 3]; 2],
    (width, height): (usize, usize),
    k: u32,
) -> (Cow<'a, RgbImage>, u32, u32) {
    if k == 1 || picture.width() < k || picture.height() < k {
        return (Cow::Borrowed(picture), 0, 0);
    }
    let area = footprint(inverse, width as f64, height as f64);
    let blocks = |start: f32, length: f32, pixels: u32| {
        let last = pixels / k;
        let from = (((start / k as f32).floor() - 1.0).max(0.0) as u32).min(last - 1);
        let to = (((start + length) / k as f32).ceil() + 2.0).max(0.0) as u32;
        (from, to.clamp(from + 1, last))
    };
    let (left, right) = blocks(area.x, area.width, picture.width());
    let (top, bottom) = blocks(area.y, area.height, picture.height());
    let mut reduced = RgbImage::new(right - left, bottom - top);
    let raw = picture.as_raw();
    let stride = picture.width() as usize * 3;
    let k_wide = k as usize;
    for (y, line) in reduced.chunks_exact_mut((right - left) as usize * 3).enumerate() {
        let mut sums = vec![0_u32; line.len()];
        for dy in 0..k_wide {
            let start = ((top as usize + y) * k_wide + dy) * stride + left as usize * k_wide * 3;
            let row = &raw[start..start + sums.len() * k_wide];
            for (sum, block) in sums.chunks_exact_mut(3).zip(row.chunks_exact(3 * k_wide)) {
                for pixel in block.chunks_exact(3) {
                    for (sum, value) in sum.iter_mut().zip(pixel) {
                        *sum += u32::from(*value);
                    }
                }
            }
        }
        for (to, sum) in line.iter_mut().zip(sums) {
            *to = ((sum + k * k / 2) / (k * k)) as u8;
        }
    }
    (Cow::Owned(reduced), left * k, top * k)
}

/// The rectangle of the picture that the corners of the frame map to.
fn footprint(inverse: &[[f64; 3]; 2], width: f64, height: f64) -> BoundingBox {
    let corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)];
    let at = |r: &[f64; 3], (x, y): (f64, f64)| r[0] * x + r[1] * y + r[2];
    let range = |r: &[f64; 3]| {
        corners
            .iter()
            .map(|c| at(r, *c))
            .fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((x0, x1), (y0, y1)) = (range(&inverse[0]), range(&inverse[1]));
    BoundingBox::new(x0 as f32, y0 as f32, (x1 - x0) as f32, (y1 - y0) as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEMPLATE: [[f32; 2]; 5] =
        [[30.3, 51.7], [65.5, 51.5], [48.0, 71.7], [33.5, 92.4], [62.7, 92.2]];

    proptest! {
        #[test]
        fn a_moved_template_is_brought_back_exactly(
            angle in -3.1_f64..3.1, scale in 0.1_f64..20.0, x in -500.0_f64..500.0, y in -500.0_f64..500.0,
        ) {
            let (sin, cos) = angle.sin_cos();
            let moved = Landmarks(TEMPLATE.map(|[px, py]| {
                let (px, py) = (f64::from(px), f64::from(py));
                Point::new((scale * (cos * px - sin * py) + x) as f32, (scale * (sin * px + cos * py) + y) as f32)
            }));
            let fit = AlignmentTransform::fit(&moved, &TEMPLATE).unwrap();
            prop_assert!((fit.scale() * scale - 1.0).abs() < 1e-3);
            for (point, [px, py]) in moved.0.iter().zip(TEMPLATE) {
                let back = fit.apply(*point);
                prop_assert!((back.x - px).abs() < 0.05 && (back.y - py).abs() < 0.05);
            }
            let inverse = fit.inverse((1.0, 1.0));
            let there = inverse[0][0] * 48.0 + inverse[0][1] * 71.7 + inverse[0][2];
            let nose = f64::from(moved.0[2].x);
            prop_assert!((there - nose).abs() < 0.05 * scale.max(1.0), "{there} {nose}");
        }
    }

    #[test]
    fn landmarks_on_one_point_allow_no_fit() {
        assert_eq!(AlignmentTransform::fit(&Landmarks::default(), &TEMPLATE), None);
    }

    #[test]
    fn swapping_the_eyes_changes_the_fit() {
        let upright = Landmarks(TEMPLATE.map(|[x, y]| Point::new(x, y)));
        let mut swapped = upright;
        swapped.0.swap(0, 1);
        let fit = AlignmentTransform::fit(&swapped, &TEMPLATE).unwrap();
        assert!((fit.scale() - 1.0).abs() > 0.1);
    }
}

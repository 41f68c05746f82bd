//! How sharp an aligned face is, along the direction in which it is least sharp.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use std::f64::consts::PI;

use super::face_pixels::{FacePixels, WIDE_SMOOTHING, smoothed};

/// Gaussian, sigma 1.5, eleven taps.
const SMOOTHING: [f32; 11] = [
    0.001_028_38,
    0.007_598_76,
    0.036_000_8,
    0.109_360_7,
    0.213_005_5,
    0.266_011_7,
    0.213_005_5,
    0.109_360_7,
    0.036_000_8,
    0.007_598_76,
    0.001_028_38,
];
const DIRECTIONS: usize = 8;
/// The median detail of 5,104 photos of LFW along each direction, from across over down to nearly
/// across again, in the frame of `omz`.
const USUAL_DETAIL: [f64; DIRECTIONS] = [0.78, 0.83, 0.98, 1.13, 1.17, 1.13, 0.98, 0.83];
/// With fewer pixels of the halved picture, the variances say little.
const LEAST_PIXELS: f64 = 192.0;
/// Pixels of the halved picture that a second derivative of its smoothed copy reaches.
const REACH: usize = WIDE_SMOOTHING.len() / 2 + 1;

/// 18 · least³ ÷ mean^1.5 (geometric) of the detail along eight directions, over the middle
/// three quarters, where the whole neighbourhood lies inside the picture; `None` if there are too
/// few such pixels.
///
/// The detail along a direction is the variance of the second derivative of the luma along it,
/// divided by that of a coarse copy and by what is usual. So neither contrast nor the edges
/// that all faces have count, and motion, which blurs along one direction only, counts as blur
/// does. The smoothing keeps noise and JPEG blocks from passing for detail.
pub(super) fn sharpness(face: &FacePixels<'_>) -> Option<f32> {
    // Of the second derivative, in squared levels; below it a copy has no detail to divide by.
    const NO_DETAIL: f64 = 1e-3;
    let (width, half_width) = (face.width, face.width / 2);
    let fine = smoothed(&face.luma, width, &SMOOTHING);
    let coarse = smoothed(&halved(face), half_width, &WIDE_SMOOTHING);
    let (mut of_fine, mut of_coarse) = (Curvature::default(), Curvature::default());
    for (x, y) in surrounded(face) {
        of_coarse.add(&coarse, half_width, (x, y));
        for (right, down) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            of_fine.add(&fine, width, (2 * x + right, 2 * y + down));
        }
    }
    if of_coarse.n < LEAST_PIXELS {
        return None;
    }
    let (mut least, mut logarithms) = (f64::INFINITY, 0.0);
    for (number, usual) in (0_u8..).zip(USUAL_DETAIL) {
        let angle = PI * f64::from(number) / DIRECTIONS as f64;
        let detail = of_fine.along(angle) / of_coarse.along(angle).max(NO_DETAIL) / usual;
        // A flat picture has none at all.
        let detail = detail.max(1e-6);
        least = least.min(detail);
        logarithms += detail.ln();
    }
    let mean = (logarithms / DIRECTIONS as f64).exp();
    Some((18.0 * least.powi(3) / mean.powf(1.5)) as f32)
}

/// The luma at half the size, from the means of 2 × 2 pixels.
fn halved(face: &FacePixels<'_>) -> Vec<f32> {
    let (luma, width) = (&face.luma, face.width);
    let mean = |x: usize, y: usize| {
        let (above, below) = (2 * y * width + 2 * x, (2 * y + 1) * width + 2 * x);
        (luma[above] + luma[above + 1] + luma[below] + luma[below + 1]) / 4.0
    };
    (0..face.height / 2).flat_map(|y| (0..width / 2).map(move |x| mean(x, y))).collect()
}

/// The pixels of the halved picture in its middle three quarters whose neighbourhood lies
/// inside the picture. The border of the image is straight here, so it is enough to check the
/// corners.
fn surrounded<'a>(face: &'a FacePixels<'_>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let middle = |size: usize| {
        let border = (size / 16).max(REACH);
        border..(size / 2).saturating_sub(border)
    };
    let is_inside = |(x, y): &(usize, usize)| {
        let ends = |at: usize| [2 * (at - REACH), 2 * (at + REACH) + 1];
        let corners = ends(*y).into_iter().flat_map(|y| ends(*x).map(|x| y * face.width + x));
        corners.into_iter().all(|at| face.inside[at])
    };
    let columns = middle(face.width);
    middle(face.height).flat_map(move |y| columns.clone().map(move |x| (x, y))).filter(is_inside)
}

/// The second derivatives of a plane.
#[derive(Default)]
struct Curvature {
    n: f64,
    /// Of the derivatives twice across, twice down, and across and down.
    sums: [f64; 3],
    /// Of the products of each two of them.
    products: [[f64; 3]; 3],
}

impl Curvature {
    /// Adds a pixel that is not on the border.
    fn add(&mut self, plane: &[f32], width: usize, (x, y): (usize, usize)) {
        let at = y * width + x;
        let (above, below) = (at - width, at + width);
        let twice = 2.0 * plane[at];
        let derivatives = [
            plane[at - 1] + plane[at + 1] - twice,
            plane[above] + plane[below] - twice,
            (plane[above - 1] + plane[below + 1] - plane[above + 1] - plane[below - 1]) / 4.0,
        ]
        .map(f64::from);
        self.n += 1.0;
        for (i, one) in derivatives.iter().enumerate() {
            self.sums[i] += one;
            for (j, other) in derivatives.iter().enumerate() {
                self.products[i][j] += one * other;
            }
        }
    }

    /// The variance of the second derivative along a direction, in radians.
    fn along(&self, angle: f64) -> f64 {
        let (sin, cos) = angle.sin_cos();
        let weights = [cos * cos, sin * sin, 2.0 * sin * cos];
        let mut variance = 0.0;
        for i in 0..3 {
            for j in 0..3 {
                let covariance =
                    self.products[i][j] / self.n - self.sums[i] / self.n * (self.sums[j] / self.n);
                variance += weights[i] * weights[j] * covariance;
            }
        }
        variance.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::face_pixels::tests::grey;

    fn sharpness_of(inside: &[bool], luma: impl Fn(f32, f32) -> f32) -> Option<f32> {
        sharpness(&FacePixels::new(&grey(inside, luma)))
    }

    #[test]
    fn finer_detail_is_sharper_whatever_the_brightness() {
        let inside = vec![true; 64 * 64];
        let of = |mean: f32, contrast: f32, fineness: f32| {
            let wave = |x: f32, y: f32| {
                (x * fineness).sin() * (y * fineness).cos() + (x * 0.3).sin() * (y * 0.3).cos()
            };
            sharpness_of(&inside, |x, y| mean + contrast * wave(x, y)).unwrap()
        };
        let (fine, dark, coarse) =
            (of(100.0, 50.0, 0.9), of(20.0, 10.0, 0.9), of(100.0, 50.0, 0.2));
        assert!(fine > 10.0 * coarse && (fine / dark - 1.0).abs() < 0.05, "{fine} {dark} {coarse}");
        assert!(of(100.0, 0.0, 1.0) < 1e-3);
    }

    #[test]
    fn detail_in_one_direction_only_is_as_blurred_as_none() {
        let inside = vec![true; 64 * 64];
        let of = |across: f32, down: f32| {
            let fine = |x: f32, y: f32| (across * x).sin() + (down * y).sin();
            let coarse = |x: f32, y: f32| (0.3 * x).sin() + (0.3 * y).sin();
            sharpness_of(&inside, |x, y| 120.0 + 20.0 * fine(x, y) + 20.0 * coarse(x, y)).unwrap()
        };
        let (both, across, neither) = (of(0.9, 0.9), of(0.9, 0.2), of(0.2, 0.2));
        assert!(both > 20.0 * across && both > 20.0 * neither, "{both} {across} {neither}");
    }

    #[test]
    fn too_little_of_a_face_has_no_sharpness() {
        assert_eq!(sharpness_of(&[true; 16], |x, y| 5.0 * (4.0 * y + x)), None);
        for columns in [28, 36] {
            let strip: Vec<bool> = (0..64 * 64).map(|i| i % 64 < columns).collect();
            assert_eq!(sharpness_of(&strip, |x, _| x), None, "{columns}");
        }
    }

    #[test]
    fn what_lies_outside_the_picture_is_no_detail() {
        let inside: Vec<bool> = (0..64 * 64).map(|i| i % 64 < 52).collect();
        let texture = |x: f32, y: f32| 120.0 + 50.0 * (0.9 * x).sin() * (0.9 * y).cos();
        let before = |beyond: fn(f32, f32) -> f32| {
            let luma = |x, y| if x < 52.0 { texture(x, y) } else { beyond(x, y) };
            sharpness_of(&inside, luma).unwrap()
        };
        assert!((before(|_, _| 0.0) - before(|x, y| 99.0 * (x * y).sin())).abs() < 1e-6);
    }
}

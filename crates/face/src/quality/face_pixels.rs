//! The pixels of an aligned face, and the measures that need no net.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use std::{f32::consts::FRAC_PI_2, ops::Range};

use crate::{align::AlignedFace, patch::Patch};

/// The aligned face.
pub(super) struct FacePixels<'a> {
    patch: &'a Patch,
    pub(super) luma: Vec<f32>,
    pub(super) inside: &'a [bool],
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Luma inside the face, 0 to 255.
pub(super) struct Light {
    pub(super) mean: f32,
    pub(super) variance: f32,
    /// Bits.
    pub(super) entropy: f32,
    /// Shares.
    pub(super) white: f32,
    pub(super) black: f32,
}

/// Gaussian, sigma 2, thirteen taps.
pub(super) const WIDE_SMOOTHING: [f32; 13] = [
    0.002_218, 0.008_773, 0.027_023, 0.064_825, 0.121_109, 0.176_213, 0.199_676, 0.176_213,
    0.121_109, 0.064_825, 0.027_023, 0.008_773, 0.002_218,
];
/// Rows and columns of a block in which noise is measured.
const BLOCK: usize = 16;

impl<'a> FacePixels<'a> {
    pub(super) fn new(face: &'a AlignedFace) -> Self {
        let patch = &face.patch;
        let (width, height) = (patch.width, patch.height);
        Self { patch, luma: patch.luma(), inside: &face.inside, width, height }
    }

    /// The standard deviation of the noise in luma, or that in the differences of colours by a
    /// factor, if it is larger: they cost more, and wrinkles and hair have hardly any. `None` if
    /// too little of the face lies in the picture.
    ///
    /// Noise is what a blurred copy lacks, in the blocks where that is least: elsewhere it is
    /// detail. The blur is wide, so that grain of several pixels counts too.
    pub(super) fn noise(&self) -> Option<f32> {
        const COLOUR: f32 = 10.0 / 7.0;
        const LEAST_BLOCKS: usize = 4;
        let blocks = self.complete_blocks();
        if blocks.len() < LEAST_BLOCKS {
            return None;
        }
        let pixels = self.patch.pixels.as_chunks::<3>().0;
        let [red, blue] = [0, 2].map(|of| {
            let difference: Vec<_> = pixels.iter().map(|pixel| pixel[of] - pixel[1]).collect();
            self.deviation(&difference, &blocks)
        });
        Some(self.deviation(&self.luma, &blocks).max(COLOUR * f32::midpoint(red, blue)))
    }

    /// First pixels of the blocks of the middle three quarters that lie inside the picture.
    fn complete_blocks(&self) -> Vec<usize> {
        let starts = |size: usize| {
            let border = size / 8;
            (border..).step_by(BLOCK).take_while(move |start| start + BLOCK <= size - border)
        };
        let all =
            starts(self.height).flat_map(|y| starts(self.width).map(move |x| y * self.width + x));
        all.filter(|start| self.rows(*start).all(|row| !self.inside[row].contains(&false)))
            .collect()
    }

    /// The pixels of each row of a block.
    fn rows(&self, start: usize) -> impl Iterator<Item = Range<usize>> {
        let width = self.width;
        (0..BLOCK).map(move |y| start + y * width..start + y * width + BLOCK)
    }

    /// The standard deviation of a plane from its blurred copy, over the block that has a tenth of
    /// all blocks below it.
    fn deviation(&self, plane: &[f32], blocks: &[usize]) -> f32 {
        let smooth = smoothed(plane, self.width, &WIDE_SMOOTHING);
        let sum = |row: Range<usize>| {
            let both = plane[row.clone()].iter().zip(&smooth[row]);
            both.map(|(value, smooth)| (value - smooth).abs()).sum::<f32>()
        };
        let mean = |start: &usize| self.rows(*start).map(sum).sum::<f32>() / (BLOCK * BLOCK) as f32;
        let mut means: Vec<_> = blocks.iter().map(mean).collect();
        means.sort_by(f32::total_cmp);
        // From the mean of the absolute values of a normal distribution to its deviation.
        means[(means.len() + 4) / 10] * FRAC_PI_2.sqrt()
    }

    /// Luma statistics inside the ellipse that a face fills in the aligned frame.
    pub(super) fn light(&self) -> Light {
        let (rx, ry) = (0.36 * self.width as f32, 0.46 * self.height as f32);
        let (cx, cy) = (self.width as f32 / 2.0, self.height as f32 / 2.0);
        let mut histogram = [0_u32; LEVELS];
        let mut spread = Spread::default();
        let (mut white, mut black) = (0.0_f32, 0.0_f32);
        let width = self.width.max(1);
        let rows = self.luma.chunks(width).zip(self.inside.chunks(width));
        for (y, (row, inside)) in rows.enumerate() {
            let dy = (y as f32 - cy) / ry;
            for (x, (value, inside)) in row.iter().zip(inside).enumerate() {
                let dx = (x as f32 - cx) / rx;
                if *inside && dx * dx + dy * dy <= 1.0 {
                    spread.add(*value);
                    histogram[level(*value)] += 1;
                    white += f32::from(u8::from(*value > 247.0));
                    black += f32::from(u8::from(*value < 25.0));
                }
            }
        }
        let n = spread.n.max(1.0) as f32;
        Light {
            mean: (spread.sum / spread.n.max(1.0)) as f32,
            variance: spread.variance() as f32,
            entropy: entropy(&histogram),
            white: white / n,
            black: black / n,
        }
    }

    /// How much the luma histograms of the two cheeks have in common, 0 to 1 (OFIQ, illumination
    /// uniformity); `None` if one of them lies outside the picture.
    pub(super) fn cheeks_overlap(&self) -> Option<f32> {
        let histograms = CHEEKS.map(|cheek| {
            let mut histogram = [0_u32; LEVELS];
            self.area(cheek, CHEEK).for_each(|at| histogram[level(self.luma[at])] += 1);
            histogram
        });
        let pixels = histograms.map(|histogram| histogram.iter().sum::<u32>());
        if pixels.contains(&0) {
            return None;
        }
        let pixels = pixels.map(|count| count as f32);
        let [left, right] = &histograms;
        let common = left.iter().zip(right);
        Some(common.map(|(l, r)| (*l as f32 / pixels[0]).min(*r as f32 / pixels[1])).sum())
    }

    /// How far the mean colour of the cheeks lies from where skin lies in CIELAB, 5 to 25 for a*
    /// and 5 to 35 for b* (OFIQ, natural colour); `None` if the picture is grey.
    pub(super) fn unnatural_colour(&self) -> Option<f32> {
        let (mut rgb, mut n, mut coloured) = ([0.0_f32; 3], 0.0_f32, false);
        for at in CHEEKS.into_iter().flat_map(|cheek| self.area(cheek, CHEEK)) {
            let pixel = &self.patch.pixels[at * 3..at * 3 + 3];
            coloured |= (pixel[0] - pixel[1]).abs() > 2.0 || (pixel[1] - pixel[2]).abs() > 2.0;
            n += 1.0;
            for (sum, value) in rgb.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        if !coloured {
            return None;
        }
        let (a, b) = lab_ab(rgb.map(|sum| sum / n));
        let outside = |value: f32, low: f32, high: f32| (low - value).max(value - high).max(0.0);
        Some(outside(a, 5.0, 25.0).hypot(outside(b, 5.0, 35.0)))
    }

    /// The luma that a twentieth of the pixels around an eye do not reach, 0 to 255, of the eye
    /// where it is larger: pupils, lashes and shadows are dark there in everyone. `None` if more
    /// than half of the area around an eye lies outside the picture.
    pub(super) fn eyes_darkest(&self) -> Option<f32> {
        let darkest = |eye| {
            let mut values: Vec<_> = self.area(eye, EYE).map(|at| self.luma[at]).collect();
            let area = EYE.0 * EYE.1 * self.luma.len() as f32;
            if (values.len() as f32) < area / 2.0 {
                return None;
            }
            values.sort_by(f32::total_cmp);
            values.get(values.len() / 20).copied()
        };
        let [left, right] = EYES.map(darkest);
        Some(left?.max(right?))
    }

    /// The pixels about a point of the frame that lie inside the picture; the frame counts from 0
    /// to 1.
    fn area(&self, (x, y): (f32, f32), (across, down): (f32, f32)) -> impl Iterator<Item = usize> {
        let (width, height) = (self.width as f32, self.height as f32);
        let rows = range(y * height, down * height, self.height);
        let columns = range(x * width, across * width, self.width);
        let pixels =
            rows.flat_map(move |row| columns.clone().map(move |column| row * self.width + column));
        pixels.filter(|at| self.inside[*at])
    }
}

/// Middles of the two cheeks in the aligned frame, as shares of its sides: below the eyes, between
/// nose and mouth.
const CHEEKS: [(f32, f32); 2] = [(0.315, 0.73), (0.685, 0.73)];
/// Width and height of a cheek's square, as shares of the frame: 0.3 inter-eye distances.
const CHEEK: (f32, f32) = (0.11, 0.11);
/// Middles of the two eyes with their lids and lashes, as shares of the frame.
const EYES: [(f32, f32); 2] = [(0.32, 0.453), (0.68, 0.453)];
/// Width and height of the area around an eye, as shares of the frame.
const EYE: (f32, f32) = (0.203, 0.156);
const LEVELS: usize = 256;

#[expect(clippy::cast_sign_loss, reason = "clamped to the levels")]
fn level(luma: f32) -> usize {
    luma.clamp(0.0, 255.0) as usize
}

#[expect(clippy::cast_sign_loss, reason = "clamped to the frame")]
fn range(middle: f32, side: f32, end: usize) -> std::ops::Range<usize> {
    let start = (middle - side / 2.0).round().max(0.0) as usize;
    let stop = (middle + side / 2.0).round().max(0.0) as usize;
    start.min(end)..stop.min(end)
}

fn entropy(histogram: &[u32]) -> f32 {
    let all = histogram.iter().sum::<u32>().max(1) as f32;
    let shares = histogram.iter().filter(|count| **count > 0).map(|count| *count as f32 / all);
    -shares.map(|share| share * share.log2()).sum::<f32>()
}

/// The colour axes of CIELAB (D65) for an sRGB colour, channels 0 to 255.
fn lab_ab(rgb: [f32; 3]) -> (f32, f32) {
    let linear = |value: f32| {
        let value = value / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let [r, g, b] = rgb.map(linear);
    let x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.950_47;
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.088_83;
    let root = |t: f32| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
    (500.0 * (root(x) - root(y)), 200.0 * (root(y) - root(z)))
}

/// Borders are not smoothed: no measure reaches them.
pub(super) fn smoothed<const N: usize>(plane: &[f32], width: usize, taps: &[f32; N]) -> Vec<f32> {
    let (height, reach) = (plane.len() / width.max(1), N / 2);
    if width.min(height) < N {
        return plane.to_vec();
    }
    // Tap by tap: whole rows are added up, which the compiler does many values at a time.
    let add = |sums: &mut [f32], row: &[f32], weight: f32| {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += weight * value;
        }
    };
    let mut across = plane.to_vec();
    for (to, row) in across.chunks_exact_mut(width).zip(plane.chunks_exact(width)) {
        let inner = &mut to[reach..width - reach];
        inner.fill(0.0);
        for (k, weight) in taps.iter().enumerate() {
            add(inner, &row[k..], *weight);
        }
    }
    let mut smooth = across.clone();
    for (y, to) in smooth.chunks_exact_mut(width).enumerate().skip(reach) {
        if y + reach >= height {
            break;
        }
        to.fill(0.0);
        for (row, weight) in across.chunks_exact(width).skip(y - reach).zip(taps) {
            add(to, row, *weight);
        }
    }
    smooth
}

#[derive(Default)]
struct Spread {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f32) {
        let value = f64::from(value);
        self.n += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn variance(&self) -> f64 {
        if self.n < 1.0 { 0.0 } else { self.squares / self.n - (self.sum / self.n).powi(2) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A square face.
    fn face(inside: &[bool], pixel: impl Fn(f32, f32) -> [f32; 3]) -> AlignedFace {
        let side = inside.len().isqrt();
        let pixel = |i| pixel((i % side) as f32, (i / side) as f32);
        let pixels = (0..side * side).flat_map(pixel).collect();
        AlignedFace { patch: Patch { width: side, height: side, pixels }, inside: inside.to_vec() }
    }

    pub(in crate::quality) fn grey(
        inside: &[bool],
        pixel: impl Fn(f32, f32) -> f32,
    ) -> AlignedFace {
        face(inside, |x, y| [pixel(x, y); 3])
    }

    #[test]
    fn light_from_one_side_makes_the_cheeks_differ() {
        let inside = vec![true; 64 * 64];
        let even = grey(&inside, |_, y| 100.0 + (y * 7.0) % 13.0);
        let lit = grey(&inside, |x, _| if x < 32.0 { 220.0 } else { 60.0 });
        assert!(FacePixels::new(&even).cheeks_overlap().unwrap() > 0.99);
        assert!(FacePixels::new(&lit).cheeks_overlap().unwrap() < 0.01);
        let half: Vec<bool> = (0..64 * 64).map(|i| i % 64 < 32).collect();
        assert_eq!(FacePixels::new(&grey(&half, |_, _| 100.0)).cheeks_overlap(), None);
    }

    #[test]
    fn light_over_one_eye_leaves_nothing_dark_there() {
        let inside = vec![true; 64 * 64];
        let of = |veil: f32| {
            let pupils =
                |x: f32, y: f32| if (y - 29.0).abs() < 2.0 && x % 4.0 < 2.0 { 30.0 } else { 150.0 };
            let lit = |x: f32, y: f32| {
                let share = if x < 32.0 { veil } else { 0.0 };
                pupils(x, y) * (1.0 - share) + 255.0 * share
            };
            FacePixels::new(&grey(&inside, lit)).eyes_darkest().unwrap()
        };
        assert!((of(0.0) - 30.0).abs() < 1e-3 && (of(0.6) - 165.0).abs() < 1e-3);
        for (columns, is_seen) in [(32, false), (41, false), (46, true)] {
            let part: Vec<bool> = (0..64 * 64).map(|i| i % 64 < columns).collect();
            let darkest = FacePixels::new(&grey(&part, |_, _| 100.0)).eyes_darkest();
            assert_eq!(darkest.is_some(), is_seen, "{columns} of 64 columns");
        }
    }

    #[test]
    fn skin_of_any_tone_is_natural_and_a_blue_face_is_not() {
        let inside = vec![true; 64 * 64];
        let colour = |rgb| FacePixels::new(&face(&inside, |_, _| rgb)).unnatural_colour();
        for skin in [[224.0, 180.0, 155.0], [90.0, 58.0, 40.0], [198.0, 134.0, 96.0]] {
            assert!(colour(skin).unwrap() < 3.0, "{skin:?}: {:?}", colour(skin));
        }
        assert!(colour([90.0, 120.0, 220.0]).unwrap() > 25.0);
        assert_eq!(colour([128.0; 3]), None, "grey has no colour to judge");
    }

    #[test]
    fn one_grey_has_no_dynamic_range_and_a_ramp_has_much() {
        let inside = vec![true; 64 * 64];
        let (flat, ramp) = (grey(&inside, |_, _| 90.0), grey(&inside, |x, _| x * 4.0));
        assert!(FacePixels::new(&flat).light().entropy < 1e-6);
        let light = FacePixels::new(&ramp).light();
        assert!(light.entropy > 5.0 && light.variance > 1_000.0, "{}", light.entropy);
    }

    #[test]
    fn what_lies_outside_the_picture_is_not_dark() {
        let inside: Vec<bool> = (0..64 * 64).map(|i| i % 64 < 32).collect();
        let half = grey(&inside, |x, _| if x < 32.0 { 200.0 } else { 0.0 });
        let light = FacePixels::new(&half).light();
        assert!((light.mean - 200.0).abs() < 1e-3 && light.black < 1e-6 && light.white < 1e-6);
    }
}

//! A small RGB crop in floating point, and the two ways to cut one out of a picture: by box
//! (antialiased) and by affine transform (bilinear).
//!
//! Pixels outside the picture repeat its border in [`Patch::from_box`] but are black in
//! [`Patch::warp`]: the first feeds nets that were trained on replicated borders, the second one
//! that was trained on black ones.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "pixel arithmetic: every value is checked or clamped to its range"
)]

use image::RgbImage;

use super::{
    geometry::BoundingBox,
    manifest::{ChannelOrder, Input},
};

/// `height` rows of `width` RGB pixels, each channel 0 to 255, interleaved.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// `width × height × 3` values, row by row.
    pub pixels: Vec<f32>,
}

/// A 2×3 matrix that takes homogeneous (x, y, 1) to (x', y').
pub(crate) type Affine = [[f32; 3]; 2];

impl Patch {
    /// Cuts `area` out of `picture` and resizes it to `width` × `height` with a triangle filter as
    /// wide as the reduction (what Pillow calls `BILINEAR`); the picture's border is repeated.
    pub(crate) fn from_box(
        picture: &RgbImage,
        area: &BoundingBox,
        width: usize,
        height: usize,
    ) -> Self {
        let columns = Taps::new(area.x, area.width, picture.width() as usize, width);
        let rows = Taps::new(area.y, area.height, picture.height() as usize, height);
        let (left, right) = columns.range();
        let stride = picture.width() as usize * 3;
        let raw = picture.as_raw();
        let mut pixels = vec![0.0_f32; width * height * 3];
        // Vertically first: whole rows are added up, which the compiler does many values at a time.
        // One sample more: a pixel is read as four of them, which the processor adds at once.
        let mut line = vec![0.0_f32; (right - left) * 3 + 1];
        for (target, taps) in pixels.chunks_exact_mut(width * 3).zip(rows.each()) {
            line.fill(0.0);
            for (at, weight) in taps {
                let source = &raw[at * stride + left * 3..at * stride + right * 3];
                for (sum, value) in line.iter_mut().zip(source) {
                    *sum += weight * f32::from(*value);
                }
            }
            for (pixel, taps) in target.as_chunks_mut::<3>().0.iter_mut().zip(columns.each()) {
                let mut sums = [0.0_f32; 4];
                for (at, weight) in taps {
                    let from = line.get((at - left) * 3..).and_then(|from| from.first_chunk());
                    let from: &[f32; 4] = from.unwrap_or(&[0.0; 4]);
                    for (sum, value) in sums.iter_mut().zip(from) {
                        *sum += weight * value;
                    }
                }
                *pixel = [sums[0], sums[1], sums[2]];
            }
        }
        Self { width, height, pixels }
    }

    /// Samples `picture` bilinearly at `inverse` × (x, y, 1) for each pixel (x, y) of the patch;
    /// beyond the border the picture is black.
    pub(crate) fn warp(picture: &RgbImage, inverse: &Affine, width: usize, height: usize) -> Self {
        let [[a, b, c], [d, e, f]] = *inverse;
        let position = |x: usize, y: usize| {
            let (x, y) = (x as f32, y as f32);
            (a * x + b * y + c, d * x + e * y + f)
        };
        let (last_x, last_y) = (width.saturating_sub(1), height.saturating_sub(1));
        let corners = [(0, 0), (last_x, 0), (0, last_y), (last_x, last_y)];
        let excerpt = Excerpt::new(picture, corners.map(|(x, y)| position(x, y)));
        let mut pixels = vec![0.0; width * height * 3];
        for (y, row) in pixels.chunks_exact_mut((width * 3).max(1)).enumerate() {
            for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let (x, y) = position(x, y);
                *pixel = excerpt.bilinear(x, y);
            }
        }
        Self { width, height, pixels }
    }

    /// The same pixels with left and right exchanged.
    pub(super) fn mirrored(&self) -> Self {
        let rows = self.pixels.chunks_exact(3 * self.width.max(1));
        let pixels = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied());
        Self { width: self.width, height: self.height, pixels: pixels.collect() }
    }

    /// The same pixels with rows and columns exchanged.
    pub(super) fn transposed(&self) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for x in 0..self.width {
            for y in 0..self.height {
                let at = 3 * (y * self.width + x);
                pixels.extend_from_slice(&self.pixels[at..at + 3]);
            }
        }
        Self { width: self.height, height: self.width, pixels }
    }

    /// Planes one after the other (NCHW), in the channel order and range that a net wants: 3 ×
    /// `height` × `width` values.
    pub fn to_tensor(&self, input: &Input) -> Vec<f32> {
        let channels = match input.order {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        let mut tensor = Vec::with_capacity(self.pixels.len());
        for channel in channels {
            let plane = self.pixels.chunks_exact(3).map(|pixel| pixel[channel]);
            tensor.extend(plane.map(|value| (value - input.mean) * input.scale));
        }
        tensor
    }

    /// The same pixels, each channel rounded.
    pub(super) fn to_image(&self) -> RgbImage {
        let (mut pixels, size) = (self.pixels.iter(), (self.width as u32, self.height as u32));
        // `as` saturates, and an interpolated value lies between those of its pixels.
        let mut next = || pixels.next().map_or(0, |value| (value + 0.5) as u8);
        RgbImage::from_fn(size.0, size.1, |_, _| image::Rgb([next(), next(), next()]))
    }

    /// Luma (ITU-R BT.601) of every pixel, 0 to 255.
    pub(crate) fn luma(&self) -> Vec<f32> {
        self.pixels.chunks_exact(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]).collect()
    }
}

/// For each output position the source positions and weights that make it up.
struct Taps {
    all: Vec<(usize, f32)>,
    /// Where in `all` the ones of each output position end.
    ends: Vec<usize>,
}

impl Taps {
    /// `start` and `length` are the cut in source pixels, edges included; `source` and `target`
    /// count pixels of the whole source axis and of the result.
    fn new(start: f32, length: f32, source: usize, target: usize) -> Self {
        let last = source.saturating_sub(1) as f32;
        let scale = length / target as f32;
        let reach = scale.max(1.0);
        let mut taps = Self { all: Vec::new(), ends: Vec::with_capacity(target) };
        for i in 0..target {
            let begin = taps.all.len();
            let centre = start + (i as f32 + 0.5) * scale;
            let (from, to) = ((centre - reach).floor() as i64, (centre + reach).ceil() as i64);
            let mut total = 0.0;
            for at in from..to {
                let weight = 1.0 - ((at as f32 + 0.5 - centre) / reach).abs();
                if weight <= 0.0 {
                    continue;
                }
                total += weight;
                let inside = (at as f32).clamp(0.0, last) as usize;
                match taps.all[begin..].last_mut() {
                    Some((same, sum)) if *same == inside => *sum += weight,
                    _ => taps.all.push((inside, weight)),
                }
            }
            for (_, weight) in &mut taps.all[begin..] {
                *weight /= total;
            }
            taps.ends.push(taps.all.len());
        }
        taps
    }

    /// Those of each output position, in order.
    fn each(&self) -> impl Iterator<Item = &[(usize, f32)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.all[start..*end])
    }

    /// First source position that is read, and one past the last.
    fn range(&self) -> (usize, usize) {
        let ends = self.all.iter().map(|(at, _)| *at);
        (ends.clone().min().unwrap_or(0), ends.max().map_or(0, |at| at + 1))
    }
}

/// The part of a picture that a warp reads, with a black edge where the picture ends, in floating
/// point: each of its samples is read several times.
struct Excerpt {
    /// The position of its first pixel in the picture, −1 for the edge.
    left: i32,
    top: i32,
    /// Samples of a row.
    stride: usize,
    samples: Vec<f32>,
    /// Width and height of the picture.
    size: (f32, f32),
}

impl Excerpt {
    /// For all positions between these corners of a parallelogram.
    fn new(picture: &RgbImage, corners: [(f32, f32); 4]) -> Self {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        // From the pixel before the first position to the one behind the last.
        let range = |positions: [f32; 4], end: usize| {
            let first = positions.into_iter().fold(f32::MAX, f32::min).floor();
            let last = positions.into_iter().fold(f32::MIN, f32::max).floor() + 1.0;
            let first = (first as i32).clamp(-1, end as i32);
            (first, (last as i32).clamp(first, end as i32))
        };
        let (left, right) = range(corners.map(|corner| corner.0), width);
        let (top, bottom) = range(corners.map(|corner| corner.1), height);
        let stride = (right - left + 1) as usize * 3;
        // One sample more: two pixels are read as seven of them.
        let mut samples = vec![0.0; stride * (bottom - top + 1) as usize + 1];
        let columns = left.max(0) as usize * 3..(right + 1).clamp(0, width as i32) as usize * 3;
        let skipped = (left.max(0) - left) as usize * 3;
        for (y, row) in (top..).zip(samples.chunks_exact_mut(stride)) {
            let Some(y) = usize::try_from(y).ok().filter(|y| *y < height) else { continue };
            let from = &picture.as_raw()[y * width * 3..][columns.clone()];
            for (to, from) in row[skipped..].iter_mut().zip(from) {
                *to = f32::from(*from);
            }
        }
        Self { left, top, stride, samples, size: (width as f32, height as f32) }
    }

    fn bilinear(&self, x: f32, y: f32) -> [f32; 3] {
        // What is no number is not inside.
        if !(x > -1.0 && y > -1.0 && x < self.size.0 && y < self.size.1) {
            return [0.0; 3];
        }
        // Rounded down: `floor` is a call on processors that the compiler has to allow for.
        let down = |value: f32| value as i32 - i32::from(value < 0.0);
        let (left, top) = (down(x), down(y));
        let (fx, fy) = (x - left as f32, y - top as f32);
        let at = (top - self.top) as usize * self.stride + (left - self.left) as usize * 3;
        let pixels = |at: usize| self.samples.get(at..).and_then(|from| from.first_chunk::<7>());
        let (Some(upper), Some(lower)) = (pixels(at), pixels(at + self.stride)) else {
            return [0.0; 3];
        };
        let weights = [(1.0 - fy) * (1.0 - fx), (1.0 - fy) * fx, fy * (1.0 - fx), fy * fx];
        // Four values at a time; the fourth is of the next pixel.
        let [red, green, blue, _] = std::array::from_fn(|i| {
            let four = [upper[i], upper[i + 3], lower[i], lower[i + 3]];
            weights[0] * four[0]
                + weights[1] * four[1]
                + weights[2] * four[2]
                + weights[3] * four[3]
        });
        [red, green, blue]
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_tensor_is_planar_in_the_order_the_net_wants() {
        let patch = Patch { width: 2, height: 1, pixels: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let input = |order| Input { width: 2, height: 1, order, mean: 1.0, scale: 2.0 };
        let tensor = |order| patch.to_tensor(&input(order));
        assert_eq!(tensor(ChannelOrder::Rgb), [0.0, 6.0, 2.0, 8.0, 4.0, 10.0]);
        assert_eq!(tensor(ChannelOrder::Bgr), [4.0, 10.0, 2.0, 8.0, 0.0, 6.0]);
    }

    fn gradient() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 7]))
    }

    #[test]
    fn cutting_out_the_whole_picture_at_its_own_size_changes_nothing() {
        let picture = gradient();
        let patch = Patch::from_box(&picture, &BoundingBox::new(0.0, 0.0, 40.0, 30.0), 40, 30);
        let same = patch
            .pixels
            .iter()
            .zip(picture.as_raw())
            .all(|(a, b)| (a - f32::from(*b)).abs() < 1e-3);
        assert!(same);
    }

    #[test]
    fn a_box_beyond_the_border_repeats_the_border() {
        let patch = Patch::from_box(&gradient(), &BoundingBox::new(-40.0, 5.0, 20.0, 4.0), 4, 2);
        assert!(
            patch.pixels.chunks_exact(3).all(|p| p[0].abs() < 1e-3 && (p[2] - 7.0).abs() < 1e-3)
        );
    }

    #[test]
    fn reducing_averages_instead_of_skipping() {
        let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([u8::from(x % 2 == 0) * 200; 3]));
        let patch = Patch::from_box(&stripes, &BoundingBox::new(0.0, 0.0, 64.0, 64.0), 8, 8);
        // The outermost columns see the repeated border.
        let inner = patch.pixels.chunks_exact(24).flat_map(|line| &line[3..21]);
        assert!(inner.clone().count() > 0 && inner.clone().all(|v| (v - 100.0).abs() < 1.0));
    }

    #[test]
    fn between_pixels_a_warp_is_their_weighted_mean_and_fades_to_black_at_the_border() {
        let shifted = [[1.0, 0.0, 10.25], [0.0, 1.0, 4.5]];
        let patch = Patch::warp(&gradient(), &shifted, 1, 1);
        assert_eq!(patch.pixels, [61.5, 36.0, 7.0]);
        let leaving = [[1.0, 0.0, 10.0], [0.0, 1.0, -0.5]];
        assert_eq!(Patch::warp(&gradient(), &leaving, 1, 1).pixels, [30.0, 0.0, 3.5]);
    }

    #[test]
    fn a_warp_is_the_mean_of_four_pixels_of_which_those_outside_are_black() {
        let picture = gradient();
        let sample = |x: f32, y: f32, channel: usize| {
            let inside = x >= 0.0 && y >= 0.0 && x < 40.0 && y < 30.0;
            if inside { f32::from(picture.get_pixel(x as u32, y as u32)[channel]) } else { 0.0 }
        };
        for (c, f) in [(-6.2, -4.7), (31.3, 22.9), (-3.0, 25.5), (12.0, 9.0), (90.0, -90.0)] {
            let [first, second] = [[1.1, 0.3, c], [-0.3, 1.1, f]];
            let patch = Patch::warp(&picture, &[first, second], 16, 12);
            for (at, found) in patch.pixels.iter().enumerate() {
                let (column, row) = ((at / 3 % 16) as f32, (at / 48) as f32);
                let along = |[a, b, c]: [f32; 3]| a * column + b * row + c;
                let (x, y) = (along(first), along(second));
                let (left, top) = (x.floor(), y.floor());
                let across = |top: f32| {
                    let [one, other] = [0.0, 1.0].map(|more| sample(left + more, top, at % 3));
                    one + (other - one) * (x - left)
                };
                let expected = across(top) + (across(top + 1.0) - across(top)) * (y - top);
                assert!((found - expected).abs() < 0.01, "{x} {y}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_warp_by_the_identity_copies_and_is_black_outside() {
        let patch = Patch::warp(&gradient(), &[[1.0, 0.0, 38.0], [0.0, 1.0, 0.0]], 4, 1);
        assert_eq!(patch.pixels[..6], [228.0, 0.0, 7.0, 234.0, 0.0, 7.0]);
        assert_eq!(patch.pixels[6..], [0.0; 6]);
    }
}

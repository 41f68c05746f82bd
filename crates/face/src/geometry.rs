//! Points, boxes and landmarks, all in pixels of one picture with the origin in its top left
//! corner, x to the right and y downwards.
//!
//! *Left* and *right* always mean the picture's side, never the person's: the first landmark is the
//! eye nearer to the picture's left edge in an upright face, which is the person's right eye.

use serde::{Deserialize, Serialize};

/// A position in pixels; integer values lie at pixel centres.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

impl Point {
    /// The point (`x`, `y`).
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// Euclidean distance to `other`, in pixels.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// Half-way between the two points.
    #[must_use]
    pub(crate) fn midpoint(self, other: Self) -> Self {
        Self::new(f32::midpoint(self.x, other.x), f32::midpoint(self.y, other.y))
    }
}

/// An axis-aligned rectangle; it may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Pixels from left to right, not negative.
    pub width: f32,
    /// Pixels from top to bottom, not negative.
    pub height: f32,
}

impl BoundingBox {
    /// The rectangle with these edges.
    pub const fn new(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self { x, y, width, height }
    }

    /// The square of side `side` around `centre`.
    pub(crate) fn square(centre: Point, side: f32) -> Self {
        Self::new(centre.x - side / 2.0, centre.y - side / 2.0, side, side)
    }

    /// The middle.
    pub fn centre(&self) -> Point {
        Point::new(self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// Pixels of the shorter side.
    pub(crate) fn short_side(&self) -> f32 {
        self.width.min(self.height)
    }

    /// Square pixels.
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Square pixels shared with `other`.
    pub(crate) fn overlap(&self, other: &Self) -> f32 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        width.max(0.0) * height.max(0.0)
    }

    /// Intersection over union, 0 to 1.
    pub fn iou(&self, other: &Self) -> f32 {
        let shared = self.overlap(other);
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }

    /// A rectangle with the same centre, extended on each side by `margin` times the length of its
    /// sides.
    #[must_use]
    pub(crate) fn grown(&self, margin: f32) -> Self {
        let (more_width, more_height) = (margin * self.width, margin * self.height);
        Self::new(
            self.x - more_width,
            self.y - more_height,
            self.width + 2.0 * more_width,
            self.height + 2.0 * more_height,
        )
    }

    /// The same rectangle in a picture whose axes are scaled by (`sx`, `sy`).
    #[must_use]
    pub fn scaled(&self, sx: f32, sy: f32) -> Self {
        Self::new(self.x * sx, self.y * sy, self.width * sx, self.height * sy)
    }
}

/// The five points of a face, in the order of every net that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Landmarks(pub [Point; 5]);

impl Landmarks {
    /// Whether all of them are numbers, and none is farther from 0 than `reach` on either axis.
    pub(super) fn lie_within(&self, reach: f32) -> bool {
        self.0.iter().all(|point| point.x.abs() <= reach && point.y.abs() <= reach)
    }

    /// Centre of the eye on the picture's left.
    pub(crate) fn left_eye(&self) -> Point {
        self.0[0]
    }

    /// Centre of the eye on the picture's right.
    pub(crate) fn right_eye(&self) -> Point {
        self.0[1]
    }

    /// Distance of the nose from the middle between eyes and mouth, along the line of the eyes, as
    /// a share of the distance from eyes to mouth; with sign, near 0 for a head that faces the
    /// camera. 0 if it cannot be determined.
    pub(super) fn nose_offset(&self) -> f32 {
        let [left, right, nose, ..] = self.0;
        let eyes = left.midpoint(right);
        let mouth = self.0[3].midpoint(self.0[4]);
        let apart = left.distance(right).max(f32::EPSILON);
        let (along_x, along_y) = ((right.x - left.x) / apart, (right.y - left.y) / apart);
        let middle = eyes.midpoint(mouth);
        let height = (mouth.y - eyes.y) * along_x - (mouth.x - eyes.x) * along_y;
        let offset = (nose.x - middle.x) * along_x + (nose.y - middle.y) * along_y;
        if height.abs() < 1.0 { 0.0 } else { offset / height.abs() }
    }

    /// The mean of several predictions of the same face; all zero of none.
    pub(super) fn mean(all: &[Self]) -> Self {
        let share = 1.0 / all.len().max(1) as f32;
        let sum =
            |i: usize, axis: fn(&Point) -> f32| all.iter().map(|one| axis(&one.0[i])).sum::<f32>();
        Self(std::array::from_fn(|i| Point::new(sum(i, |p| p.x) * share, sum(i, |p| p.y) * share)))
    }

    /// Degrees from the horizontal to the line from the left eye to the right one, −180 to 180,
    /// clockwise positive; 0 if both are at one point.
    pub(crate) fn roll(&self) -> f32 {
        let (left, right) = (self.left_eye(), self.right_eye());
        (right.y - left.y).atan2(right.x - left.x).to_degrees()
    }

    /// Pixels between the two eye centres.
    pub(crate) fn inter_eye_distance(&self) -> f32 {
        self.left_eye().distance(self.right_eye())
    }

    /// The same points in a picture whose axes are scaled by (`sx`, `sy`).
    #[must_use]
    pub fn scaled(&self, sx: f32, sy: f32) -> Self {
        Self(self.0.map(|p| Point::new(p.x * sx, p.y * sy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nose_beside_the_middle_is_found_however_the_head_is_held() {
        let points = [(80.0, 90.0), (120.0, 90.0), (105.0, 115.0), (85.0, 140.0), (115.0, 140.0)];
        let upright = Landmarks(points.map(|(x, y)| Point::new(x, y)));
        assert!((upright.nose_offset() - 0.1).abs() < 1e-6);
        let on_its_side = Landmarks(points.map(|(x, y)| Point::new(-y, x)));
        assert!((on_its_side.nose_offset() - 0.1).abs() < 1e-6);
        assert!(Landmarks::default().nose_offset().abs() < f32::EPSILON);
    }

    #[test]
    fn an_eye_that_lies_lower_is_a_tilted_head() {
        let points = [(80.0, 90.0), (120.0, 130.0), (90.0, 115.0), (70.0, 130.0), (95.0, 155.0)];
        let tilted = Landmarks(points.map(|(x, y)| Point::new(x, y)));
        assert!((tilted.roll() - 45.0).abs() < 1e-4);
        let mirrored =
            Landmarks([1, 0, 2, 4, 3].map(|n| Point::new(200.0 - tilted.0[n].x, tilted.0[n].y)));
        assert!((mirrored.roll() + 45.0).abs() < 1e-4);
    }

    #[test]
    fn overlap_of_boxes_is_symmetric_and_zero_when_apart() {
        let a = BoundingBox::new(0.0, 0.0, 10.0, 10.0);
        let b = BoundingBox::new(5.0, 5.0, 10.0, 10.0);
        let c = BoundingBox::new(20.0, 0.0, 1.0, 1.0);
        assert!((a.iou(&b) - 25.0 / 175.0).abs() < 1e-6);
        assert!((a.iou(&b) - b.iou(&a)).abs() < f32::EPSILON);
        assert!(a.iou(&c).abs() < f32::EPSILON);
        assert!((a.iou(&a) - 1.0).abs() < f32::EPSILON);
    }
}

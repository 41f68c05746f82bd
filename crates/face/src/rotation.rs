//! Rotation of photos that are not upright and have no EXIF orientation.
//!
//! The detector was trained on upright faces. On others it finds nothing, or reports wrong
//! landmarks with low confidence: on photos of 160 people, the confidence is above 0.91 for 98 % of
//! the upright ones, and below 0.90 for 98 % of the rotated ones (median 0.81 or less).

use image::{RgbImage, imageops};

use super::geometry::{BoundingBox, Landmarks, Point};

/// How a picture was rotated, clockwise, to set its face upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// By a quarter.
    Quarter,
    /// By half.
    Half,
    /// By three quarters.
    ThreeQuarters,
}

/// All of them, the usual ones first: phones are held upright or on a side.
pub(crate) const ROTATIONS: [Rotation; 3] =
    [Rotation::Quarter, Rotation::ThreeQuarters, Rotation::Half];

impl Rotation {
    /// Quarters of a circle, clockwise.
    fn quarters(rotation: Option<Self>) -> u32 {
        match rotation {
            None => 0,
            Some(Self::Quarter) => 1,
            Some(Self::Half) => 2,
            Some(Self::ThreeQuarters) => 3,
        }
    }

    /// The size of a picture, when it is held another way.
    pub(super) fn size(rotation: Option<Self>, (width, height): (u32, u32)) -> (u32, u32) {
        if Self::quarters(rotation) % 2 == 1 { (height, width) } else { (width, height) }
    }

    /// A picture that is held one way, held another way. Takes as much memory again only for an odd
    /// number of quarters.
    pub(super) fn change(picture: &mut RgbImage, from: Option<Self>, to: Option<Self>) {
        match (Self::quarters(to) + 4 - Self::quarters(from)) % 4 {
            1 => *picture = imageops::rotate90(picture),
            2 => imageops::rotate180_in_place(picture),
            3 => *picture = imageops::rotate270(picture),
            _ => {}
        }
    }

    /// Where a point of a picture of this size, in pixels, lies on the rotated picture.
    pub(crate) fn point(self, at: Point, (width, height): (u32, u32)) -> Point {
        // Whole numbers are the middles of pixels: the last one of a row is at its width less one.
        let (width, height) = (width as f32 - 1.0, height as f32 - 1.0);
        match self {
            Self::Quarter => Point::new(height - at.y, at.x),
            Self::Half => Point::new(width - at.x, height - at.y),
            Self::ThreeQuarters => Point::new(at.y, width - at.x),
        }
    }

    /// Where a point of the rotated picture lies on the picture, whose size this is.
    pub(crate) fn point_back(self, at: Point, (width, height): (u32, u32)) -> Point {
        // Whole numbers are the middles of pixels: the last one of a row is at its width less one.
        let (width, height) = (width as f32 - 1.0, height as f32 - 1.0);
        match self {
            Self::Quarter => Point::new(at.y, height - at.x),
            Self::Half => Point::new(width - at.x, height - at.y),
            Self::ThreeQuarters => Point::new(width - at.y, at.x),
        }
    }

    /// As [`point`](Self::point).
    pub(crate) fn area(self, area: &BoundingBox, size: (u32, u32)) -> BoundingBox {
        between(area, |at| self.point(at, size))
    }

    /// As [`point_back`](Self::point_back).
    pub(crate) fn area_back(self, area: &BoundingBox, size: (u32, u32)) -> BoundingBox {
        between(area, |at| self.point_back(at, size))
    }

    /// As [`point_back`](Self::point_back).
    pub(crate) fn landmarks_back(self, landmarks: &Landmarks, size: (u32, u32)) -> Landmarks {
        Landmarks(landmarks.0.map(|at| self.point_back(at, size)))
    }
}

/// The box between two opposite corners, wherever they come to lie.
fn between(area: &BoundingBox, place: impl Fn(Point) -> Point) -> BoundingBox {
    let one = place(Point::new(area.x, area.y));
    let other = place(Point::new(area.x + area.width, area.y + area.height));
    let (x, y) = (one.x.min(other.x), one.y.min(other.y));
    BoundingBox::new(x, y, (one.x - other.x).abs(), (one.y - other.y).abs())
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_point_goes_where_its_pixel_goes_and_comes_back() {
        let mut picture = RgbImage::new(7, 4);
        picture.put_pixel(2, 1, Rgb([255; 3]));
        let size = picture.dimensions();
        let middle = Point::new(2.0, 1.0);
        for rotation in ROTATIONS {
            let mut rotated = picture.clone();
            Rotation::change(&mut rotated, None, Some(rotation));
            assert_eq!(rotated.dimensions(), Rotation::size(Some(rotation), size));
            let at = rotation.point(middle, size);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside")]
            let pixel = rotated.get_pixel(at.x as u32, at.y as u32);
            assert_eq!(pixel.0, [255; 3], "{rotation:?}");
            assert_eq!(rotation.point_back(at, size), middle);
            let area = BoundingBox::new(1.0, 0.5, 3.0, 2.0);
            let there = rotation.area(&area, size);
            assert_eq!(rotation.area_back(&there, size), area, "{rotation:?}");
            let sides = if rotation == Rotation::Half { (3.0, 2.0) } else { (2.0, 3.0) };
            assert_eq!((there.width, there.height), sides);
        }
    }

    #[test]
    fn a_picture_can_be_brought_from_any_way_of_holding_it_to_any_other() {
        let upright =
            RgbImage::from_fn(
                5,
                3,
                |x, y| Rgb([x, y, 9].map(|value| u8::try_from(value).unwrap())),
            );
        let ways =
            [None, Some(Rotation::Quarter), Some(Rotation::Half), Some(Rotation::ThreeQuarters)];
        let held = |way| {
            let mut picture = upright.clone();
            Rotation::change(&mut picture, None, way);
            picture
        };
        for from in ways {
            for to in ways {
                let mut picture = held(from);
                Rotation::change(&mut picture, from, to);
                assert_eq!(picture, held(to), "{from:?} {to:?}");
            }
        }
    }
}

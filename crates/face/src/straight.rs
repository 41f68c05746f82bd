//! Tilted heads: cuts out of an image that show it turned by an angle.
//!
//! Every net was trained on upright faces. Of a head that leans to a shoulder by 45° the detector
//! is unsure or sees nothing, landmarks are less exact, and the pose is wrong, although the aligned
//! face, which is always upright, is as good as any other. So an image is searched turned as well,
//! and a tilted face is cut out upright, detected once more, and measured there. Its embedding is
//! made of the pixels of the image, not of this cut.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of crops: positive and far from the ends of the range"
)]

use image::RgbImage;

use super::{
    align::cut,
    detect::Detector,
    detection::Detection,
    error::FaceError,
    geometry::{BoundingBox, Landmarks, Point},
};

/// Degrees of tilt from which a face is looked at again. Nets lose little below.
const TILTED_DEG: f32 = 12.0;
/// Sides of the cut, in sides of the face: what the detector needs around a face.
const SURROUNDINGS: f32 = 3.0;
/// The cut has at most so many pixels on a side; its face then has 107, more than the inputs of the
/// nets that look at it.
const MOST_SIDE: f32 = 320.0;
/// The longer side at which the cut is searched; a face of usual proportions then has 53 pixels.
const DETECTED_SIDE: u32 = 160;
/// Two confidences in one face that differ by less are the same: they vary by that much with its
/// size.
const AS_SURE: f32 = 0.03;
/// A detection is the same face if its centre is nearer than this, in sides of the face.
const NEAR: f32 = 0.5;

/// A square cut out of an image, and how it lies there.
#[derive(Debug)]
struct TurnedCut {
    picture: RgbImage,
    sin: f32,
    cos: f32,
    /// Pixels of the image per pixel of the cut.
    scale: f32,
    /// The middle of the cut, in pixels of the image.
    centre: Point,
    /// The middle of the cut, in its pixels, on both axes.
    middle: f32,
}

impl TurnedCut {
    /// `side` pixels of `scale` pixels of the image each, around `centre`, with a line that falls
    /// by `degrees` to the right in the image made horizontal. Black beyond the image.
    fn new(image: &RgbImage, centre: Point, degrees: f32, side: f32, scale: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let side = side.ceil();
        let middle = (side - 1.0) / 2.0;
        let mut turned = Self { picture: RgbImage::default(), sin, cos, scale, centre, middle };
        let origin = turned.in_image(Point::default());
        let [along, across] = [scale * cos, scale * sin].map(f64::from);
        let matrix = [[along, -across, f64::from(origin.x)], [across, along, f64::from(origin.y)]];
        turned.picture = cut(image, &matrix, (side as usize, side as usize)).0.to_image();
        turned
    }

    /// A point of the cut, in pixels of the image.
    fn in_image(&self, at: Point) -> Point {
        let (x, y) = (self.scale * (at.x - self.middle), self.scale * (at.y - self.middle));
        Point::new(
            self.centre.x + self.cos * x - self.sin * y,
            self.centre.y + self.sin * x + self.cos * y,
        )
    }

    /// A point of the image, in pixels of the cut.
    fn in_cut(&self, at: Point) -> Point {
        let (x, y) = ((at.x - self.centre.x) / self.scale, (at.y - self.centre.y) / self.scale);
        Point::new(
            self.middle + self.cos * x + self.sin * y,
            self.middle - self.sin * x + self.cos * y,
        )
    }

    /// A face of the cut, in pixels of the image; its box has the same sides and is not turned.
    fn face_in_image(&self, face: &Detection) -> Detection {
        let area = moved(&face.area, self.in_image(face.area.centre()), self.scale);
        let landmarks = Landmarks(face.landmarks.0.map(|at| self.in_image(at)));
        Detection { area, landmarks, ..*face }
    }

    /// The reverse of [`face_in_image`](Self::face_in_image).
    fn face_in_cut(&self, face: &Detection) -> Detection {
        let area = moved(&face.area, self.in_cut(face.area.centre()), 1.0 / self.scale);
        let landmarks = Landmarks(face.landmarks.0.map(|at| self.in_cut(at)));
        Detection { area, landmarks, ..*face }
    }
}

/// A box of the same proportions around another centre.
fn moved(area: &BoundingBox, centre: Point, scale: f32) -> BoundingBox {
    let (width, height) = (area.width * scale, area.height * scale);
    BoundingBox::new(centre.x - width / 2.0, centre.y - height / 2.0, width, height)
}

/// The faces of an image that is searched turned by `degrees`, counter-clockwise, with its longer
/// side brought to `long_side` pixels; in pixels of the image.
///
/// # Errors
/// As [`Detector::detect_at`].
pub(super) fn detect_turned(
    image: &RgbImage,
    degrees: f32,
    long_side: u32,
    detector: &mut Detector,
) -> Result<Vec<Detection>, FaceError> {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let scale = width.max(height) / long_side as f32;
    let (sin, cos) = degrees.to_radians().sin_cos();
    let side = (width * cos.abs() + height * sin.abs()).max(width * sin.abs() + height * cos.abs());
    let centre = Point::new((width - 1.0) / 2.0, (height - 1.0) / 2.0);
    let turned = TurnedCut::new(image, centre, degrees, side / scale, scale);
    let found = detector.detect_at(&turned.picture, turned.picture.width())?;
    Ok(found.iter().map(|face| turned.face_in_image(face)).collect())
}

/// A face, upright.
#[derive(Debug)]
pub(super) struct StraightFace {
    cut: TurnedCut,
    /// Where the face lies in the cut, and the confidence in it.
    pub(super) face: Detection,
}

impl StraightFace {
    /// Looks again at a face that is tilted by its refined landmarks; those of the detector do not
    /// show it. `None` if it is not, or if the detector is less sure of it upright.
    ///
    /// # Errors
    /// As [`Detector::detect_at`].
    pub(super) fn of_tilted(
        image: &RgbImage,
        face: &Detection,
        landmarks: &Landmarks,
        detector: &mut Detector,
    ) -> Result<Option<Self>, FaceError> {
        if landmarks.roll().abs() < TILTED_DEG {
            return Ok(None);
        }
        let (cut, found) = look(image, face, landmarks.roll(), detector)?;
        let sure = found.filter(|found| found.confidence > face.confidence - AS_SURE);
        Ok(sure.map(|face| Self { cut, face }))
    }

    /// Looks again at a face of [`detect_turned`], whose landmarks show how it is tilted.
    ///
    /// # Errors
    /// As [`Detector::detect_at`].
    pub(super) fn of_turned(
        image: &RgbImage,
        face: &Detection,
        detector: &mut Detector,
    ) -> Result<Self, FaceError> {
        let (cut, found) = look(image, face, face.landmarks.roll(), detector)?;
        let seen = found.unwrap_or_else(|| cut.face_in_cut(face));
        let confidence = seen.confidence.max(face.confidence);
        Ok(Self { cut, face: Detection { confidence, ..seen } })
    }

    /// The pixels of the face with its surroundings; black beyond the image.
    pub(super) fn picture(&self) -> &RgbImage {
        &self.cut.picture
    }

    /// Landmarks in pixels of the image, from those of the cut.
    pub(super) fn in_image(&self, landmarks: &Landmarks) -> Landmarks {
        Landmarks(landmarks.0.map(|at| self.cut.in_image(at)))
    }
}

/// The cut around a face with this tilt in degrees, and the face that the detector finds in its
/// middle.
fn look(
    image: &RgbImage,
    face: &Detection,
    tilt: f32,
    detector: &mut Detector,
) -> Result<(TurnedCut, Option<Detection>), FaceError> {
    let side = face.area.width.max(face.area.height).max(1.0);
    let pixels = (SURROUNDINGS * side).min(MOST_SIDE);
    let scale = SURROUNDINGS * side / pixels;
    let cut = TurnedCut::new(image, face.area.centre(), tilt, pixels, scale);
    let found = detector.detect_at(&cut.picture, DETECTED_SIDE.min(2 * pixels as u32))?;
    let middle = Point::new(cut.middle, cut.middle);
    let reach = NEAR * side / scale;
    let same = found.into_iter().filter(|found| found.area.centre().distance(middle) < reach);
    let surest = same.max_by(|a, b| a.confidence.total_cmp(&b.confidence));
    Ok((cut, surest))
}

//! Tilted heads: crops that rotate an image by an angle.
//!
//! Every net was trained on upright faces. Of a head that leans to a shoulder by 45° the detector
//! is unsure or finds nothing, landmarks are less exact, and the pose is wrong, although the
//! aligned face, which is always upright, is unaffected. So an image is searched at an angle too,
//! and a tilted face is cropped upright, detected again, and measured there. Its embedding is made
//! of the pixels of the image, not of the crop.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of crops: positive and far from the ends of the range"
)]

use image::RgbImage;

use super::{
    align::{AlignmentTransform, crop},
    detect::Detector,
    detection::Detection,
    error::FaceError,
    geometry::{BoundingBox, Landmarks, Point},
};

/// Degrees of tilt from which a face is detected again. Nets lose little below.
const TILTED_DEG: f32 = 12.0;
/// Sides of the crop, in sides of the face: what the detector needs around a face.
const SURROUNDINGS: f32 = 3.0;
/// The crop has at most so many pixels on a side; its face then has 107, more than the inputs of
/// the nets that get it.
const MOST_SIDE: f32 = 320.0;
/// The longer side at which the crop is searched; a face of usual proportions then has 53 pixels.
const DETECTED_SIDE: u32 = 160;
/// Two confidences in one face that differ by less are the same: they vary by that much with its
/// size.
const AS_SURE: f32 = 0.03;
/// A detection is the same face if its centre is nearer than this, in sides of the face.
const NEAR: f32 = 0.5;

/// A square crop of an image that was rotated.
#[derive(Debug)]
pub(super) struct RotatedCrop {
    /// Black beyond the image.
    pub(super) pixels: RgbImage,
    /// From the image to the crop.
    transform: AlignmentTransform,
}

impl RotatedCrop {
    /// `side` pixels of `scale` pixels of the image each, around `centre`. A line that falls by
    /// `degrees` to the right in the image is horizontal in the crop.
    fn new(image: &RgbImage, centre: Point, degrees: f32, side: f32, scale: f32) -> Self {
        let side = side.ceil();
        let middle = Point::new((side - 1.0) / 2.0, (side - 1.0) / 2.0);
        let transform = AlignmentTransform::rotation(centre, middle, degrees, scale);
        let pixels = crop(image, &transform, (side as usize, side as usize)).to_image();
        Self { pixels, transform }
    }

    /// Landmarks of the crop, in pixels of the image.
    pub(super) fn landmarks_in_image(&self, landmarks: &Landmarks) -> Landmarks {
        Landmarks(landmarks.0.map(|at| self.transform.apply_inverse(at)))
    }

    /// A face of the crop, in pixels of the image; its box has the same sides and is not rotated.
    fn face_in_image(&self, face: &Detection) -> Detection {
        mapped(face, 1.0 / self.transform.scale() as f32, |at| self.transform.apply_inverse(at))
    }

    /// The reverse of [`face_in_image`](Self::face_in_image).
    fn face_in_crop(&self, face: &Detection) -> Detection {
        mapped(face, self.transform.scale() as f32, |at| self.transform.apply(at))
    }
}

/// A face whose points are mapped, with a box of the same proportions around the mapped centre.
fn mapped(face: &Detection, scale: f32, map: impl Fn(Point) -> Point) -> Detection {
    let centre = map(face.area.centre());
    let (width, height) = (face.area.width * scale, face.area.height * scale);
    let area = BoundingBox::new(centre.x - width / 2.0, centre.y - height / 2.0, width, height);
    Detection { area, landmarks: Landmarks(face.landmarks.0.map(map)), ..*face }
}

/// The faces of an image that is searched rotated by `degrees`, counter-clockwise, with its longer
/// side brought to `long_side` pixels; in pixels of the image.
///
/// # Errors
/// As [`Detector::detect_at`].
pub(super) fn detect_at_angle(
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
    let rotated = RotatedCrop::new(image, centre, degrees, side / scale, scale);
    let found = detector.detect_at(&rotated.pixels, rotated.pixels.width())?;
    Ok(found.iter().map(|face| rotated.face_in_image(face)).collect())
}

/// Detects a face again, upright, if it is tilted by its landmarks; they must be refined, because
/// those of the detector do not show the tilt. `None` if it is not, or if the detector is less sure
/// of it upright.
///
/// # Errors
/// As [`Detector::detect_at`].
pub(super) fn crop_tilted(
    image: &RgbImage,
    face: &Detection,
    detector: &mut Detector,
) -> Result<Option<(RotatedCrop, Detection)>, FaceError> {
    if face.landmarks.roll().abs() < TILTED_DEG {
        return Ok(None);
    }
    let (crop, found) = detect_upright(image, face, detector)?;
    let sure = found.filter(|found| found.confidence > face.confidence - AS_SURE);
    Ok(sure.map(|face| (crop, face)))
}

/// Detects a face of [`detect_at_angle`] again, upright.
///
/// # Errors
/// As [`Detector::detect_at`].
pub(super) fn crop_found_at_angle(
    image: &RgbImage,
    face: &Detection,
    detector: &mut Detector,
) -> Result<(RotatedCrop, Detection), FaceError> {
    let (crop, found) = detect_upright(image, face, detector)?;
    let found = found.unwrap_or_else(|| crop.face_in_crop(face));
    let confidence = found.confidence.max(face.confidence);
    Ok((crop, Detection { confidence, ..found }))
}

/// The crop around a face that makes its eyes level, and the face that the detector finds in its
/// middle.
fn detect_upright(
    image: &RgbImage,
    face: &Detection,
    detector: &mut Detector,
) -> Result<(RotatedCrop, Option<Detection>), FaceError> {
    let side = face.area.width.max(face.area.height).max(1.0);
    let pixels = (SURROUNDINGS * side).min(MOST_SIDE);
    let scale = SURROUNDINGS * side / pixels;
    let centre = face.area.centre();
    let crop = RotatedCrop::new(image, centre, face.landmarks.roll(), pixels, scale);
    let found = detector.detect_at(&crop.pixels, DETECTED_SIDE.min(2 * pixels as u32))?;
    let middle = crop.transform.apply(centre);
    let reach = NEAR * side / scale;
    let same = found.into_iter().filter(|found| found.area.centre().distance(middle) < reach);
    let surest = same.max_by(|a, b| a.confidence.total_cmp(&b.confidence));
    Ok((crop, surest))
}

//! Face detection with `YuNet`: letterbox, run, decode the three strides, suppress doubles.
//!
//! The net was trained on faces of about 10 to 300 pixels and finds one of 40 as well as one of
//! 200, so the image is reduced, and searched at a larger size only for small faces: see the pack's
//! `long_sides` and `near`. Boxes and landmarks are in pixels of the image.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixel arithmetic: every value is checked or clamped to its range"
)]

use std::borrow::Cow;

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image::RgbImage;

use super::{
    detection::Detection,
    error::FaceError,
    geometry::{BoundingBox, Landmarks, Point},
    manifest::{DetectorNet, Located},
    nms::suppress,
    session::{NetSession, Placement, Runtime},
};

/// Cell sizes of the three output maps, in pixels of the net's input.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Both sides of the input are multiples of this.
const ALIGNMENT: u32 = 32;
/// Images whose longer side is below this are doubled: their faces are below the training range.
const TINY: u32 = 160;

/// Maximum memory that the resizer keeps for the next image.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// How far a face may reach beyond the image, as a multiple of its longer side.
const MAX_REACH: f32 = 4.0;

/// Memory for inputs with more pixels is not kept, because they are rare.
const MAX_KEPT_PIXELS: usize = 640 * 640;

/// Memory of the net and its input per pixel of a large input, in bytes. 49 were measured with
/// YuNet-s and ONNX Runtime 1.28, with 2560 pixels on the longer side.
const LARGE_BYTES_PER_PIXEL: u64 = 56;

/// The detector with its sessions and buffers.
#[derive(Debug)]
pub struct Detector {
    net: DetectorNet,
    session: NetSession,
    /// The same net for large inputs, which keeps no memory.
    large: NetSession,
    resizer: Resizer,
}

impl Detector {
    /// Opens the detector of a pack.
    ///
    /// # Errors
    /// As [`NetSession::open`].
    pub fn open(runtime: &Runtime, located: &Located<DetectorNet>) -> Result<Self, FaceError> {
        let open = |placement| NetSession::open(runtime, located, &located.net.weights, placement);
        let (session, large) =
            (open(Placement::CallingThread)?, open(Placement::CallingThreadShrinking)?);
        Ok(Self { net: located.net.clone(), session, large, resizer: Resizer::new() })
    }

    /// The longer sides at which an image of this size is searched, in order: those of the pack,
    /// none larger than the image. A value may occur twice.
    pub fn long_sides(&self, (width, height): (u32, u32)) -> Vec<u32> {
        let long = width.max(height);
        let natural = if long < TINY { long * 2 } else { long };
        self.net.long_sides.iter().map(|side| *side.min(&natural)).collect()
    }

    /// The largest of them.
    pub(crate) fn closest_side(&self, size: (u32, u32)) -> u32 {
        self.long_sides(size).into_iter().max().unwrap_or_default()
    }

    /// A face with fewer pixels in the net's input on its shorter side needs a pass at a larger
    /// size.
    pub(crate) fn near(&self) -> f32 {
        self.net.near
    }

    /// The confidence from which a face counts as upright, if the pack has one.
    pub(crate) fn sure(&self) -> Option<f32> {
        self.net.sure
    }

    /// All faces found with the longer side of the picture brought to `long_side` pixels.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`].
    pub fn detect_at(
        &mut self,
        picture: &RgbImage,
        long_side: u32,
    ) -> Result<Vec<Detection>, FaceError> {
        let small = self.resize(picture, long_side)?;
        let (sx, sy) = (
            picture.width() as f32 / small.width() as f32,
            picture.height() as f32 / small.height() as f32,
        );
        let mut found = self.run(&small)?;
        for detection in &mut found {
            *detection = detection.scaled(sx, sy);
        }
        Ok(found)
    }

    /// Resizes with an antialiasing triangle filter so that the longer side has `long_side` pixels.
    fn resize<'a>(
        &mut self,
        picture: &'a RgbImage,
        long_side: u32,
    ) -> Result<Cow<'a, RgbImage>, FaceError> {
        let (width, height) = picture.dimensions();
        let (to_width, to_height) = scaled((width, height), long_side);
        if (to_width, to_height) == (width, height) {
            return Ok(Cow::Borrowed(picture));
        }
        let failed = |error: &dyn std::error::Error| FaceError::Contract {
            net: "resize".to_owned(),
            expected: "a resized image".to_owned(),
            found: error.to_string(),
        };
        let mut resized = RgbImage::new(to_width, to_height);
        // Typed: the untyped interface compiles the resizing of all thirteen types of pixel.
        let source = TypedImageRef::<U8x3>::from_buffer(width, height, picture.as_raw())
            .map_err(|e| failed(&e))?;
        let mut target = TypedImage::<U8x3>::from_buffer(to_width, to_height, &mut resized)
            .map_err(|e| failed(&e))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize_typed(&source, &mut target, &options).map_err(|e| failed(&e))?;
        // Between its two passes it has as many columns as the picture, and would keep them.
        if self.resizer.size_of_internal_buffers() > MAX_KEPT_BYTES {
            self.resizer.reset_internal_buffers();
        }
        Ok(Cow::Owned(resized))
    }

    /// Detects at the picture's own size; coordinates are its pixels.
    fn run(&mut self, picture: &RgbImage) -> Result<Vec<Detection>, FaceError> {
        let (width, height) = (padded(picture.width()), padded(picture.height()));
        let tensor = letterbox(picture, width, height);
        let is_large = width * height > MAX_KEPT_PIXELS;
        let session = if is_large { &mut self.large } else { &mut self.session };
        let outputs: [Vec<f32>; 12] = session.run(
            &tensor,
            (width, height),
            [
                "cls_8", "cls_16", "cls_32", "obj_8", "obj_16", "obj_32", "bbox_8", "bbox_16",
                "bbox_32", "kps_8", "kps_16", "kps_32",
            ],
        )?;
        if is_large {
            // The outputs kept their arena from being released. The smallest possible run releases
            // it now.
            let least = ALIGNMENT as usize;
            let _: [Vec<f32>; 1] =
                session.run(&vec![0.0; 3 * least * least], (least, least), ["cls_8"])?;
        }
        let mut found = Vec::new();
        for (i, stride) in STRIDES.into_iter().enumerate() {
            let columns = width / stride;
            let cells = columns * (height / stride);
            let map = OutputMap { stride, columns, cells, floor: self.net.confidence };
            let lengths = [0, 3, 6, 9].map(|k| outputs[k + i].len());
            if lengths != [cells, cells, cells * 4, cells * 10] {
                return Err(FaceError::Contract {
                    net: self.session.name().to_owned(),
                    expected: format!("maps of {cells} cells at stride {stride}"),
                    found: format!("{lengths:?} numbers"),
                });
            }
            map.decode(&outputs[i], &outputs[3 + i], &outputs[6 + i], &outputs[9 + i], &mut found);
        }
        Ok(suppress(found, self.net.nms_iou))
    }
}

/// Memory of [`Detector::detect_at`] for an image of this size, in bytes, beyond what it always
/// keeps.
pub(super) fn working_bytes(size: (u32, u32), long_side: u32) -> u64 {
    let (width, height) = scaled(size, long_side);
    let pixels = padded(width) * padded(height);
    if pixels > MAX_KEPT_PIXELS { pixels as u64 * LARGE_BYTES_PER_PIXEL } else { 0 }
}

/// Width and height of a picture whose longer side is brought to `long_side`.
fn scaled((width, height): (u32, u32), long_side: u32) -> (u32, u32) {
    let scale = f64::from(long_side) / f64::from(width.max(height));
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    (side(width), side(height))
}

/// A side of the net's input.
fn padded(side: u32) -> usize {
    side.next_multiple_of(ALIGNMENT) as usize
}

/// BGR planes, 0 to 255, the picture in the top left corner and zeros elsewhere.
fn letterbox(picture: &RgbImage, width: usize, height: usize) -> Vec<f32> {
    let mut tensor = vec![0.0_f32; 3 * width * height];
    let columns = picture.width() as usize;
    let (blue, rest) = tensor.split_at_mut(width * height);
    let (green, red) = rest.split_at_mut(width * height);
    for (y, line) in picture.as_raw().chunks_exact(columns * 3).enumerate() {
        let at = y * width..y * width + columns;
        let planes = red[at.clone()].iter_mut().zip(&mut green[at.clone()]).zip(&mut blue[at]);
        for (((r, g), b), pixel) in planes.zip(line.chunks_exact(3)) {
            (*r, *g, *b) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
        }
    }
    tensor
}

/// One of the three output maps; cells lie row by row.
struct OutputMap {
    stride: usize,
    columns: usize,
    cells: usize,
    floor: f32,
}

impl OutputMap {
    /// Centre = (column + dx, row + dy) · stride, size = exp(dw, dh) · stride, landmark =
    /// (column + kx, row + ky) · stride, confidence = √(class · objectness).
    fn decode(
        &self,
        cls: &[f32],
        obj: &[f32],
        bbox: &[f32],
        kps: &[f32],
        found: &mut Vec<Detection>,
    ) {
        let stride = self.stride as f32;
        for cell in 0..self.cells {
            let confidence = (cls[cell].clamp(0.0, 1.0) * obj[cell].clamp(0.0, 1.0)).sqrt();
            if confidence < self.floor {
                continue;
            }
            let column = (cell % self.columns) as f32;
            let row = (cell / self.columns) as f32;
            let b = &bbox[cell * 4..cell * 4 + 4];
            let (width, height) = (b[2].exp() * stride, b[3].exp() * stride);
            let area = BoundingBox::new(
                (column + b[0]) * stride - width / 2.0,
                (row + b[1]) * stride - height / 2.0,
                width,
                height,
            );
            let k = &kps[cell * 10..cell * 10 + 10];
            let landmarks = Landmarks(std::array::from_fn(|i| {
                Point::new((column + k[2 * i]) * stride, (row + k[2 * i + 1]) * stride)
            }));
            let face = Detection { area, landmarks, confidence };
            if face.lies_within(self.reach()) {
                found.push(face);
            }
        }
    }

    /// A detection that reaches farther than this is no face: a multiple of the input's longer
    /// side, in pixels.
    fn reach(&self) -> f32 {
        let rows = self.cells / self.columns.max(1);
        (self.columns.max(rows) * self.stride) as f32 * MAX_REACH
    }
}

/// The face to compare: the one that a hint overlaps most, else the largest, where faces away from
/// the picture's middle count for less.
///
/// A hint that overlaps nothing is ignored: clients send boxes of other pictures and of other
/// sizes. Only the part of a box inside the picture counts, and it is weighted by exp(−d²), d = 0
/// in the middle and 1 at the middle of a side: a passer-by at the border who stands nearer to the
/// camera is not the person. On LFW this takes the wrong face 3 times where the plain area does so
/// 16 times.
pub(crate) fn choose<'a>(
    faces: &'a [Detection],
    hint: Option<&BoundingBox>,
    (width, height): (u32, u32),
) -> Option<&'a Detection> {
    let hinted = hint.and_then(|hint| {
        let overlaps = faces.iter().map(|face| (face, face.area.iou(hint)));
        overlaps.filter(|(_, iou)| *iou > 0.0).max_by(|a, b| a.1.total_cmp(&b.1))
    });
    if let Some((face, _)) = hinted {
        return Some(face);
    }
    let (width, height) = (width as f32, height as f32);
    let picture = BoundingBox::new(0.0, 0.0, width, height);
    let weight = |face: &Detection| {
        let centre = face.area.centre();
        let (dx, dy) = (2.0 * centre.x / width - 1.0, 2.0 * centre.y / height - 1.0);
        face.area.overlap(&picture) * (-(dx * dx + dy * dy)).exp()
    };
    faces.iter().max_by(|a, b| weight(a).total_cmp(&weight(b)))
}

/// A face of less than this share of the chosen one is no candidate beside it.
const SMALL: f32 = 0.25;

/// Whether a hint selects this one of the faces: it covers at least twice as large a share of it as
/// of any other one that is not small. A hint that covers the whole picture selects none.
pub(crate) fn is_selected(face: &Detection, faces: &[Detection], hint: &BoundingBox) -> bool {
    let covered = |face: &Detection| face.area.overlap(hint) / face.area.area().max(1.0);
    let own = covered(face);
    let is_rival =
        |other: &&Detection| *other != face && other.area.area() > SMALL * face.area.area();
    own > 0.0 && faces.iter().filter(is_rival).all(|rival| 2.0 * covered(rival) <= own)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn face(x: f32, side: f32) -> Detection {
        let area = BoundingBox::new(x, 0.0, side, side);
        Detection { area, landmarks: Landmarks::default(), confidence: 0.9 }
    }

    const SIZE: (u32, u32) = (200, 30);

    #[test]
    fn the_largest_face_is_chosen_unless_a_hint_overlaps_another() {
        let faces = [face(60.0, 10.0), face(100.0, 30.0)];
        assert_eq!(choose(&faces, None, SIZE), Some(&faces[1]));
        assert_eq!(
            choose(&faces, Some(&BoundingBox::new(62.0, 2.0, 5.0, 5.0)), SIZE),
            Some(&faces[0])
        );
        assert_eq!(
            choose(&faces, Some(&BoundingBox::new(500.0, 0.0, 9.0, 9.0)), SIZE),
            Some(&faces[1])
        );
        assert_eq!(choose(&[], None, SIZE), None);
    }

    #[test]
    fn a_hint_selects_a_face_unless_it_covers_another_one_too() {
        let faces = [face(0.0, 30.0), face(100.0, 30.0), face(150.0, 10.0)];
        let selected = |x: f32, width: f32| {
            let hint = BoundingBox::new(x, 0.0, width, 30.0);
            faces.iter().map(|face| is_selected(face, &faces, &hint)).collect::<Vec<_>>()
        };
        assert_eq!(selected(90.0, 50.0), [false, true, false]);
        assert_eq!(selected(0.0, 5.0), [true, false, false], "a part of it");
        assert_eq!(selected(10.0, 95.0), [true, false, false], "a little of the other one too");
        assert_eq!(selected(0.0, 130.0), [false, false, false], "both");
        assert_eq!(selected(90.0, 80.0), [false, true, false], "a small one beside it");
        assert_eq!(selected(500.0, 9.0), [false, false, false], "none");
    }

    #[test]
    fn a_slightly_larger_face_at_the_border_gives_way_to_one_in_the_middle() {
        let faces = [face(0.0, 30.0), face(88.0, 26.0)];
        assert_eq!(choose(&faces, None, SIZE), Some(&faces[1]));
        let much_larger = [face(-10.0, 90.0), face(88.0, 20.0)];
        assert_eq!(choose(&much_larger, None, (200, 90)), Some(&much_larger[0]));
    }

    #[test]
    fn a_cell_decodes_to_the_box_and_landmarks_of_the_contract() {
        let map = OutputMap { stride: 16, columns: 4, cells: 8, floor: 0.5 };
        let (mut cls, mut obj) = (vec![0.0; 8], vec![0.0; 8]);
        let (mut bbox, mut kps) = (vec![0.0; 32], vec![0.0; 80]);
        (cls[5], obj[5]) = (0.81, 1.7);
        bbox[20..24].copy_from_slice(&[0.5, 0.25, 2.0_f32.ln(), 0.0]);
        kps[50..60].copy_from_slice(&[0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 1.0, 1.0]);
        let mut found = Vec::new();
        map.decode(&cls, &obj, &bbox, &kps, &mut found);
        assert_eq!(found.len(), 1);
        assert!((found[0].confidence - 0.9).abs() < 1e-6);
        let area = found[0].area;
        assert!((area.x - 8.0).abs() < 1e-4 && (area.y - 12.0).abs() < 1e-4);
        assert!((area.width - 32.0).abs() < 1e-4 && (area.height - 16.0).abs() < 1e-4);
        assert_eq!(found[0].landmarks.right_eye(), Point::new(32.0, 16.0));
    }

    #[test]
    fn a_cell_with_a_number_that_no_face_has_is_none() {
        let map = OutputMap { stride: 16, columns: 4, cells: 8, floor: 0.5 };
        let found = |change: fn(&mut [f32], &mut [f32], &mut [f32])| {
            let (mut cls, obj) = (vec![0.9; 8], vec![0.9; 8]);
            let (mut bbox, mut kps) = (vec![0.5; 32], vec![0.5; 80]);
            change(&mut cls[3..4], &mut bbox[12..16], &mut kps[30..40]);
            let mut found = Vec::new();
            map.decode(&cls, &obj, &bbox, &kps, &mut found);
            found.len()
        };
        assert_eq!(found(|_, _, _| {}), 8);
        assert_eq!(found(|cls, _, _| cls[0] = f32::NAN), 7);
        assert_eq!(found(|_, bbox, _| bbox[0] = f32::NAN), 7);
        assert_eq!(found(|_, bbox, _| bbox[1] = f32::NEG_INFINITY), 7);
        // Finite, but its exponential is not; and one that is finite and takes forever to cut out.
        assert_eq!(found(|_, bbox, _| bbox[2] = 90.0), 7);
        assert_eq!(found(|_, bbox, _| bbox[3] = 40.0), 7);
        assert_eq!(found(|_, _, kps| kps[9] = f32::INFINITY), 7);
        assert_eq!(found(|_, _, kps| kps[4] = 1e9), 7);
    }

    #[test]
    fn the_letterbox_is_blue_first_and_zero_beyond_the_picture() {
        let picture = RgbImage::from_pixel(2, 1, Rgb([10, 20, 30]));
        let tensor = letterbox(&picture, 4, 2);
        assert_eq!(tensor[..8], [30.0, 30.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(tensor[16..18], [10.0, 10.0]);
    }
}

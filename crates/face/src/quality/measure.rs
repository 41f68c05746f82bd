//! Taking the measures of one face.

use serde::{Deserialize, Serialize};

use super::{
    face_pixels::FacePixels,
    sharpness::sharpness,
    unified::{UnifiedQuality, UnifiedTerms},
};
use crate::{align::AlignedFace, cover::Cover, detection::Detection, geometry::Landmarks};

/// What was measured on one face, in native units; names follow ISO/IEC 29794-5 where it has one.
/// [`components`](super::components::components) brings each to 0 … 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// One number for the whole, 0 to 100, fitted to the embedder's errors; absent if the pack has
    /// none.
    pub unified: Option<f32>,
    /// Pixels between the eye centres, in the picture as it was sent.
    pub inter_eye_distance_px: f32,
    /// Shorter side of the face box, pixels.
    pub face_size_px: f32,
    /// The detector's confidence, 0 to 1.
    pub confidence: f32,
    /// Length of the embedding before it was normalised; in units of the embedder's own.
    pub embedding_length: f32,
    /// Degrees the head is turned to a side, without sign; absent if the pack cannot estimate it.
    pub yaw_deg: Option<f32>,
    /// Degrees of nodding, without sign.
    pub pitch_deg: Option<f32>,
    /// Degrees between the line of the eyes and the horizontal of the picture as it was sent,
    /// without sign: 90 if it lies on its side.
    pub roll_deg: f32,
    /// Probability that the more open eye is open, 0 to 1; absent if the pack has no eye net. (One
    /// eye alone is too often misread behind glasses or hair.)
    pub eyes_open: Option<f32>,
    /// Probability that something hides most of the eyes, such as dark glasses, 0 to 1.
    pub eyes_covered: Option<f32>,
    /// Luma that the darkest twentieth of the pixels around an eye do not exceed, at the eye where
    /// it is larger, 0 to 1: 0.2 is usual, above 0.5 light lies over that eye. Absent if more than
    /// half of the area around an eye lies outside the picture.
    pub eyes_glare: Option<f32>,
    /// Probability that something hides most of the mouth, such as a mask, 0 to 1.
    pub mouth_covered: Option<f32>,
    /// Probability that something hides most of the left or the right half of the face, 0 to 1.
    pub side_covered: Option<f32>,
    /// Fine detail of the aligned face relative to coarse detail, along the direction that has the
    /// least: 11 is usual, below 2 the face is blurred or was moving. Absent if too little of it
    /// lies in the picture.
    // Version 0.2.0 reads no null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<f32>,
    /// Noise where the aligned face is smoothest: the standard deviation in luma, or a multiple of
    /// that in colours if it is larger, of values from 0 to 255; 2.6 is usual. Absent if too little
    /// of the face lies in the picture.
    pub noise: Option<f32>,
    /// Mean luma of the face, 0 to 1.
    pub brightness: f32,
    /// Variance of the face's luma, luma from 0 to 1: 0.03 is usual.
    pub luminance_variance: f32,
    /// Entropy of the face's luma in bits, 0 to 8.
    pub dynamic_range_bits: f32,
    /// Share of the face's pixels at the white end (luma above 247), 0 to 1.
    pub over_exposed: f32,
    /// Share of the face's pixels at the black end (luma below 25), 0 to 1.
    pub under_exposed: f32,
    /// How much the histograms of the two cheeks overlap, 0 to 1: 1 is even light; absent if the
    /// picture has not both.
    pub illumination_uniformity: Option<f32>,
    /// Distance of the cheeks' colour from that of skin of any tone, in CIELAB units; absent on
    /// grey pictures.
    pub unnatural_colour: Option<f32>,
    /// Eyes to chin over the height of the picture.
    pub head_size: f32,
    /// From the eye on the picture's left to its left border, in inter-eye distances.
    pub left_margin: f32,
    /// From the eye on the picture's right to its right border, in inter-eye distances.
    pub right_margin: f32,
    /// From the eyes to the upper border, in distances from eyes to chin.
    pub margin_above: f32,
    /// From the eyes to the lower border, in distances from eyes to chin.
    pub margin_below: f32,
    /// Area of the second-largest face over that of the chosen one; 0 if it is alone.
    pub other_face: f32,
}

/// The results of the detector and the nets for one face, for [`measure`].
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Width and height of the picture in which the face is upright, pixels.
    pub size: (u32, u32),
    /// The chosen face.
    pub face: &'a Detection,
    /// Its refined landmarks.
    pub landmarks: &'a Landmarks,
    /// All faces of the picture, the chosen one included.
    pub faces: &'a [Detection],
    /// The detector's confidence in the chosen one, upright.
    pub confidence: f32,
    /// Degrees between the line of its eyes and the horizontal of the picture as it was sent.
    pub roll: f32,
    /// Degrees the head is turned to a side, if that was estimated.
    pub yaw: Option<f32>,
    /// Degrees it is raised or lowered, if that was estimated.
    pub pitch: Option<f32>,
    /// Probability that each eye is open, if a net estimated it.
    pub eyes: Option<[f32; 2]>,
    /// What hides it, if that was estimated.
    pub cover: Option<Cover>,
    /// The face in the embedder's frame.
    pub aligned: &'a AlignedFace,
    /// Length of its embedding before it was normalised.
    pub length: f32,
    /// The formula of the overall quality, if the pack has it.
    pub unified: Option<&'a UnifiedQuality>,
}

/// Takes all measures of a face.
pub fn measure(seen: &Observed<'_>) -> Measures {
    let view = FacePixels::new(seen.aligned);
    let light = view.light();
    let own = seen.face.area.area();
    let others = seen.faces.iter().filter(|f| *f != seen.face).map(|f| f.area.area());
    let framing = Framing::new(seen.landmarks, seen.size);
    let measures = Measures {
        unified: None,
        inter_eye_distance_px: seen.landmarks.inter_eye_distance(),
        face_size_px: seen.face.area.short_side(),
        confidence: seen.confidence,
        embedding_length: seen.length,
        yaw_deg: seen.yaw.map(f32::abs),
        pitch_deg: seen.pitch.map(f32::abs),
        roll_deg: seen.roll.abs(),
        eyes_open: seen.eyes.map(|[left, right]| left.max(right)),
        eyes_covered: seen.cover.map(|cover| cover.eyes),
        eyes_glare: view.eyes_darkest().map(|luma| luma / 255.0),
        mouth_covered: seen.cover.map(|cover| cover.mouth),
        side_covered: seen.cover.map(|cover| cover.side),
        sharpness: sharpness(&view),
        noise: view.noise(),
        brightness: light.mean / 255.0,
        luminance_variance: light.variance / (255.0 * 255.0),
        dynamic_range_bits: light.entropy,
        over_exposed: light.white,
        under_exposed: light.black,
        illumination_uniformity: view.cheeks_overlap(),
        unnatural_colour: view.unnatural_colour(),
        head_size: framing.head_size,
        left_margin: framing.left,
        right_margin: framing.right,
        margin_above: framing.above,
        margin_below: framing.below,
        other_face: others.fold(0.0, f32::max) / own.max(1.0),
    };
    let unified = seen.unified.map(|unified| unified.score(&measures.unified_terms()));
    Measures { unified, ..measures }
}

impl Measures {
    /// The terms of the overall quality.
    pub fn unified_terms(&self) -> UnifiedTerms {
        UnifiedTerms {
            length: self.embedding_length,
            confidence: self.confidence,
            yaw_deg: self.yaw_deg.unwrap_or_default(),
            pitch_deg: self.pitch_deg.unwrap_or_default(),
            sharpness: self.sharpness,
        }
    }
}

/// The position of a head in its image.
struct Framing {
    head_size: f32,
    left: f32,
    right: f32,
    above: f32,
    below: f32,
}

/// Eyes to chin over eyes to mouth: five landmarks have no chin, and faces differ little in this.
const CHIN: f32 = 1.72;

impl Framing {
    fn new(landmarks: &Landmarks, (width, height): (u32, u32)) -> Self {
        let (width, height) = (width as f32, height as f32);
        let (left, right) = (landmarks.left_eye(), landmarks.right_eye());
        let eyes = left.midpoint(right);
        let mouth = landmarks.0[3].midpoint(landmarks.0[4]);
        let chin = (CHIN * eyes.distance(mouth)).max(1.0);
        let apart = landmarks.inter_eye_distance().max(1.0);
        Self {
            head_size: chin / height,
            left: left.x / apart,
            right: (width - right.x) / apart,
            above: eyes.y / chin,
            below: (height - eyes.y) / chin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;

    #[test]
    fn a_head_in_the_middle_of_a_portrait_has_room_on_all_sides() {
        let points = [(80.0, 90.0), (120.0, 90.0), (100.0, 115.0), (85.0, 140.0), (115.0, 140.0)];
        let landmarks = Landmarks(points.map(|(x, y)| Point::new(x, y)));
        let framing = Framing::new(&landmarks, (200, 240));
        assert!((framing.left - 2.0).abs() < 1e-6 && (framing.right - 2.0).abs() < 1e-6);
        assert!((framing.head_size - 86.0 / 240.0).abs() < 1e-4);
        assert!((framing.above - 90.0 / 86.0).abs() < 1e-4);
        assert!((framing.below - 150.0 / 86.0).abs() < 1e-4);
    }
}

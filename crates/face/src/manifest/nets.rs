//! The contract of each net: its bytes, its input, and how what it yields is read.

use serde::{Deserialize, Serialize};

use super::Weights;
use crate::{
    degradation::{DegradationCorrection, DegradationTable},
    similarity::LengthCorrection,
};

/// The order of the colour channels that a net expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first, as `OpenCV` has it.
    Bgr,
}

/// How pixels become a net's input: `(channel − mean) · scale`, NCHW, single precision.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
pub struct Input {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Which channel comes first.
    pub(crate) order: ChannelOrder,
    /// Subtracted from each channel (0 to 255).
    #[serde(default)]
    pub(crate) mean: f32,
    /// Multiplied after that.
    #[serde(default = "one")]
    pub(crate) scale: f32,
}

const fn one() -> f32 {
    1.0
}

/// A net whose input is a crop of fixed size.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Net {
    /// Its bytes.
    #[serde(flatten)]
    pub weights: Weights,
    /// Its input.
    pub input: Input,
}

/// In which order a net yields the coordinates of landmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PointOrder {
    /// x and y of the first, x and y of the second, …
    #[default]
    Pairs,
    /// All x, then all y.
    Axes,
}

/// A net that predicts the five landmarks within a crop of a face, as shares of the crop's sides.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct LandmarkNet {
    /// Its bytes.
    #[serde(flatten)]
    pub weights: Weights,
    /// Its input.
    pub input: Input,
    /// Whether it was trained on crops whose rows and columns are exchanged; what it yields is
    /// upright.
    #[serde(default)]
    pub(crate) transposed: bool,
    /// The order of its ten numbers.
    #[serde(default)]
    pub(crate) order: PointOrder,
    /// One run for each: how much the crop is larger than the detector's box on each side, as a
    /// share of the box's side. The landmarks are the mean of all runs.
    #[serde(default = "exactly_the_box")]
    pub(crate) margins: Vec<f32>,
    /// Whether the detector's own landmarks take part in the mean, as one run more.
    #[serde(default)]
    pub(crate) with_detector: bool,
    /// Least probability, 0 to 1, that the first crop shows a face: a detection below it is none.
    /// The net's second output says so, in two numbers whose softmax is the probability of nothing
    /// and of a face. Absent: it has none.
    #[serde(default)]
    pub(crate) least_face: Option<f32>,
}

fn exactly_the_box() -> Vec<f32> {
    vec![0.0]
}

impl LandmarkNet {
    /// What is wrong with the settings, in a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let sound = |margin: &f32| (0.0..=1.0).contains(margin);
        if self.margins.is_empty() || self.margins.len() > 8 || !self.margins.iter().all(sound) {
            return Err("landmarks: margins must be one to eight numbers from 0 to 1".to_owned());
        }
        if self.least_face.is_some_and(|least| !(0.0..1.0).contains(&least)) {
            return Err("landmarks: least_face must be a probability, 0 to 1".to_owned());
        }
        Ok(())
    }

    /// Whether each number is used as a plain net for landmarks yields it.
    pub(crate) fn is_plain(&self) -> bool {
        !self.transposed
            && self.order == PointOrder::Pairs
            && self.margins == exactly_the_box()
            && !self.with_detector
            && self.least_face.is_none()
    }
}

/// A face detector of the `YuNet` family.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct DetectorNet {
    /// Its bytes.
    #[serde(flatten)]
    pub weights: Weights,
    /// Longer sides, in pixels, that are tried in this order until a face is found.
    pub long_sides: Vec<u32>,
    /// When the face that was found is smaller than this in the net's input, pixels of its shorter
    /// side, the first larger one of `long_sides` that would make it so large is tried too.
    #[serde(default)]
    pub near: f32,
    /// Least confidence of a detection, 0 to 1.
    pub(crate) confidence: f32,
    /// Intersection over union above which the less confident of two detections is dropped.
    pub(crate) nms_iou: f32,
    /// Confidence that an upright face nearly always has: below it the picture is tried on its
    /// sides and on its head too, and one that gives a face at least that sure is taken; a less
    /// sure one only if the pack has a `face_check` that it passes and nothing upright does.
    /// Absent: pictures are never turned.
    #[serde(default)]
    pub(crate) sure: Option<f32>,
}

impl DetectorNet {
    /// What is wrong with the settings, in a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let ascending = self.long_sides.windows(2).all(|pair| pair[0] < pair[1]);
        if self.long_sides.is_empty() {
            Err("detector: long_sides is empty: it needs at least one size".to_owned())
        } else if !(self.near.is_finite() && self.near >= 0.0) {
            Err(format!(
                "detector: near is {}, and must be a number of pixels, 0 or more",
                self.near
            ))
        } else if self.near > 0.0 && !ascending {
            Err("detector: with near, long_sides must go from the smallest to the largest"
                .to_owned())
        } else {
            Ok(())
        }
    }
}

/// A classifier of one eye.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct EyesNet {
    /// Its bytes.
    #[serde(flatten)]
    pub weights: Weights,
    /// Its input.
    pub(crate) input: Input,
    /// Side of the square around an eye, in inter-eye distances.
    pub(crate) crop: f32,
    /// Which output channel means *open*.
    pub(crate) open_channel: usize,
}

/// A net that embeds an aligned face.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct EmbedderNet {
    /// Its bytes.
    #[serde(flatten)]
    pub weights: Weights,
    /// Its input, the size of the aligned face.
    pub input: Input,
    /// Length of the embedding.
    pub(crate) dimension: usize,
    /// Where the five landmarks lie in the template frame, (x, y) in pixels of that frame.
    pub template: [[f32; 2]; 5],
    /// Width and height of the template frame, which is then stretched to the input's size.
    pub(crate) template_size: [f32; 2],
    /// Whether the net sees the face and its mirror image, and the embedding is the sum of both; it
    /// takes twice the time.
    #[serde(default)]
    pub(crate) mirrored: bool,
    /// What the lengths of two embeddings say about their cosine; absent: nothing.
    #[serde(default)]
    pub(crate) length: Option<LengthCorrection>,
    /// What the degradations of two faces say about their cosine; absent: nothing.
    #[serde(default)]
    pub(crate) degradations: Option<DegradationCorrection>,
}

impl EmbedderNet {
    /// The table of `degradations`.
    ///
    /// # Errors
    /// A sentence when there is no such table, or when it does not fit.
    pub(crate) fn degradation_table(&self) -> Result<Option<DegradationTable>, String> {
        self.degradations.as_ref().map(|correction| correction.table(self.dimension)).transpose()
    }
}

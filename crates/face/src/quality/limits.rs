//! The limits of the quality measures.

use serde::{Deserialize, Serialize};

use super::reasons::{Reason, ReasonCode};

/// Where one measure warns and where it fails; an absent limit never produces a reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// FAIL under this value.
    #[serde(default)]
    pub fail_below: Option<f32>,
    /// Warning under this value.
    #[serde(default)]
    pub warn_below: Option<f32>,
    /// FAIL over this value.
    #[serde(default)]
    pub fail_above: Option<f32>,
    /// Warning over this value.
    #[serde(default)]
    pub warn_above: Option<f32>,
}

/// The limits of all measures for one kind of picture, by the names in [`Measures`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described where it is measured")]
pub struct QualityLimits {
    pub(crate) unified: Bounds,
    pub(crate) inter_eye_distance_px: Bounds,
    pub(crate) face_size_px: Bounds,
    pub(crate) confidence: Bounds,
    pub yaw_deg: Bounds,
    pub(crate) pitch_deg: Bounds,
    pub roll_deg: Bounds,
    pub(crate) eyes_open: Bounds,
    pub(crate) eyes_covered: Bounds,
    pub(crate) eyes_glare: Bounds,
    pub(crate) mouth_covered: Bounds,
    pub(crate) side_covered: Bounds,
    pub sharpness: Bounds,
    pub(crate) noise: Bounds,
    pub(crate) brightness: Bounds,
    pub(crate) luminance_variance: Bounds,
    pub(crate) dynamic_range_bits: Bounds,
    pub(crate) over_exposed: Bounds,
    pub(crate) under_exposed: Bounds,
    pub(crate) illumination_uniformity: Bounds,
    pub(crate) unnatural_colour: Bounds,
    pub(crate) head_size: Bounds,
    pub(crate) left_margin: Bounds,
    pub(crate) right_margin: Bounds,
    pub(crate) margin_above: Bounds,
    pub(crate) margin_below: Bounds,
    pub other_face: Bounds,
}

impl Bounds {
    /// The hardest limit that `value` exceeds; NaN exceeds none.
    pub(super) fn reason(
        &self,
        value: f32,
        below: ReasonCode,
        above: ReasonCode,
    ) -> Option<Reason> {
        let under = |limit: Option<f32>| limit.filter(|l| value < *l);
        let over = |limit: Option<f32>| limit.filter(|l| value > *l);
        let reason = |code, limit, fails| Reason { code, value, limit, fails };
        under(self.fail_below)
            .map(|l| reason(below, l, true))
            .or_else(|| over(self.fail_above).map(|l| reason(above, l, true)))
            .or_else(|| under(self.warn_below).map(|l| reason(below, l, false)))
            .or_else(|| over(self.warn_above).map(|l| reason(above, l, false)))
    }
}

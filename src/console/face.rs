//! The face on a picture, as the page shows it: bounding box, landmarks, and each measure with its
//! limits.

use serde::Serialize;

use super::Limits;
use crate::compare::{
    BoundingBox, Bounds, FaceReport, PictureKind, QualityVerdict, ReasonCode, bounds_of, components,
};

/// A face on its picture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Face {
    width: u32,
    height: u32,
    faces: usize,
    #[serde(rename = "box")]
    area: BoundingBox,
    landmarks: [[f32; 2]; 5],
    quality: QualityVerdict,
    measures: Vec<Measure>,
}

/// One measure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measure {
    name: &'static str,
    /// In the measure's own unit.
    value: f32,
    /// From 0, worst, to 100, best.
    score: f32,
    limits: MeasureLimits,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<MeasureReason>,
}

/// Limits for a warning and for a failure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MeasureLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_below: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warn_below: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_above: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warn_above: Option<f32>,
}

/// The limit that was exceeded.
#[derive(Debug, Serialize)]
struct MeasureReason {
    code: ReasonCode,
    limit: f32,
    fails: bool,
}

impl Face {
    /// Joins a report with the limits for pictures of its kind.
    pub(super) fn new(report: &FaceReport, kind: PictureKind, limits: &Limits) -> Self {
        let limits = match kind {
            PictureKind::Selfie => &limits.selfie,
            PictureKind::Document => &limits.document,
        };
        let measure = |component: crate::compare::Component| {
            // Several measures share a code, and only one of them has that value.
            let reason = report.quality.reasons.iter().find(|reason| {
                [component.below, component.above].contains(&reason.code)
                    && reason.value.to_bits() == component.native.to_bits()
            });
            Measure {
                name: component.measure,
                value: component.native,
                score: component.score,
                limits: bounds_of(component.measure, limits).copied().unwrap_or_default().into(),
                reason: reason.map(|r| MeasureReason {
                    code: r.code,
                    limit: r.limit,
                    fails: r.fails,
                }),
            }
        };
        Self {
            width: report.width,
            height: report.height,
            faces: report.faces,
            area: report.area,
            landmarks: report.landmarks.0.map(|point| [point.x, point.y]),
            quality: report.quality.verdict,
            measures: components(&report.quality.measures).into_iter().map(measure).collect(),
        }
    }
}

impl From<Bounds> for MeasureLimits {
    fn from(bounds: Bounds) -> Self {
        let Bounds { fail_below, warn_below, fail_above, warn_above } = bounds;
        Self { fail_below, warn_below, fail_above, warn_above }
    }
}

//! Each measure as a component of quality, 0 to 100, after OFIQ, the reference implementation of
//! ISO/IEC 29794-5.
//!
//! A component shows a person what to improve; the limits are on the native values. Where OFIQ
//! needs nets that are missing here (expression, background, head covering) there is no component;
//! where its native value differs from ours (sharpness, brightness, head size, covers) or it has
//! none (noise, glare) the mapping is ours.

use std::f32::consts::PI;

use serde::Serialize;

use super::{
    limits::{Bounds, QualityLimits},
    measure::Measures,
    reasons::ReasonCode,
};

/// One measure: its value, its limits, its reasons, and its score from 0 to 100.
pub(super) struct MeasureRow {
    name: &'static str,
    pub(super) native: fn(&Measures) -> Option<f32>,
    score: fn(f32) -> f32,
    pub(super) bounds: fn(&QualityLimits) -> &Bounds,
    pub(super) below: ReasonCode,
    pub(super) above: ReasonCode,
}

/// One measure of one face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Component {
    /// Its name in [`Measures`].
    pub measure: &'static str,
    /// What was measured, in the unit of the measure.
    pub native: f32,
    /// 0 (useless) to 100 (best).
    pub score: f32,
    /// The code of its reason below a limit.
    pub below: ReasonCode,
    /// The code of its reason above a limit.
    pub above: ReasonCode,
}

/// The components of a face; measures that the pack cannot take are left out.
pub fn components(measures: &Measures) -> Vec<Component> {
    let component = |row: &MeasureRow| {
        let native = (row.native)(measures)?;
        let score = (row.score)(native).clamp(0.0, 100.0);
        Some(Component { measure: row.name, native, score, below: row.below, above: row.above })
    };
    TABLE.iter().filter_map(component).collect()
}

/// The limits of a measure by its name; `None` for an unknown name.
pub fn bounds_of<'a>(measure: &str, limits: &'a QualityLimits) -> Option<&'a Bounds> {
    TABLE.iter().find(|row| row.name == measure).map(|row| (row.bounds)(limits))
}

/// 1 / (1 + exp((`middle` − x) / `width`)).
fn sigmoid(x: f32, middle: f32, width: f32) -> f32 {
    1.0 / (1.0 + ((middle - x) / width).exp())
}

/// 75 at 30°, 50 at 45°.
fn angle(degrees: f32) -> f32 {
    100.0 * degrees.min(90.0).to_radians().cos().powi(2)
}

fn variance(v: f32) -> f32 {
    100.0 * (PI * 60.0 * v / (60.0 * v + 1.0)).sin()
}

macro_rules! row {
    ($measure:ident, $native:expr, $score:expr, $below:ident, $above:ident) => {
        MeasureRow {
            name: stringify!($measure),
            native: $native,
            score: $score,
            bounds: |limits| &limits.$measure,
            below: ReasonCode::$below,
            above: ReasonCode::$above,
        }
    };
    ($measure:ident, $score:expr, $below:ident, $above:ident) => {
        row!($measure, |m| Some(m.$measure), $score, $below, $above)
    };
    (? $measure:ident, $score:expr, $below:ident, $above:ident) => {
        row!($measure, |m| m.$measure, $score, $below, $above)
    };
}

/// All of them; `below` and `above` are the reasons on either side of the limits.
#[rustfmt::skip]
pub(super) const TABLE: [MeasureRow; 27] = [
    row!(? unified, |x| x, LowQuality, LowQuality),
    row!(inter_eye_distance_px, |x| 100.0 * sigmoid(x, 70.0, 20.0), EyesTooClose, EyesTooClose),
    row!(face_size_px, |x| 100.0 * sigmoid(x, 100.0, 25.0), FaceTooSmall, FaceTooSmall),
    row!(confidence, |x| 100.0 * sigmoid(x, 0.8, 0.04), UncertainFace, UncertainFace),
    row!(? yaw_deg, angle, HeadTurned, HeadTurned),
    row!(? pitch_deg, angle, HeadTilted, HeadTilted),
    row!(roll_deg, angle, HeadRolled, HeadRolled),
    row!(? eyes_open, |x| 100.0 * x, EyesClosed, EyesClosed),
    row!(? eyes_covered, |x| 100.0 * (1.0 - x), EyesCovered, EyesCovered),
    row!(? eyes_glare, |x| 100.0 * (1.0 - sigmoid(x, 0.5, 0.05)), EyesGlare, EyesGlare),
    row!(? mouth_covered, |x| 100.0 * (1.0 - x), MouthCovered, MouthCovered),
    row!(? side_covered, |x| 100.0 * (1.0 - x), FaceCovered, FaceCovered),
    row!(? sharpness, |x| 100.0 * sigmoid(x.max(1e-3).ln(), 4.0_f32.ln(), 0.4), Blurred, Blurred),
    row!(? noise, |x| 100.0 * (1.0 - sigmoid(x, 9.0, 1.5)), Noisy, Noisy),
    row!(brightness, |x| 100.0 * sigmoid(x, 0.2, 0.05) * (1.0 - sigmoid(x, 0.8, 0.05)), TooDark, TooBright),
    row!(luminance_variance, variance, LowContrast, HighContrast),
    row!(dynamic_range_bits, |x| 12.5 * x, LowContrast, LowContrast),
    row!(over_exposed, |x| 1.0 / (x + 0.01), OverExposed, OverExposed),
    row!(under_exposed, |x| 100.0 * (1.0 - sigmoid(x, 0.92, 0.05)), UnderExposed, UnderExposed),
    row!(? illumination_uniformity, |x| 100.0 * x.max(0.0).powf(0.3), UnevenLight, UnevenLight),
    row!(? unnatural_colour, |x| 200.0 * (1.0 - sigmoid(x, 0.0, 10.0)), UnnaturalColour, UnnaturalColour),
    row!(head_size, |x| 200.0 * (1.0 - sigmoid((x - 0.45).abs(), 0.0, 0.05)), HeadTooSmall, HeadTooLarge),
    row!(left_margin, |x| 100.0 * sigmoid(x, 0.9, 0.1), FaceCut, FaceCut),
    row!(right_margin, |x| 100.0 * sigmoid(x, 0.9, 0.1), FaceCut, FaceCut),
    row!(margin_above, |x| 100.0 * sigmoid(x, 1.4, 0.1), FaceCut, FaceCut),
    row!(margin_below, |x| 100.0 * sigmoid(x, 1.8, 0.1), FaceCut, FaceCut),
    row!(other_face, |x| 100.0 * (1.0 - x), SeveralFaces, SeveralFaces),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn score(measure: &str, measures: &Measures) -> f32 {
        let found = components(measures);
        found.iter().find(|c| c.measure == measure).unwrap_or_else(|| panic!("{measure}")).score
    }

    #[test]
    fn components_are_those_of_the_reference_implementation() {
        let near = |score: f32, expected: f32| (score - expected).abs() < 1.0;
        let eyes = |px| {
            score(
                "inter_eye_distance_px",
                &Measures { inter_eye_distance_px: px, ..Measures::default() },
            )
        };
        assert!(near(eyes(70.0), 50.0) && near(eyes(90.0), 73.0) && near(eyes(110.0), 88.0));
        let yaw = |deg| score("yaw_deg", &Measures { yaw_deg: Some(deg), ..Measures::default() });
        assert!(near(yaw(0.0), 100.0) && near(yaw(30.0), 75.0) && near(yaw(45.0), 50.0));
        let over =
            |share| score("over_exposed", &Measures { over_exposed: share, ..Measures::default() });
        assert!(near(over(0.0), 100.0) && near(over(0.01), 50.0) && near(over(0.1), 9.0));
        let alone = Measures { other_face: 0.25, ..Measures::default() };
        assert!(near(score("other_face", &alone), 75.0));
    }

    #[test]
    fn every_measure_with_limits_is_in_the_table() {
        let limits = serde_json::to_value(QualityLimits::default()).unwrap();
        let mut limited: Vec<_> = limits.as_object().unwrap().keys().map(String::as_str).collect();
        let mut listed: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        limited.sort_unstable();
        listed.sort_unstable();
        assert_eq!(limited, listed);
    }

    #[test]
    fn every_component_lies_between_0_and_100_whatever_was_measured() {
        for value in [-1e6_f32, -1.0, 0.0, 0.5, 1.0, 45.0, 300.0, 1e6] {
            let measures = Measures {
                inter_eye_distance_px: value,
                confidence: value,
                sharpness: Some(value),
                brightness: value,
                luminance_variance: value.abs(),
                dynamic_range_bits: value,
                over_exposed: value.abs(),
                illumination_uniformity: Some(value),
                head_size: value,
                left_margin: value,
                other_face: value,
                yaw_deg: Some(value),
                ..Measures::default()
            };
            for component in components(&measures) {
                assert!((0.0..=100.0).contains(&component.score), "{component:?}");
            }
        }
    }

    #[test]
    fn what_the_pack_cannot_measure_is_no_component() {
        let found = components(&Measures::default());
        let named = |name: &str| found.iter().any(|c| c.measure == name);
        assert!(named("brightness") && !named("yaw_deg") && !named("unified"));
    }
}

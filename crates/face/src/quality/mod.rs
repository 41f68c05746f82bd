//! Photo quality: measures, their limits, and the reasons they produce.
//!
//! A FAIL forces the result "not the same person", so a limit that is too strict rejects the right
//! person. Only measures that predict errors may fail a photo; the others warn.

mod components;
mod face_pixels;
mod limits;
mod measure;
mod reasons;
mod sharpness;
mod unified;

use components::MeasureRow;
pub use components::{Component, bounds_of, components};
pub use limits::{Bounds, QualityLimits};
pub use measure::{Measures, Observed, measure};
pub use reasons::{Quality, QualityVerdict, Reason, ReasonCode};
pub use unified::{UnifiedQuality, UnifiedTerms};

/// Compares the measures with the limits.
pub fn judge(measures: Measures, limits: &QualityLimits) -> Quality {
    let reason = |row: &MeasureRow| {
        let native = (row.native)(&measures)?;
        (row.bounds)(limits).reason(native, row.below, row.above)
    };
    let mut reasons: Vec<Reason> = components::TABLE.iter().filter_map(reason).collect();
    reasons.sort_by_key(|reason| !reason.fails);
    let failed = reasons.iter().any(|reason| reason.fails);
    let verdict = if failed { QualityVerdict::Fail } else { QualityVerdict::Pass };
    Quality { verdict, reasons, measures }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Measures {
        Measures {
            inter_eye_distance_px: 90.0,
            confidence: 0.9,
            yaw_deg: Some(3.0),
            sharpness: Some(10.0),
            brightness: 0.5,
            ..Measures::default()
        }
    }

    fn limits() -> QualityLimits {
        QualityLimits {
            inter_eye_distance_px: Bounds {
                fail_below: Some(24.0),
                warn_below: Some(60.0),
                ..Bounds::default()
            },
            yaw_deg: Bounds { fail_above: Some(45.0), warn_above: Some(25.0), ..Bounds::default() },
            brightness: Bounds {
                fail_below: Some(0.08),
                fail_above: Some(0.95),
                ..Bounds::default()
            },
            pitch_deg: Bounds { fail_above: Some(1.0), ..Bounds::default() },
            ..QualityLimits::default()
        }
    }

    fn codes(measures: Measures) -> (QualityVerdict, Vec<ReasonCode>) {
        let quality = judge(measures, &limits());
        (quality.verdict, quality.reasons.iter().map(|r| r.code).collect())
    }

    #[test]
    fn a_good_face_passes_without_reasons_and_an_absent_measure_never_speaks() {
        assert_eq!(codes(fine()), (QualityVerdict::Pass, vec![]));
    }

    #[test]
    fn a_warning_passes_and_a_failure_fails_and_comes_first() {
        let turned = Measures { yaw_deg: Some(30.0), ..fine() };
        assert_eq!(codes(turned), (QualityVerdict::Pass, vec![ReasonCode::HeadTurned]));
        let worse = Measures { inter_eye_distance_px: 50.0, brightness: 0.01, ..turned };
        let expected = vec![ReasonCode::TooDark, ReasonCode::EyesTooClose, ReasonCode::HeadTurned];
        assert_eq!(codes(worse), (QualityVerdict::Fail, expected));
        assert_eq!(codes(Measures { brightness: 0.99, ..fine() }).1, [ReasonCode::TooBright]);
    }
}

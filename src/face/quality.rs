//! Is the picture good enough? Measures, their limits, and the reasons they lead to.
//!
//! A FAIL forces the answer "not the same person", so a limit that is too strict costs the right
//! person their answer. Only measures that predict errors may fail a picture; the others warn.

#![expect(
    clippy::cast_possible_truncation,
    reason = "computed in double precision, kept in single"
)]

use serde::{Deserialize, Serialize};

use super::{align::AlignedFace, attributes::HeadPose, detect::Detection, geometry::Landmarks};

/// What was measured on one face; names follow ISO/IEC 29794-5 where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Pixels between the eye centres, in the picture as it was sent.
    pub inter_eye_distance_px: f32,
    /// Shorter side of the face box, pixels.
    pub face_size_px: f32,
    /// The detector's confidence, 0 to 1.
    pub confidence: f32,
    /// Degrees the head is turned to a side, without sign; absent if the pack has no pose net.
    pub yaw_deg: Option<f32>,
    /// Degrees of nodding, without sign.
    pub pitch_deg: Option<f32>,
    /// Probability that the more open eye is open, 0 to 1; absent if the pack has no eye net. (One eye
    /// alone is too often misread behind glasses or hair.)
    pub eyes_open: Option<f32>,
    /// Fine detail of the aligned face relative to its contrast: 14 is usual, below 2 it is blurred.
    pub sharpness: f32,
    /// Mean luma of the face, 0 to 1.
    pub brightness: f32,
    /// Share of the face's pixels at the white end (luma above 247), 0 to 1.
    pub over_exposed: f32,
    /// Share of the face's pixels at the black end (luma below 25), 0 to 1.
    pub under_exposed: f32,
    /// Area of the second-largest face over that of the chosen one; 0 if it is alone.
    pub other_face: f32,
}

/// Where one measure warns and where it fails; an absent limit never speaks.
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

/// The limits of all measures for one kind of picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityLimits {
    /// See [`Measures::inter_eye_distance_px`].
    pub inter_eye_distance_px: Bounds,
    /// See [`Measures::face_size_px`].
    pub face_size_px: Bounds,
    /// See [`Measures::confidence`].
    pub confidence: Bounds,
    /// See [`Measures::yaw_deg`].
    pub yaw_deg: Bounds,
    /// See [`Measures::pitch_deg`].
    pub pitch_deg: Bounds,
    /// See [`Measures::eyes_open`].
    pub eyes_open: Bounds,
    /// See [`Measures::sharpness`].
    pub sharpness: Bounds,
    /// See [`Measures::brightness`].
    pub brightness: Bounds,
    /// See [`Measures::over_exposed`].
    pub over_exposed: Bounds,
    /// See [`Measures::under_exposed`].
    pub under_exposed: Bounds,
    /// See [`Measures::other_face`].
    pub other_face: Bounds,
}

/// What is wrong, in one word that a program can test for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReasonCode {
    /// The eyes are too few pixels apart.
    EyesTooClose,
    /// The face has too few pixels.
    FaceTooSmall,
    /// The detector is not sure that it is a face.
    UncertainFace,
    /// The head is turned to a side.
    HeadTurned,
    /// The head is lowered or raised.
    HeadTilted,
    /// Both eyes seem closed.
    EyesClosed,
    /// The face is out of focus, moved, or enlarged from few pixels.
    Blurred,
    /// The face is too dark.
    TooDark,
    /// The face is too bright.
    TooBright,
    /// Too much of the face is pure white.
    OverExposed,
    /// Too much of the face is pure black.
    UnderExposed,
    /// Another face of similar size is in the picture.
    SeveralFaces,
}

/// One measure beyond one of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What is wrong.
    pub code: ReasonCode,
    /// What was measured.
    pub value: f32,
    /// The limit it went beyond.
    pub limit: f32,
    /// Whether this alone fails the picture; otherwise it is a warning.
    pub fails: bool,
}

/// The verdict on one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum QualityVerdict {
    /// Good enough to decide on.
    Pass,
    /// Not good enough: the decision is "not the same person" whatever the score.
    Fail,
}

/// Measures, reasons and verdict of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// PASS or FAIL.
    pub verdict: QualityVerdict,
    /// Everything beyond a limit, failures first.
    pub reasons: Vec<Reason>,
    /// What was measured.
    pub measures: Measures,
}

/// What the nets and the detector said of one face, gathered for [`measure`].
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The chosen face.
    pub face: &'a Detection,
    /// Its refined landmarks.
    pub landmarks: &'a Landmarks,
    /// All faces of the picture, the chosen one included.
    pub faces: &'a [Detection],
    /// The head's pose, if a net estimated it.
    pub pose: Option<HeadPose>,
    /// Probability that each eye is open, if a net estimated it.
    pub eyes: Option<[f32; 2]>,
    /// The face in the embedder's frame.
    pub aligned: &'a AlignedFace,
}

/// Takes all measures of a face.
pub fn measure(seen: &Observed<'_>) -> Measures {
    let view = View {
        luma: seen.aligned.patch.luma(),
        inside: &seen.aligned.inside,
        width: seen.aligned.patch.width,
        height: seen.aligned.patch.height,
    };
    let light = view.light();
    let own = seen.face.area.area();
    let others = seen.faces.iter().filter(|f| *f != seen.face).map(|f| f.area.area());
    Measures {
        inter_eye_distance_px: seen.landmarks.inter_eye_distance(),
        face_size_px: seen.face.area.width.min(seen.face.area.height),
        confidence: seen.face.confidence,
        yaw_deg: seen.pose.map(|p| p.yaw.abs()),
        pitch_deg: seen.pose.map(|p| p.pitch.abs()),
        eyes_open: seen.eyes.map(|[left, right]| left.max(right)),
        sharpness: view.sharpness(),
        brightness: light.mean / 255.0,
        over_exposed: light.white,
        under_exposed: light.black,
        other_face: others.fold(0.0, f32::max) / own.max(1.0),
    }
}

/// Holds the measures against the limits.
pub fn judge(measures: Measures, limits: &QualityLimits) -> Quality {
    use ReasonCode as R;
    let m = &measures;
    let table: [(Option<f32>, &Bounds, R, R); 11] = [
        (
            Some(m.inter_eye_distance_px),
            &limits.inter_eye_distance_px,
            R::EyesTooClose,
            R::EyesTooClose,
        ),
        (Some(m.face_size_px), &limits.face_size_px, R::FaceTooSmall, R::FaceTooSmall),
        (Some(m.confidence), &limits.confidence, R::UncertainFace, R::UncertainFace),
        (m.yaw_deg, &limits.yaw_deg, R::HeadTurned, R::HeadTurned),
        (m.pitch_deg, &limits.pitch_deg, R::HeadTilted, R::HeadTilted),
        (m.eyes_open, &limits.eyes_open, R::EyesClosed, R::EyesClosed),
        (Some(m.sharpness), &limits.sharpness, R::Blurred, R::Blurred),
        (Some(m.brightness), &limits.brightness, R::TooDark, R::TooBright),
        (Some(m.over_exposed), &limits.over_exposed, R::OverExposed, R::OverExposed),
        (Some(m.under_exposed), &limits.under_exposed, R::UnderExposed, R::UnderExposed),
        (Some(m.other_face), &limits.other_face, R::SeveralFaces, R::SeveralFaces),
    ];
    let mut reasons: Vec<Reason> = table
        .into_iter()
        .filter_map(|(value, bounds, below, above)| bounds.reason(value?, below, above))
        .collect();
    reasons.sort_by_key(|reason| !reason.fails);
    let failed = reasons.iter().any(|reason| reason.fails);
    let verdict = if failed { QualityVerdict::Fail } else { QualityVerdict::Pass };
    Quality { verdict, reasons, measures }
}

impl Bounds {
    /// The hardest limit that `value` goes beyond; a value that is no number goes beyond none.
    fn reason(&self, value: f32, below: ReasonCode, above: ReasonCode) -> Option<Reason> {
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

/// Brightness of the aligned face.
struct View<'a> {
    luma: Vec<f32>,
    inside: &'a [bool],
    width: usize,
    height: usize,
}

struct Light {
    mean: f32,
    white: f32,
    black: f32,
}

/// Gaussian, sigma 1, nine taps.
const SMOOTHING: [f32; 9] = [
    0.000_133_83,
    0.004_431_86,
    0.053_991_1,
    0.241_971_4,
    0.398_943_5,
    0.241_971_4,
    0.053_991_1,
    0.004_431_86,
    0.000_133_83,
];
/// Pixels that the smoothed Laplacian of one pixel reaches.
const REACH: usize = 5;

impl View<'_> {
    /// 1000 · variance of the Laplacian of the smoothed luma ÷ variance of the luma, over the middle
    /// three quarters, where the whole neighbourhood lies inside the picture.
    ///
    /// The smoothing keeps noise and JPEG blocks from passing for detail, and the division makes a dark
    /// copy of a picture as sharp as the original; the plain variance of the Laplacian does neither.
    fn sharpness(&self) -> f32 {
        let smooth = self.smoothed();
        let (mut detail, mut contrast) = (Spread::default(), Spread::default());
        let (left, top) = ((self.width / 8).max(REACH), (self.height / 8).max(REACH));
        for y in top..self.height.saturating_sub(top) {
            for x in left..self.width.saturating_sub(left) {
                if !self.surrounded(x, y) {
                    continue;
                }
                let at = y * self.width + x;
                let around = smooth[at - 1]
                    + smooth[at + 1]
                    + smooth[at - self.width]
                    + smooth[at + self.width];
                detail.add(around - 4.0 * smooth[at]);
                contrast.add(self.luma[at]);
            }
        }
        (1_000.0 * detail.variance() / contrast.variance().max(1.0)) as f32
    }

    /// The picture's border is straight here, so the corners of the neighbourhood speak for all of it.
    fn surrounded(&self, x: usize, y: usize) -> bool {
        [
            (x - REACH, y - REACH),
            (x + REACH, y - REACH),
            (x - REACH, y + REACH),
            (x + REACH, y + REACH),
        ]
        .into_iter()
        .all(|(x, y)| self.inside[y * self.width + x])
    }

    /// Borders are left as they are: the measure does not reach them.
    fn smoothed(&self) -> Vec<f32> {
        let pass = |from: &[f32], step: usize| {
            let mut to = from.to_vec();
            let reach = 4 * step;
            for i in reach..from.len().saturating_sub(reach) {
                to[i] =
                    SMOOTHING.iter().enumerate().map(|(k, w)| w * from[i + k * step - reach]).sum();
            }
            to
        };
        pass(&pass(&self.luma, 1), self.width)
    }

    /// Luma statistics inside the ellipse that a face fills in the aligned frame.
    fn light(&self) -> Light {
        let (rx, ry) = (0.36 * self.width as f32, 0.46 * self.height as f32);
        let (cx, cy) = (self.width as f32 / 2.0, self.height as f32 / 2.0);
        let (mut n, mut sum, mut white, mut black) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
        for (i, (value, inside)) in self.luma.iter().zip(self.inside).enumerate() {
            let (dx, dy) =
                (((i % self.width) as f32 - cx) / rx, ((i / self.width) as f32 - cy) / ry);
            if *inside && dx * dx + dy * dy <= 1.0 {
                n += 1.0;
                sum += value;
                white += f32::from(u8::from(*value > 247.0));
                black += f32::from(u8::from(*value < 25.0));
            }
        }
        let n = n.max(1.0);
        Light { mean: sum / n, white: white / n, black: black / n }
    }
}

#[derive(Default)]
struct Spread {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f32) {
        let value = f64::from(value);
        self.n += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn variance(&self) -> f64 {
        if self.n < 1.0 { 0.0 } else { self.squares / self.n - (self.sum / self.n).powi(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Measures = Measures {
        inter_eye_distance_px: 90.0,
        face_size_px: 200.0,
        confidence: 0.9,
        yaw_deg: Some(3.0),
        pitch_deg: None,
        eyes_open: Some(0.9),
        sharpness: 300.0,
        brightness: 0.5,
        over_exposed: 0.0,
        under_exposed: 0.0,
        other_face: 0.0,
    };

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
        assert_eq!(codes(FINE), (QualityVerdict::Pass, vec![]));
    }

    #[test]
    fn a_warning_passes_and_a_failure_fails_and_comes_first() {
        let turned = Measures { yaw_deg: Some(30.0), ..FINE };
        assert_eq!(codes(turned), (QualityVerdict::Pass, vec![ReasonCode::HeadTurned]));
        let worse = Measures { inter_eye_distance_px: 50.0, brightness: 0.01, ..turned };
        let expected = vec![ReasonCode::TooDark, ReasonCode::EyesTooClose, ReasonCode::HeadTurned];
        assert_eq!(codes(worse), (QualityVerdict::Fail, expected));
        assert_eq!(codes(Measures { brightness: 0.99, ..FINE }).1, [ReasonCode::TooBright]);
    }

    fn view(inside: &[bool], pixel: impl Fn(f32, f32) -> f32) -> View<'_> {
        let luma = (0..64 * 64).map(|i| pixel((i % 64) as f32, (i / 64) as f32)).collect();
        View { luma, inside, width: 64, height: 64 }
    }

    #[test]
    fn finer_detail_is_sharper_whatever_the_brightness() {
        let inside = vec![true; 64 * 64];
        let fine =
            view(&inside, |x, y| 100.0 + 50.0 * (x * 1.2).sin() * (y * 1.2).cos()).sharpness();
        let dark =
            view(&inside, |x, y| 20.0 + 10.0 * (x * 1.2).sin() * (y * 1.2).cos()).sharpness();
        let coarse =
            view(&inside, |x, y| 100.0 + 50.0 * (x * 0.2).sin() * (y * 0.2).cos()).sharpness();
        assert!(fine > 10.0 * coarse && (fine / dark - 1.0).abs() < 0.05, "{fine} {dark} {coarse}");
        assert!(view(&inside, |_, _| 100.0).sharpness() < 1e-3);
    }

    #[test]
    fn what_lies_outside_the_picture_is_neither_detail_nor_darkness() {
        let inside: Vec<bool> = (0..64 * 64).map(|i| i % 64 < 32).collect();
        let half = view(&inside, |x, _| if x < 32.0 { 200.0 } else { 0.0 });
        assert!(half.sharpness() < 1e-3);
        let light = half.light();
        assert!((light.mean - 200.0).abs() < 1e-3 && light.black < 1e-6 && light.white < 1e-6);
    }
}

//! `visavis compare A B`: one comparison without a server, on the same path as a request.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use visavis_face::{
    FaceReport, Picture, PictureKind,
    geometry::BoundingBox,
    quality::{Component, Measures, QualityVerdict, Reason, ReasonCode, components},
};

use super::annotate;
use crate::{
    app,
    compare::{ClientFmr, Outcome, RequestOptions, Score, Side, Verdict},
    config::Config,
};

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 same person; 1 not the same person, or a photo is not good enough; \
                        2 error."
)]
pub(super) struct CompareArgs {
    /// Photo to verify: JPEG, PNG, BMP or WebP
    #[arg(value_name = "A")]
    probe: PathBuf,
    /// Reference photo
    #[arg(value_name = "B")]
    reference: PathBuf,
    /// B is the portrait of an identity document: applies `quality.document` and
    /// `compare.document_fmr`
    #[arg(long)]
    document: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write both photos with boxes, landmarks and verdict to this PNG file
    #[arg(long, value_name = "FILE")]
    annotate: Option<PathBuf>,
}

/// What `--json` prints if both photos show a face.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ComparedJson<'a> {
    same_person: bool,
    score: Score,
    threshold: f64,
    similarity: f32,
    /// How much lower the similarity is because both photos are degraded in the same way.
    degradation_loss: f32,
    model: &'a str,
    calibration: &'a str,
    face1: FaceJson<'a>,
    face2: FaceJson<'a>,
}

#[derive(Debug, Serialize)]
struct FaceJson<'a> {
    quality: QualityVerdict,
    /// Codes of all measures beyond a limit, warnings included.
    reasons: Vec<ReasonCode>,
    #[serde(rename = "box")]
    area: BoundingBox,
    landmarks: [[f32; 2]; 5],
    width: u32,
    height: u32,
    faces: usize,
    measures: &'a Measures,
    /// Each measure from 0 to 100.
    components: Vec<Component>,
}

impl<'a> From<&'a FaceReport> for FaceJson<'a> {
    fn from(report: &'a FaceReport) -> Self {
        Self {
            quality: report.quality.verdict,
            reasons: report.quality.reasons.iter().map(|r| r.code).collect(),
            area: report.area,
            landmarks: report.landmarks.0.map(|p| [p.x, p.y]),
            width: report.width,
            height: report.height,
            faces: report.faces,
            measures: &report.quality.measures,
            components: components(&report.quality.measures),
        }
    }
}

#[derive(Debug, Serialize)]
struct RefusedJson<'a> {
    error: &'a str,
    face: &'a str,
}

pub(super) fn run(config: &Config, args: &CompareArgs) -> Result<ExitCode> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (probe, reference) = (read(&args.probe)?, read(&args.reference)?);
    let model = app::load_model(config)?;
    let mut engine = (model.factory)()?;
    let kind = if args.document { PictureKind::Document } else { PictureKind::Selfie };
    let compared = engine.compare(
        &Picture { bytes: &probe, hint: None, kind: PictureKind::Selfie },
        &Picture { bytes: &reference, hint: None, kind },
    )?;
    // The kind of the document is not known.
    let document = args.document.then_some("");
    let fmr = config.compare.fmr_settings()?.in_force(ClientFmr::default(), document);
    let several_faces = config.compare.several_faces;
    let options = RequestOptions { fmr: Some(fmr), several_faces, ..RequestOptions::default() };
    match model.policy.decide(compared, &options) {
        Outcome::Compared(verdict) => {
            if let Some(path) = &args.annotate {
                annotate::write(path, &probe, &reference, &verdict, &config.image)?;
            }
            if args.json {
                print_json(&verdict)?;
            } else {
                print_text(args, &verdict);
            }
            Ok(ExitCode::from(u8::from(!verdict.same_person())))
        }
        Outcome::Refused { side, refusal } => {
            let (path, face) = match side {
                Side::Probe => (&args.probe, "face1"),
                Side::Reference => (&args.reference, "face2"),
            };
            let error = refusal.describe(&path.display().to_string(), &config.image);
            if args.json {
                out!("{}", serde_json::to_string_pretty(&RefusedJson { error: &error, face })?);
            }
            err!("error: {error}");
            Ok(ExitCode::from(super::FAILED))
        }
    }
}

fn print_json(verdict: &Verdict) -> Result<()> {
    let compared = ComparedJson {
        same_person: verdict.same_person(),
        score: verdict.score,
        threshold: Score::least_match(verdict.threshold).value(),
        similarity: verdict.similarity.value(),
        degradation_loss: verdict.degradation_loss,
        model: &verdict.model,
        calibration: &verdict.calibration,
        face1: verdict.probe.as_ref().into(),
        face2: verdict.reference.as_ref().into(),
    };
    out!("{}", serde_json::to_string_pretty(&compared)?);
    Ok(())
}

/// The name of the measure that caused a reason. Several measures share a code, and only one of
/// them has that value.
fn measure_of(reason: &Reason, measures: &Measures) -> &'static str {
    let components = components(measures);
    let cause = components.iter().find(|component| {
        [component.below, component.above].contains(&reason.code)
            && component.native.to_bits() == reason.value.to_bits()
    });
    cause.map_or("", |component| component.measure)
}

fn print_text(args: &CompareArgs, verdict: &Verdict) {
    let Verdict { score, threshold, similarity, .. } = verdict;
    out!("{}", annotate::headline(verdict));
    out!(
        "score {} of 100, threshold {} (similarity {:.4}; {}, {})",
        score.value(),
        Score::least_match(*threshold).value(),
        similarity.value(),
        verdict.model,
        verdict.calibration
    );
    if let Some(loss) = verdict.notable_loss() {
        out!(
            "the similarity is {loss:.4} lower because both photos are degraded in the same way: \
             compare one of them with a clear photo"
        );
    }
    for (path, face) in [(&args.probe, &verdict.probe), (&args.reference, &verdict.reference)] {
        let quality = match face.quality.verdict {
            QualityVerdict::Pass => "PASS",
            QualityVerdict::Fail => "FAIL",
        };
        let m = &face.quality.measures;
        out!(
            "{}: quality {quality}{}, {} x {} pixels, {} face{}, eyes {:.0} pixels apart{}",
            path.display(),
            m.unified.map_or_else(String::new, |unified| format!(" ({unified:.0} of 100)")),
            face.width,
            face.height,
            face.faces,
            if face.faces == 1 { "" } else { "s" },
            m.inter_eye_distance_px,
            m.sharpness.map_or_else(String::new, |sharpness| format!(", sharpness {sharpness:.1}"))
        );
        for reason in &face.quality.reasons {
            let weight = if reason.fails { "FAIL" } else { "warning" };
            let (name, code) = (reason.code.name(), reason.code);
            out!("  {weight} {name}: {} {reason}", measure_of(reason, m));
            out!("    the photo {}. {}", code.problem(), code.remedy());
        }
    }
}

//! The API's JSON, member for member, and nothing else that decides anything.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    answer::{Answer, ResultPart},
    error::{ApiError, JsonFlaw},
    lenient::Text,
};
use crate::compare::{
    DecodeLimits, FaceReport, Outcome, QualityVerdict, ReasonCode, Score, Side, TransactionId,
    Verdict,
};

/// Body of `compare` and `asynccompare`; members that are not known are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct CompareBody<'a> {
    #[serde(borrow)]
    pub(super) biz_id: Text<'a>,
    #[serde(borrow)]
    pub(super) user_id: Text<'a>,
    #[serde(borrow, rename = "sourceOfFace2")]
    pub(super) source_of_face2: Text<'a>,
    #[serde(borrow)]
    pub(super) face1: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) face2: Option<&'a RawValue>,
}

/// `face1` or `face2`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Face<'a> {
    #[serde(borrow)]
    pub(super) content: Text<'a>,
    #[serde(borrow)]
    pub(super) rect: Text<'a>,
}

/// Body of `asynccheckresult`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct CheckBody<'a> {
    #[serde(borrow)]
    pub(super) transaction_id: Text<'a>,
}

/// Reads a member that must be an object; `None` where it is null or absent.
///
/// # Errors
/// [`ApiError::Invalid`] naming `field`.
pub(super) fn face<'a>(
    member: Option<&'a RawValue>,
    field: &'static str,
) -> Result<Face<'a>, ApiError> {
    member
        .ok_or(JsonFlaw::NotObject)
        .map_err(ApiError::NotJson)
        .and_then(|raw| parse_object(raw.get().as_bytes()))
        .map_err(|error| {
            let why = match error {
                ApiError::NotJson(JsonFlaw::NamedTwice(..)) => "names a member twice",
                _ => "must be an object with content",
            };
            ApiError::Invalid(field, why.to_owned())
        })
}

/// Parses a body that must be a JSON object.
///
/// # Errors
/// [`ApiError::EmptyBody`] or [`ApiError::NotJson`].
pub(super) fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let first = body.iter().find(|b| !b.is_ascii_whitespace()).ok_or(ApiError::EmptyBody)?;
    // A derived struct would also be read from an array.
    if *first != b'{' {
        return Err(ApiError::NotJson(JsonFlaw::NotObject));
    }
    // Checked for the whole text: inside members that are ignored no other code would look.
    let text = std::str::from_utf8(body)
        .map_err(|error| ApiError::NotJson(JsonFlaw::NotUtf8(error.valid_up_to())))?;
    serde_json::from_str(text).map_err(|error| ApiError::NotJson(JsonFlaw::of(&error)))
}

impl<'a> CompareBody<'a> {
    /// # Errors
    /// As [`parse_object`].
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ApiError> {
        parse_object(body)
    }
}

/// The endpoint of a response: they document different members in different order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerShape {
    /// `compare`
    Compare,
    /// `asynccheckresult`
    CheckResult,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompareAnswer<'a> {
    result: ResultPart,
    transaction_id: &'a TransactionId,
    score: Score,
    same_person: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    quality: Option<QualityPart>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    extras: Option<Extras<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckAnswer<'a> {
    result: ResultPart,
    transaction_id: &'a TransactionId,
    #[serde(flatten)]
    quality: QualityPart,
    score: Score,
    same_person: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    extras: Option<Extras<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QualityPart {
    face1_image_quality_result: QualityVerdict,
    face2_image_quality_result: QualityVerdict,
}

/// Members beyond the documented ones; clients must ignore what they do not know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extras<'a> {
    face1_image_quality_reasons: Vec<ReasonCode>,
    face2_image_quality_reasons: Vec<ReasonCode>,
    /// 0 to 100; absent if the pack has no number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    face1_image_quality_score: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    face2_image_quality_score: Option<u8>,
    threshold: Score,
    model: &'a str,
    calibration: &'a str,
    face1_faces: usize,
    face2_faces: usize,
    face1_box: String,
    face2_box: String,
}

/// The response with an outcome.
///
/// # Errors
/// [`ApiError::Picture`] for a refusal, with the transaction id.
pub(super) fn render_outcome(
    shape: AnswerShape,
    id: &TransactionId,
    outcome: &Outcome,
    extras: bool,
    limits: &DecodeLimits,
) -> Result<Answer, ApiError> {
    let verdict = match outcome {
        Outcome::Compared(verdict) => verdict,
        Outcome::Refused { side, refusal } => {
            return Err(ApiError::Picture(
                member(*side),
                refusal.clone(),
                *limits,
                Some(id.clone()),
            ));
        }
    };
    let result = ResultPart::success();
    let code = result.code;
    let quality = QualityPart {
        face1_image_quality_result: verdict.probe.quality.verdict,
        face2_image_quality_result: verdict.reference.quality.verdict,
    };
    let (score, same_person) = (verdict.score, verdict.same_person());
    let beyond = extras.then(|| Extras::new(verdict));
    match shape {
        AnswerShape::Compare => {
            let quality = extras.then_some(quality);
            let answer = CompareAnswer {
                result,
                transaction_id: id,
                score,
                same_person,
                quality,
                extras: beyond,
            };
            Answer::about(id, code, &answer).map_err(|error| ApiError::internal(&error))
        }
        AnswerShape::CheckResult => {
            let answer = CheckAnswer {
                result,
                transaction_id: id,
                quality,
                score,
                same_person,
                extras: beyond,
            };
            Answer::about(id, code, &answer).map_err(|error| ApiError::internal(&error))
        }
    }
}

impl<'a> Extras<'a> {
    fn new(verdict: &'a Verdict) -> Self {
        let reasons = |face: &FaceReport| face.quality.reasons.iter().map(|r| r.code).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        let quality = |face: &FaceReport| face.quality.measures.unified.map(|q| q.round() as u8);
        Self {
            face1_image_quality_reasons: reasons(&verdict.probe),
            face2_image_quality_reasons: reasons(&verdict.reference),
            face1_image_quality_score: quality(&verdict.probe),
            face2_image_quality_score: quality(&verdict.reference),
            threshold: Score::least_match(verdict.threshold),
            model: &verdict.model,
            calibration: &verdict.calibration,
            face1_faces: verdict.probe.faces,
            face2_faces: verdict.reference.faces,
            face1_box: rect(&verdict.probe),
            face2_box: rect(&verdict.reference),
        }
    }
}

/// The part of the compared face inside the photo, in whole pixels, in the form of `rect` of a
/// request.
fn rect(FaceReport { area, width, height, .. }: &FaceReport) -> String {
    let across = |x: f32| x.round().clamp(0.0, *width as f32);
    let down = |y: f32| y.round().clamp(0.0, *height as f32);
    let (left, top) = (across(area.x), down(area.y));
    let (right, bottom) = (across(area.x + area.width), down(area.y + area.height));
    format!("{left},{top},{},{}", right - left, bottom - top)
}

/// The member that holds the picture of a side.
fn member(side: Side) -> &'static str {
    match side {
        Side::Probe => "face1.content",
        Side::Reference => "face2.content",
    }
}

//! Compares two pictures through the gateway and shows every measure; inspects a single picture.

use axum::{Extension, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use visavis_signing::endpoints;

use super::{
    Shared,
    access::Login,
    api::{JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    error::ConsoleError,
    face::Face,
    own_client::{ApiCall, HeaderLine},
};
use crate::{
    compare::{
        Flaw, Outcome, PictureData, PictureKind, ReasonCode, Refusal, Score, Side, TransactionId,
        Verdict, is_selfie,
    },
    queue::{ShardLookup, TransactionState},
};

/// Characters of a photo that are shown of the body that was sent.
const MAX_SHOWN_CHARS: usize = 32;

/// Two pictures in base64.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CompareForm {
    face1: String,
    face2: String,
    /// Empty for a selfie.
    #[serde(default)]
    source_of_face2: String,
}

/// A comparison, as the page shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownComparison {
    path: &'static str,
    sent: Value,
    received: Value,
    signature_valid: bool,
    elapsed_ms: f64,
    transaction_id: Option<String>,
    /// The outcome, if the request was accepted.
    outcome: Option<ShownOutcome>,
}

/// An outcome, as the page shows it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ShownOutcome {
    /// Both photos have a face.
    Compared {
        same_person: bool,
        /// Why the score shows nothing: for each photo that fails the quality check, the first
        /// reason.
        failures: Vec<ShownFailure>,
        score: Score,
        threshold: Score,
        similarity: f32,
        /// Absent if it is too small to change the score.
        degradation_loss: Option<f32>,
        model: String,
        calibration: String,
        face1: Box<Face>,
        face2: Box<Face>,
    },
    /// A picture could not be used.
    Refused { face: u8, refusal: &'static str },
}

/// A photo that fails the quality check.
#[derive(Serialize)]
pub(super) struct ShownFailure {
    /// 1 or 2.
    face: u8,
    code: ReasonCode,
}

impl ShownOutcome {
    /// `kind` is that of the reference.
    pub(super) fn new(outcome: &Outcome, kind: PictureKind, limits: &super::Limits) -> Self {
        match outcome {
            Outcome::Refused { side, refusal } => Self::Refused {
                face: match side {
                    Side::Probe => 1,
                    Side::Reference => 2,
                },
                refusal: code(refusal),
            },
            Outcome::Compared(verdict) => {
                let Verdict { score, threshold, similarity, probe, reference, .. } = verdict;
                Self::Compared {
                    same_person: verdict.same_person(),
                    failures: verdict
                        .failures()
                        .map(|(face, code)| ShownFailure { face, code })
                        .collect(),
                    score: *score,
                    threshold: Score::least_match(*threshold),
                    similarity: similarity.value(),
                    degradation_loss: verdict.notable_loss(),
                    model: verdict.model.clone(),
                    calibration: verdict.calibration.clone(),
                    face1: Box::new(Face::new(probe, PictureKind::Selfie, limits)),
                    face2: Box::new(Face::new(reference, kind, limits)),
                }
            }
        }
    }
}

pub(super) async fn compare(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    JsonBody(pair): JsonBody<CompareForm>,
) -> Result<NoStoreJson<ShownComparison>, ConsoleError> {
    if console.gateway.is_none() {
        return Err(ConsoleError::NoFrontEnd);
    }
    let caller = console.own_client(&console.clients_as(&login)).await?;
    let source = pair.source_of_face2.trim();
    let kind = kind(source);
    let face1 = shortened(&pair.face1);
    let face2 = shortened(&pair.face2);
    let mut body = json!({
        "bizId": uuid::Uuid::new_v4().simple().to_string(),
        "face1": { "content": pair.face1 },
        "face2": { "content": pair.face2 },
    });
    if !source.is_empty() {
        body["sourceOfFace2"] = json!(source);
    }
    let sent = body.to_string();
    let length = sent.len();
    // Frees this copy before the comparison begins: only `sent` holds the pictures then.
    body["face1"]["content"] = json!(face1);
    body["face2"]["content"] = json!(face2);
    let called = console.call(&caller, endpoints::COMPARE, sent).await?;

    let response: Value = serde_json::from_str(&called.body).unwrap_or_default();
    let id = response["transactionId"].as_str().and_then(TransactionId::parse);
    let transaction = id.as_ref().map_or("", TransactionId::as_str);
    audit(login.name(), &AuditEvent::Compared { transaction });
    let outcome = match &id {
        Some(id) => outcome_of(&console, &caller.client_id, id).await?,
        None => None,
    };
    let (sent, received) = both_sides(&called, &body, length);
    Ok(NoStoreJson(ShownComparison {
        path: endpoints::COMPARE,
        sent,
        received,
        signature_valid: called.signature_valid,
        elapsed_ms: called.elapsed_ms,
        transaction_id: id.map(|id| id.to_string()),
        outcome: outcome.map(|outcome| ShownOutcome::new(&outcome, kind, &console.parts.limits)),
    }))
}

/// Both sides of the exchange; the pictures are shortened already.
fn both_sides(called: &ApiCall, body: &Value, length: usize) -> (Value, Value) {
    let sent: Vec<_> = called.sent.iter().map(|(name, value)| HeaderLine { name, value }).collect();
    let received: Vec<_> =
        called.received.iter().map(|(name, value)| HeaderLine { name, value }).collect();
    (
        json!({ "headers": sent, "body": body.to_string(), "length": length }),
        json!({ "status": called.status, "headers": received, "body": called.body }),
    )
}

/// The stored outcome that the response was rendered from.
async fn outcome_of(
    console: &Shared,
    client_id: &str,
    id: &TransactionId,
) -> Result<Option<Outcome>, ConsoleError> {
    let ShardLookup::Here(shard) = console.parts.app.shards.find(id.shard()) else {
        return Ok(None);
    };
    let transaction = shard.store.transaction(client_id, id).await?;
    Ok(transaction.and_then(|transaction| match transaction.state {
        TransactionState::Done(outcome) => Some(*outcome),
        TransactionState::Processing | TransactionState::Dead => None,
    }))
}

/// One picture in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InspectForm {
    content: String,
    #[serde(default)]
    document: bool,
}

/// An inspected picture.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Inspected {
    /// It has a face.
    Face(Box<Face>),
    /// It cannot be used.
    Refusal(&'static str),
}

/// Inspects one picture before it is compared; nothing of it is stored.
pub(super) async fn inspect(
    State(console): State<Shared>,
    JsonBody(one): JsonBody<InspectForm>,
) -> Result<NoStoreJson<Inspected>, ConsoleError> {
    let comparer = console.parts.comparer.as_ref().ok_or(ConsoleError::NoWorkers)?;
    let config = &console.parts.app.config;
    let bytes = STANDARD.decode(&one.content).map_err(|_| ConsoleError::InvalidPicture)?;
    let picture = match PictureData::new(bytes, &config.pictures) {
        Ok(picture) => picture,
        Err(refusal) => return Ok(NoStoreJson(Inspected::Refusal(code(&refusal)))),
    };
    let kind = if one.document { PictureKind::Document } else { PictureKind::Selfie };
    let inspected = comparer.inspect(picture, kind, config.compare_timeout).await?;
    Ok(NoStoreJson(match inspected {
        Ok(report) => Inspected::Face(Box::new(Face::new(&report, kind, &console.parts.limits))),
        Err(refusal) => Inspected::Refusal(code(&refusal)),
    }))
}

fn kind(source: &str) -> PictureKind {
    if source.is_empty() || is_selfie(source) { PictureKind::Selfie } else { PictureKind::Document }
}

/// The code for which `assets/texts.*.js` have a sentence.
fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Empty => "empty",
        Refusal::TooManyBytes { .. } => "tooManyBytes",
        Refusal::UnknownFormat { .. } => "unknownFormat",
        Refusal::Dimensions { .. } => "dimensions",
        Refusal::PixelMemory { .. } => "pixelMemory",
        Refusal::Undecodable { flaw: Flaw::EndsEarly(_) } => "incomplete",
        Refusal::Undecodable { .. } => "undecodable",
        Refusal::NoFace => "noFace",
    }
}

/// The beginning of a photo in base64, and its length.
fn shortened(content: &str) -> String {
    let start: String = content.chars().take(MAX_SHOWN_CHARS).collect();
    format!("{start}… ({} characters)", content.len())
}

//! Two pictures compared through the gateway, with everything that was found on them; and a look at one.

use axum::extract::State;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use visavis_signing::endpoints;

use super::{
    Shared,
    api::{Posted, Told},
    audit::{Act, audit},
    error::Refused,
    face::Face,
    own_client::{Called, Line},
};
use crate::{
    compare::{
        Flaw, Outcome, PictureData, PictureKind, Refusal, Score, Side, TransactionId, Verdict,
        is_selfie,
    },
    queue::{ShardLookup, TransactionState},
};

/// So much of a picture is shown of the body that was sent.
const SHOWN: usize = 32;

/// Two pictures in base64.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pair {
    face1: String,
    face2: String,
    /// Empty for a selfie.
    #[serde(default)]
    source_of_face2: String,
}

/// What is told of a comparison.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compared {
    path: &'static str,
    sent: Value,
    received: Value,
    signature_valid: bool,
    elapsed_ms: f64,
    transaction_id: Option<String>,
    /// What was found, if it came that far.
    outcome: Option<Shown>,
}

/// An outcome for people.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Shown {
    /// Both pictures showed a face.
    Compared {
        same_person: bool,
        score: Score,
        threshold: Score,
        similarity: f32,
        model: String,
        calibration: String,
        face1: Box<Face>,
        face2: Box<Face>,
    },
    /// A picture could not be used.
    Refused { face: u8, refusal: &'static str },
}

pub(super) async fn compare(
    State(console): State<Shared>,
    Posted(pair): Posted<Pair>,
) -> Result<Told<Compared>, Refused> {
    if console.gateway.is_none() {
        return Err(Refused::NoFrontEnd);
    }
    let caller = console.own_client().await?;
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
    // Gone before the comparison begins: only what was sent has the pictures now.
    body["face1"]["content"] = json!(face1);
    body["face2"]["content"] = json!(face2);
    let called = console.call(&caller, endpoints::COMPARE, sent).await?;

    let answer: Value = serde_json::from_str(&called.body).unwrap_or_default();
    let id = answer["transactionId"].as_str().and_then(TransactionId::parse);
    audit(&Act::Compared { transaction: id.as_ref().map_or("", TransactionId::as_str) });
    let outcome = match &id {
        Some(id) => outcome_of(&console, &caller.client_id, id).await?,
        None => None,
    };
    let (sent, received) = wire(&called, &body, length);
    Ok(Told(Compared {
        path: endpoints::COMPARE,
        sent,
        received,
        signature_valid: called.signature_valid,
        elapsed_ms: called.elapsed_ms,
        transaction_id: id.map(|id| id.to_string()),
        outcome: outcome.map(|outcome| shown(&outcome, kind, &console.parts.limits)),
    }))
}

/// Both sides of the exchange; the pictures are shortened already.
fn wire(called: &Called, body: &Value, length: usize) -> (Value, Value) {
    let sent: Vec<_> = called.sent.iter().map(|(name, value)| Line { name, value }).collect();
    let received: Vec<_> =
        called.received.iter().map(|(name, value)| Line { name, value }).collect();
    (
        json!({ "headers": sent, "body": body.to_string(), "length": length }),
        json!({ "status": called.status, "headers": received, "body": called.body }),
    )
}

/// The outcome as it is recorded: what the answer was told from.
async fn outcome_of(
    console: &Shared,
    client_id: &str,
    id: &TransactionId,
) -> Result<Option<Outcome>, Refused> {
    let ShardLookup::Here(shard) = console.parts.app.shards.find(id.shard()) else {
        return Ok(None);
    };
    let transaction = shard.store.transaction(client_id, id).await?;
    Ok(transaction.and_then(|transaction| match transaction.state {
        TransactionState::Done(outcome) => Some(*outcome),
        TransactionState::Processing | TransactionState::Dead => None,
    }))
}

fn shown(outcome: &Outcome, kind: PictureKind, limits: &super::Limits) -> Shown {
    match outcome {
        Outcome::Refused { side, refusal } => Shown::Refused {
            face: match side {
                Side::Probe => 1,
                Side::Reference => 2,
            },
            refusal: code(refusal),
        },
        Outcome::Compared(verdict) => {
            let Verdict { score, threshold, similarity, probe, reference, .. } = verdict;
            Shown::Compared {
                same_person: verdict.same_person(),
                score: *score,
                threshold: Score::least_match(*threshold),
                similarity: similarity.value(),
                model: verdict.model.clone(),
                calibration: verdict.calibration.clone(),
                face1: Box::new(Face::new(probe, PictureKind::Selfie, limits)),
                face2: Box::new(Face::new(reference, kind, limits)),
            }
        }
    }
}

/// One picture in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct One {
    content: String,
    #[serde(default)]
    document: bool,
}

/// What is told of one picture.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Looked {
    /// It shows a face.
    Face(Box<Face>),
    /// It cannot be used.
    Refusal(&'static str),
}

/// Looks at one picture before it is compared; nothing of it is recorded.
pub(super) async fn inspect(
    State(console): State<Shared>,
    Posted(one): Posted<One>,
) -> Result<Told<Looked>, Refused> {
    let comparer = console.parts.comparer.as_ref().ok_or(Refused::NoWorkers)?;
    let config = &console.parts.app.config;
    let bytes = STANDARD.decode(&one.content).map_err(|_| Refused::PictureUnfit)?;
    let picture = match PictureData::new(bytes, &config.pictures) {
        Ok(picture) => picture,
        Err(refusal) => return Ok(Told(Looked::Refusal(code(&refusal)))),
    };
    let kind = if one.document { PictureKind::Document } else { PictureKind::Selfie };
    let look = comparer.inspect(picture, kind, config.patience).await?;
    Ok(Told(match look {
        Ok(report) => Looked::Face(Box::new(Face::new(&report, kind, &console.parts.limits))),
        Err(refusal) => Looked::Refusal(code(&refusal)),
    }))
}

fn kind(source: &str) -> PictureKind {
    if source.is_empty() || is_selfie(source) { PictureKind::Selfie } else { PictureKind::Document }
}

/// The page has a sentence for each.
fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Empty => "empty",
        Refusal::TooManyBytes { .. } => "tooManyBytes",
        Refusal::UnknownFormat => "unknownFormat",
        Refusal::Dimensions { .. } => "dimensions",
        Refusal::PixelMemory { .. } => "pixelMemory",
        Refusal::Undecodable { flaw: Flaw::EndsEarly(_) } => "incomplete",
        Refusal::Undecodable { .. } => "undecodable",
        Refusal::NoFace => "noFace",
    }
}

/// The beginning of a picture and how long it is.
fn shortened(content: &str) -> String {
    let start: String = content.chars().take(SHOWN).collect();
    format!("{start}… ({} characters)", content.len())
}

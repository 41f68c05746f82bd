//! `asynccompare` and `compare`, each from its proven request to its response.

use std::sync::Arc;

use axum::extract::{Extension, State};
use tracing::{Instrument as _, Span};

use super::{
    answer::{Answer, ResultPart},
    error::ApiError,
    pictures::read_request,
    state::{AppState, CompareBackend},
    wire::{AnswerShape, render_outcome},
};
use crate::{
    compare::{Outcome, Request, RequestOptions, TraceContext, TransactionId},
    gate::{Admitted, Cost, Limit, Parsed, Proven, Rejection, Room},
    queue::{Accepted, NewJob, Shard, TransactionState},
    worker::{CompareFailure, LocalComparer},
};

/// `asynccompare`: the job is stored durably before its transaction id is returned.
pub(super) async fn async_compare(
    State(app): State<AppState>,
    trace: Option<Extension<TraceContext>>,
    proven: Proven,
) -> Result<Answer, ApiError> {
    let shard = app.home(proven.caller())?;
    if can_refuse_early(&proven) {
        app.gate.check_queue(shard, proven.caller(), proven.dedupe()).await?;
    }
    let admitted = parse(&app, trace, proven).await?.admit(shard, Room::Queue).await?;
    if let Some(id) = &admitted.earlier {
        return Ok(Answer::bare(ResultPart::processing(), Some(id)));
    }
    let stored = enqueue(&app, shard, &admitted.parsed).await;
    uncount_unless_made(&admitted, stored).await
}

/// `compare`: compared while the client waits, by the workers of this process or of others.
pub(super) async fn compare(
    State(app): State<AppState>,
    trace: Option<Extension<TraceContext>>,
    proven: Proven,
) -> Result<Answer, ApiError> {
    let shard = app.home(proven.caller())?;
    if can_refuse_early(&proven) {
        check_room(&app, shard, &proven).await?;
    }
    let room = match &app.comparison {
        CompareBackend::Local(_) => Room::None,
        CompareBackend::Queued => Room::Queue,
    };
    let admitted = parse(&app, trace, proven).await?.admit(shard, room).await?;
    if let Some(answer) = earlier_outcome(&app, shard, &admitted).await? {
        return Ok(answer);
    }
    let compared = match &app.comparison {
        CompareBackend::Local(comparer) => {
            compare_here(&app, shard, comparer, &admitted.parsed).await
        }
        CompareBackend::Queued => compare_elsewhere(&app, shard, &admitted.parsed).await,
    };
    uncount_unless_made(&admitted, compared).await
}

/// Whether the request may be refused before it is parsed. Everything about an encrypted request is
/// returned under its key, so it is parsed first.
fn can_refuse_early(proven: &Proven) -> bool {
    !proven.is_encrypted()
}

/// Whether there is room for a comparison that a client waits for. A repetition of a request that
/// was compared needs none.
async fn check_room(app: &AppState, shard: &Shard, proven: &Proven) -> Result<(), ApiError> {
    let CompareBackend::Local(comparer) = &app.comparison else {
        return Ok(app.gate.check_queue(shard, proven.caller(), proven.dedupe()).await?);
    };
    if comparer.has_room(&proven.caller().client_id)
        || app.gate.earlier(shard, proven.dedupe()).await?.is_some()
    {
        return Ok(());
    }
    Err(Limit::WaitingRoom.refuse().into())
}

/// A request holds both image files, three quarters of their base64. Parsing copies a member with
/// escapes once, and one with line breaks once more.
const COST: Cost<Request> = Cost { parsing: 3, kept: image_bytes };

fn image_bytes(request: &Request) -> usize {
    usize::try_from(request.bytes()).unwrap_or(usize::MAX)
}

/// Decrypts and parses. The false match rate of the decision and what to do with several faces are
/// fixed here: later changes apply to later requests.
async fn parse(
    app: &AppState,
    trace: Option<Extension<TraceContext>>,
    proven: Proven,
) -> Result<Parsed<Request>, ApiError> {
    let (config, own) = (Arc::clone(&app.config), proven.caller().client.fmr);
    let several_faces = proven.caller().client.policy.several_faces;
    let several_faces = several_faces.unwrap_or(config.several_faces);
    let trace = trace.map(|Extension(trace)| trace);
    let read = move |body: &[u8]| {
        let fmr = |document: Option<&str>| Some(config.fmr.in_force(own, document));
        let request = read_request(body, &config.pictures, fmr)?;
        let options = RequestOptions { several_faces, trace, ..request.options };
        Ok(Request { options, ..request })
    };
    proven.parse(COST, read).await
}

/// The response to a repetition of a signed request that has an outcome already.
async fn earlier_outcome(
    app: &AppState,
    shard: &Shard,
    admitted: &Admitted,
) -> Result<Option<Answer>, ApiError> {
    let Some(id) = &admitted.earlier else { return Ok(None) };
    let client_id = &admitted.parsed.caller.client_id;
    let transaction = shard.store.transaction(client_id, id).await?;
    match transaction.map(|transaction| transaction.state) {
        Some(TransactionState::Done(outcome)) => {
            render(app, &admitted.parsed, id, &outcome).map(Some)
        }
        _ => Ok(None),
    }
}

/// What a request came to.
struct Made {
    answer: Answer,
    /// Whether it is a comparison of its own: another process may have stored a repetition first.
    is_new: bool,
}

async fn enqueue(
    app: &AppState,
    shard: &Shard,
    parsed: &Parsed<Request>,
) -> Result<Made, ApiError> {
    let job = app.new_job(shard, parsed);
    let accepted = shard.enqueue(&job).instrument(transaction_span(&job)).await?;
    let answer = Answer::bare(ResultPart::processing(), Some(accepted.transaction_id()));
    Ok(Made { answer, is_new: matches!(accepted, Accepted::New(_)) })
}

/// Compares in memory and stores the outcome without the photos, for `asynccheckresult`.
async fn compare_here(
    app: &AppState,
    shard: &Shard,
    comparer: &LocalComparer,
    parsed: &Parsed<Request>,
) -> Result<Made, ApiError> {
    let job = app.new_job(shard, parsed);
    let comparing = async {
        let request = parsed.value.clone();
        let compared = comparer.compare(job.client_id, request, app.config.compare_timeout).await;
        let outcome = compared.map_err(|failure| match failure {
            CompareFailure::Busy => ApiError::from(Limit::WaitingRoom.refuse()),
            CompareFailure::TimedOut => ApiError::TimedOut,
            CompareFailure::Failed => ApiError::Internal,
        })?;
        let recorded = shard.store.record(&job, &outcome).await?;
        Ok::<_, ApiError>((outcome, recorded))
    };
    let (outcome, recorded) = comparing.instrument(transaction_span(&job)).await?;
    let is_new = matches!(recorded, Accepted::New(_));
    // A photo that cannot be used is an outcome too, and counts as a comparison.
    let answer = render(app, parsed, recorded.transaction_id(), &outcome)?;
    Ok(Made { answer, is_new })
}

/// A repetition finds the job of the first request, so it is not looked up before.
async fn compare_elsewhere(
    app: &AppState,
    shard: &Shard,
    parsed: &Parsed<Request>,
) -> Result<Made, ApiError> {
    let job = app.new_job(shard, parsed);
    let comparing = shard.enqueue_and_wait(&job, app.config.compare_timeout);
    let (id, state) = comparing.instrument(transaction_span(&job)).await?;
    let answer = match state {
        TransactionState::Done(outcome) => render(app, parsed, &id, &outcome)?,
        TransactionState::Processing => Answer::bare(ResultPart::processing(), Some(&id)),
        TransactionState::Dead => return Err(ApiError::GivenUp(id)),
    };
    Ok(Made { answer, is_new: id == job.transaction_id })
}

fn render(
    app: &AppState,
    parsed: &Parsed<Request>,
    id: &TransactionId,
    outcome: &Outcome,
) -> Result<Answer, ApiError> {
    let extras = parsed.caller.client.extras;
    render_outcome(AnswerShape::Compare, id, outcome, extras, &app.config.pictures)
}

/// The response. A comparison that was not made, or was made before, is taken off the daily quota.
async fn uncount_unless_made(
    admitted: &Admitted,
    made: Result<Made, ApiError>,
) -> Result<Answer, ApiError> {
    let is_counted = match &made {
        Ok(made) => made.is_new,
        Err(
            ApiError::Gate(Rejection::Refused(_) | Rejection::Internal)
            | ApiError::TimedOut
            | ApiError::Internal
            | ApiError::GivenUp(_),
        ) => false,
        Err(_) => true,
    };
    if !is_counted {
        admitted.uncount().await;
    }
    made.map(|made| made.answer)
}

/// The span of everything that is done for a transaction before its response.
fn transaction_span(job: &NewJob<'_>) -> Span {
    tracing::error_span!("transaction", transaction = job.transaction_id.as_str())
}

impl AppState {
    fn new_job<'a>(&self, shard: &Shard, parsed: &'a Parsed<Request>) -> NewJob<'a> {
        NewJob {
            transaction_id: TransactionId::new(self.clock.now_utc(), shard.number),
            client_id: &parsed.caller.client_id,
            dedupe: self.gate.stored_dedupe(parsed.dedupe),
            request: &parsed.value,
        }
    }
}

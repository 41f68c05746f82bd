//! `compare` and `asynccompare`.

use axum::extract::State;

use super::{
    answer::{Answer, ResultPart},
    error::ApiError,
    pictures::read_request,
    signed::{Parsed, Signed},
    state::{AppState, Comparison},
    wire::{Telling, tell},
};
use crate::{
    compare::{CompareFailure, Comparer, Request, TransactionId},
    queue::{NewJob, QueuedComparer, TransactionState},
};

/// `asynccompare`: the job is on the disk before the transaction id is answered.
pub(super) async fn async_compare(
    State(app): State<AppState>,
    signed: Signed,
) -> Result<Answer, ApiError> {
    // Refused before the work of parsing, unless the client could not read an answer in clear.
    if !signed.is_encrypted() {
        admit(&app)?;
    }
    let parsed = parse(&app, signed).await?;
    admit(&app)?;
    let job = app.new_job(&parsed);
    let accepted = app.store.enqueue(&job).await.map_err(|e| ApiError::internal(&e))?;
    let request = &parsed.value;
    app.gauge.add((request.probe.as_bytes().len() + request.reference.as_bytes().len()) as u64);
    app.wake.job_arrived();
    Ok(Answer::bare(ResultPart::processing(), Some(accepted.transaction_id())))
}

/// `compare`: compared while the client waits; in memory, and recorded without the pictures, where this
/// process has workers.
pub(super) async fn compare(
    State(app): State<AppState>,
    signed: Signed,
) -> Result<Answer, ApiError> {
    let parsed = parse(&app, signed).await?;
    match &app.comparison {
        Comparison::Local(comparer) => compare_here(&app, comparer.as_ref(), &parsed).await,
        Comparison::Queued(comparer) => compare_elsewhere(&app, comparer, &parsed).await,
    }
}

async fn compare_here(
    app: &AppState,
    comparer: &dyn Comparer,
    parsed: &Parsed<Request>,
) -> Result<Answer, ApiError> {
    if let Some(answer) = earlier(app, parsed).await? {
        return Ok(answer);
    }
    let compared = comparer.compare(parsed.value.clone(), app.config.patience).await;
    let outcome = compared.map_err(|failure| match failure {
        CompareFailure::Busy => ApiError::Overloaded,
        CompareFailure::TimedOut => ApiError::TimedOut,
        CompareFailure::Failed => ApiError::Internal,
    })?;
    let job = app.new_job(parsed);
    let recorded = app.store.record(&job, &outcome).await.map_err(|e| ApiError::internal(&e))?;
    let extras = parsed.caller.client.extras;
    tell(Telling::Compare, recorded.transaction_id(), &outcome, extras, &app.config.pictures)
}

/// A repetition finds the job that the first request made, so it needs no look of its own.
async fn compare_elsewhere(
    app: &AppState,
    comparer: &QueuedComparer,
    parsed: &Parsed<Request>,
) -> Result<Answer, ApiError> {
    admit(app)?;
    let job = app.new_job(parsed);
    let compared = comparer.compare(&job, app.config.patience).await;
    let (id, state) = compared.map_err(|e| ApiError::internal(&e))?;
    match state {
        TransactionState::Done(outcome) => {
            let extras = parsed.caller.client.extras;
            tell(Telling::Compare, &id, &outcome, extras, &app.config.pictures)
        }
        TransactionState::Processing => Ok(Answer::bare(ResultPart::processing(), Some(&id))),
        TransactionState::Dead => Err(ApiError::GivenUp(id)),
    }
}

fn admit(app: &AppState) -> Result<(), ApiError> {
    if app.gauge.has_room(app.config.queue) { Ok(()) } else { Err(ApiError::Overloaded) }
}

/// The answer to a repetition of a signed request that has an outcome already.
async fn earlier(app: &AppState, parsed: &Parsed<Request>) -> Result<Option<Answer>, ApiError> {
    if !app.config.dedupe {
        return Ok(None);
    }
    let found =
        app.store.find_duplicate(&parsed.dedupe).await.map_err(|e| ApiError::internal(&e))?;
    let Some(id) = found else { return Ok(None) };
    let client_id = &parsed.caller.client_id;
    let transaction =
        app.store.transaction(client_id, &id).await.map_err(|e| ApiError::internal(&e))?;
    match transaction.map(|t| t.state) {
        Some(TransactionState::Done(outcome)) => {
            let extras = parsed.caller.client.extras;
            tell(Telling::Compare, &id, &outcome, extras, &app.config.pictures).map(Some)
        }
        _ => Ok(None),
    }
}

async fn parse(app: &AppState, signed: Signed) -> Result<Parsed<Request>, ApiError> {
    let limits = app.config.pictures;
    signed.parse(move |body| read_request(body, &limits)).await
}

impl AppState {
    fn new_job<'a>(&self, parsed: &'a Parsed<Request>) -> NewJob<'a> {
        NewJob {
            transaction_id: TransactionId::new(self.clock.now_utc(), self.config.shard),
            client_id: &parsed.caller.client_id,
            dedupe: self.config.dedupe.then_some(parsed.dedupe),
            request: &parsed.value,
        }
    }
}

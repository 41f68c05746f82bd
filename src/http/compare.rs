//! `compare` and `asynccompare`.

use std::sync::Arc;

use axum::extract::State;

use super::{
    answer::{Answer, ResultPart},
    error::{ApiError, Limit},
    pictures::read_request,
    signed::{Parsed, Signed},
    state::{AppState, Comparison},
    wire::{Telling, tell},
};
use crate::{
    clients::Caller,
    compare::{CompareFailure, Comparer, Request, RequestOptions, TransactionId},
    queue::{Accepted, NewJob, QueuedComparer, Shard, TransactionState},
};

/// `asynccompare`: the job is on the disk before the transaction id is answered.
pub(super) async fn async_compare(
    State(app): State<AppState>,
    signed: Signed,
) -> Result<Answer, ApiError> {
    if may_be_refused_early(&signed) {
        admit(&app, signed.caller()).await?;
    }
    let parsed = parse(&app, signed).await?;
    let shard = admit(&app, &parsed.caller).await?;
    within_quota(&app, shard, &parsed, enqueue(&app, shard, &parsed)).await
}

async fn enqueue(
    app: &AppState,
    shard: &Shard,
    parsed: &Parsed<Request>,
) -> Result<Answer, ApiError> {
    let job = app.new_job(shard, parsed);
    let accepted = shard.store.enqueue(&job).await?;
    if matches!(accepted, Accepted::New(_)) {
        shard.gauge.add(job.client_id, parsed.value.bytes());
        shard.wake.job_arrived();
    }
    Ok(Answer::bare(ResultPart::processing(), Some(accepted.transaction_id())))
}

/// Does `work` if the client has not used up its comparisons of today. A repetition of a signed request is
/// not another comparison, and neither is what could not be done.
async fn within_quota(
    app: &AppState,
    shard: &Shard,
    parsed: &Parsed<Request>,
    work: impl Future<Output = Result<Answer, ApiError>>,
) -> Result<Answer, ApiError> {
    let client_id = &parsed.caller.client_id;
    let Some(quota) = parsed.caller.client.terms.daily_quota else { return work.await };
    if app.config.dedupe && shard.store.find_duplicate(&parsed.dedupe).await?.is_some() {
        return work.await;
    }
    let counted = app.clients.count_comparison(shard.number, client_id, quota).await?;
    let day = counted.ok_or(ApiError::Overloaded(Limit::Quota))?;
    let done = work.await;
    let undone = matches!(
        done,
        Err(ApiError::Overloaded(_)
            | ApiError::TimedOut
            | ApiError::Internal
            | ApiError::GivenUp(_))
    );
    if undone && let Err(error) = app.clients.uncount_comparison(shard.number, client_id, day).await
    {
        tracing::warn!(client = client_id, %error, "a comparison that was not made stays counted");
    }
    done
}

/// `compare`: compared while the client waits; in memory, and recorded without the pictures, where this
/// process has workers.
pub(super) async fn compare(
    State(app): State<AppState>,
    signed: Signed,
) -> Result<Answer, ApiError> {
    if may_be_refused_early(&signed) {
        admit_now(&app, &signed).await?;
    }
    let parsed = parse(&app, signed).await?;
    let shard = app.home(&parsed.caller)?;
    let comparing = async {
        match &app.comparison {
            Comparison::Local(comparer) => compare_here(&app, comparer.as_ref(), &parsed).await,
            Comparison::Queued(comparer) => compare_elsewhere(&app, *comparer, &parsed).await,
        }
    };
    within_quota(&app, shard, &parsed, comparing).await
}

/// Whether it can be refused before the work of parsing. What is encrypted must be decrypted first, or the client could
/// not read the answer.
fn may_be_refused_early(signed: &Signed) -> bool {
    !signed.is_encrypted()
}

/// Whether there is room for a comparison that a client waits for. A repetition of a request that was compared needs
/// none.
async fn admit_now(app: &AppState, signed: &Signed) -> Result<(), ApiError> {
    let comparer = match &app.comparison {
        Comparison::Local(comparer) => comparer,
        Comparison::Queued(_) => return admit(app, signed.caller()).await.map(drop),
    };
    if comparer.has_room() {
        return Ok(());
    }
    let store = &app.home(signed.caller())?.store;
    let is_known = app.config.dedupe && store.find_duplicate(signed.dedupe()).await?.is_some();
    if is_known { Ok(()) } else { Err(ApiError::Overloaded(Limit::Threads)) }
}

async fn compare_here(
    app: &AppState,
    comparer: &dyn Comparer,
    parsed: &Parsed<Request>,
) -> Result<Answer, ApiError> {
    let shard = app.home(&parsed.caller)?;
    if let Some(answer) = earlier(app, shard, parsed).await? {
        return Ok(answer);
    }
    let compared = comparer.compare(parsed.value.clone(), app.config.patience).await;
    let outcome = compared.map_err(|failure| match failure {
        CompareFailure::Busy => ApiError::Overloaded(Limit::Threads),
        CompareFailure::TimedOut => ApiError::TimedOut,
        CompareFailure::Failed => ApiError::Internal,
    })?;
    let job = app.new_job(shard, parsed);
    let recorded = shard.store.record(&job, &outcome).await?;
    let extras = parsed.caller.client.extras;
    tell(Telling::Compare, recorded.transaction_id(), &outcome, extras, &app.config.pictures)
}

/// A repetition finds the job that the first request made, so it needs no look of its own.
async fn compare_elsewhere(
    app: &AppState,
    comparer: QueuedComparer,
    parsed: &Parsed<Request>,
) -> Result<Answer, ApiError> {
    let shard = admit(app, &parsed.caller).await?;
    let job = app.new_job(shard, parsed);
    let compared = comparer.compare(shard, &job, app.config.patience).await;
    let (id, state) = compared?;
    match state {
        TransactionState::Done(outcome) => {
            let extras = parsed.caller.client.extras;
            tell(Telling::Compare, &id, &outcome, extras, &app.config.pictures)
        }
        TransactionState::Processing => Ok(Answer::bare(ResultPart::processing(), Some(&id))),
        TransactionState::Dead => Err(ApiError::GivenUp(id)),
    }
}

/// Where the job of this caller goes, if there is room for it.
async fn admit<'a>(app: &'a AppState, caller: &Caller) -> Result<&'a Shard, ApiError> {
    let shard = app.home(caller)?;
    let alone = app.clients.is_alone(shard.number).await?;
    if shard.gauge.has_room(app.config.queue, &caller.client_id, alone) {
        Ok(shard)
    } else {
        Err(ApiError::Overloaded(Limit::Queue))
    }
}

/// The answer to a repetition of a signed request that has an outcome already.
async fn earlier(
    app: &AppState,
    shard: &Shard,
    parsed: &Parsed<Request>,
) -> Result<Option<Answer>, ApiError> {
    if !app.config.dedupe {
        return Ok(None);
    }
    let found = shard.store.find_duplicate(&parsed.dedupe).await?;
    let Some(id) = found else { return Ok(None) };
    let client_id = &parsed.caller.client_id;
    let transaction = shard.store.transaction(client_id, &id).await?;
    match transaction.map(|t| t.state) {
        Some(TransactionState::Done(outcome)) => {
            let extras = parsed.caller.client.extras;
            tell(Telling::Compare, &id, &outcome, extras, &app.config.pictures).map(Some)
        }
        _ => Ok(None),
    }
}

/// From here on it is settled at which rate the decision turns: what is changed later counts for later
/// requests.
async fn parse(app: &AppState, signed: Signed) -> Result<Parsed<Request>, ApiError> {
    let (config, own) = (Arc::clone(&app.config), signed.caller().client.fmr);
    let trace = signed.trace();
    let read = move |body: &[u8]| {
        let fmr = |document: Option<&str>| Some(config.fmr.in_force(own, document));
        let request = read_request(body, &config.pictures, fmr)?;
        let options = RequestOptions { trace, ..request.options };
        Ok(Request { options, ..request })
    };
    signed.parse(read).await
}

impl AppState {
    fn new_job<'a>(&self, shard: &Shard, parsed: &'a Parsed<Request>) -> NewJob<'a> {
        NewJob {
            transaction_id: TransactionId::new(self.clock.now_utc(), shard.number),
            client_id: &parsed.caller.client_id,
            dedupe: self.config.dedupe.then_some(parsed.dedupe),
            request: &parsed.value,
        }
    }
}

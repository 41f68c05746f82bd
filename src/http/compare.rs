//! `compare` and `asynccompare`.

use std::sync::Arc;

use axum::extract::{Extension, State};
use tracing::{Instrument as _, Span};

use super::{
    answer::{Answer, ResultPart},
    error::ApiError,
    pictures::read_request,
    state::{AppState, Comparison},
    wire::{Telling, tell},
};
use crate::{
    compare::{CompareFailure, Comparer, Request, RequestOptions, TraceContext, TransactionId},
    gate::{Admitted, Cost, Limit, Parsed, Proven, Rejection, Room},
    queue::{Accepted, NewJob, QueuedComparer, Shard, TransactionState},
};

/// The request holds both pictures as they are in the files, three quarters of their base64. Beside that an escaped member
/// is copied once and one with line breaks once more.
const COST: Cost<Request> = Cost { parsing: 3, kept: picture_bytes };

fn picture_bytes(request: &Request) -> usize {
    usize::try_from(request.bytes()).unwrap_or(usize::MAX)
}

/// `asynccompare`: the job is on the disk before the transaction id is answered.
pub(super) async fn async_compare(
    State(app): State<AppState>,
    trace: Option<Extension<TraceContext>>,
    proven: Proven,
) -> Result<Answer, ApiError> {
    let shard = app.home(proven.caller())?;
    if may_be_refused_early(&proven) {
        app.gate.check_queue(shard, proven.caller(), proven.dedupe()).await?;
    }
    let admitted = parse(&app, trace, proven).await?.admit(shard, Room::Queue).await?;
    if let Some(id) = &admitted.earlier {
        return Ok(Answer::bare(ResultPart::processing(), Some(id)));
    }
    made(&admitted, enqueue(&app, shard, &admitted.parsed)).await
}

async fn enqueue(
    app: &AppState,
    shard: &Shard,
    parsed: &Parsed<Request>,
) -> Result<(Answer, IsNew), ApiError> {
    let job = app.new_job(shard, parsed);
    let accepted = shard.store.enqueue(&job).instrument(transaction_span(&job)).await?;
    let is_new = IsNew(matches!(accepted, Accepted::New(_)));
    if is_new.0 {
        shard.admission.add(job.client_id, parsed.value.bytes());
        shard.wake.job_arrived();
    }
    Ok((Answer::bare(ResultPart::processing(), Some(accepted.transaction_id())), is_new))
}

/// Whether a comparison is one of its own, and no repetition that another process found first.
struct IsNew(bool);

/// Does `work`; what is not made after all, or was made before, is taken off the client's quota again.
async fn made(
    admitted: &Admitted,
    work: impl Future<Output = Result<(Answer, IsNew), ApiError>>,
) -> Result<Answer, ApiError> {
    match work.await {
        Ok((answer, IsNew(true))) => Ok(answer),
        Ok((answer, IsNew(false))) => {
            admitted.uncount().await;
            Ok(answer)
        }
        Err(error) => {
            let is_undone = matches!(
                error,
                ApiError::Gate(Rejection::Refused(_) | Rejection::Internal)
                    | ApiError::TimedOut
                    | ApiError::Internal
                    | ApiError::GivenUp(_)
            );
            if is_undone {
                admitted.uncount().await;
            }
            Err(error)
        }
    }
}

/// `compare`: compared while the client waits; in memory, and recorded without the pictures, where this
/// process has workers.
pub(super) async fn compare(
    State(app): State<AppState>,
    trace: Option<Extension<TraceContext>>,
    proven: Proven,
) -> Result<Answer, ApiError> {
    let shard = app.home(proven.caller())?;
    if may_be_refused_early(&proven) {
        check_room(&app, shard, &proven).await?;
    }
    let room = match &app.comparison {
        Comparison::Local(_) => Room::None,
        Comparison::Queued(_) => Room::Queue,
    };
    let admitted = parse(&app, trace, proven).await?.admit(shard, room).await?;
    if let Some(answer) = earlier(&app, shard, &admitted).await? {
        return Ok(answer);
    }
    let comparing = async {
        match &app.comparison {
            Comparison::Local(comparer) => {
                compare_here(&app, shard, comparer.as_ref(), &admitted.parsed).await
            }
            Comparison::Queued(comparer) => {
                compare_elsewhere(&app, shard, *comparer, &admitted.parsed).await
            }
        }
    };
    made(&admitted, comparing).await
}

/// Whether it can be refused before the work of parsing. What is encrypted is admitted after it, with everything else that
/// is answered under its key.
fn may_be_refused_early(proven: &Proven) -> bool {
    !proven.is_encrypted()
}

/// Whether there is room for a comparison that a client waits for. A repetition of a request that was compared needs
/// none.
async fn check_room(app: &AppState, shard: &Shard, proven: &Proven) -> Result<(), ApiError> {
    let comparer = match &app.comparison {
        Comparison::Local(comparer) => comparer,
        Comparison::Queued(_) => {
            return Ok(app.gate.check_queue(shard, proven.caller(), proven.dedupe()).await?);
        }
    };
    if comparer.has_room(&proven.caller().client_id)
        || app.gate.earlier(shard, proven.dedupe()).await?.is_some()
    {
        return Ok(());
    }
    Err(Limit::WaitingRoom.refuse().into())
}

async fn compare_here(
    app: &AppState,
    shard: &Shard,
    comparer: &dyn Comparer,
    parsed: &Parsed<Request>,
) -> Result<(Answer, IsNew), ApiError> {
    let job = app.new_job(shard, parsed);
    let comparing = async {
        let request = parsed.value.clone();
        let compared = comparer.compare(job.client_id, request, app.config.patience).await;
        let outcome = compared.map_err(|failure| match failure {
            CompareFailure::Busy => ApiError::from(Limit::WaitingRoom.refuse()),
            CompareFailure::TimedOut => ApiError::TimedOut,
            CompareFailure::Failed => ApiError::Internal,
        })?;
        let recorded = shard.store.record(&job, &outcome).await?;
        Ok::<_, ApiError>((outcome, recorded))
    };
    let (outcome, recorded) = comparing.instrument(transaction_span(&job)).await?;
    let is_new = IsNew(matches!(recorded, Accepted::New(_)));
    let extras = parsed.caller.client.extras;
    let id = recorded.transaction_id();
    let answer = tell(Telling::Compare, id, &outcome, extras, &app.config.pictures);
    // A picture that cannot be used is an outcome, too: the comparison counts.
    answer.map(|answer| (answer, is_new))
}

/// A repetition finds the job that the first request made, so it needs no look of its own.
async fn compare_elsewhere(
    app: &AppState,
    shard: &Shard,
    comparer: QueuedComparer,
    parsed: &Parsed<Request>,
) -> Result<(Answer, IsNew), ApiError> {
    let job = app.new_job(shard, parsed);
    let comparing = comparer.compare(shard, &job, app.config.patience);
    let (id, state) = comparing.instrument(transaction_span(&job)).await?;
    let is_new = IsNew(id == job.transaction_id);
    let answer = match state {
        TransactionState::Done(outcome) => {
            let extras = parsed.caller.client.extras;
            tell(Telling::Compare, &id, &outcome, extras, &app.config.pictures)?
        }
        TransactionState::Processing => Answer::bare(ResultPart::processing(), Some(&id)),
        TransactionState::Dead => return Err(ApiError::GivenUp(id)),
    };
    Ok((answer, is_new))
}

/// The answer to a repetition of a signed request that has an outcome already.
async fn earlier(
    app: &AppState,
    shard: &Shard,
    admitted: &Admitted,
) -> Result<Option<Answer>, ApiError> {
    let Some(id) = &admitted.earlier else { return Ok(None) };
    let client = &admitted.parsed.caller;
    let transaction = shard.store.transaction(&client.client_id, id).await?;
    match transaction.map(|t| t.state) {
        Some(TransactionState::Done(outcome)) => {
            let extras = client.client.extras;
            tell(Telling::Compare, id, &outcome, extras, &app.config.pictures).map(Some)
        }
        _ => Ok(None),
    }
}

/// From here on it is settled at which rate the decision turns: what is changed later counts for later
/// requests.
async fn parse(
    app: &AppState,
    trace: Option<Extension<TraceContext>>,
    proven: Proven,
) -> Result<Parsed<Request>, ApiError> {
    let (config, own) = (Arc::clone(&app.config), proven.caller().client.fmr);
    let trace = trace.map(|Extension(trace)| trace);
    let read = move |body: &[u8]| {
        let fmr = |document: Option<&str>| Some(config.fmr.in_force(own, document));
        let request = read_request(body, &config.pictures, fmr)?;
        let options = RequestOptions { trace, ..request.options };
        Ok(Request { options, ..request })
    };
    proven.parse(COST, read).await
}

/// Around everything that is done for a transaction before it is answered.
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

//! `asynccheckresult`: what became of a transaction. Changes nothing, so it may be repeated.

use axum::extract::State;
use tracing::Instrument as _;

use super::{
    answer::{Answer, ResultPart},
    error::ApiError,
    extract::SmallProven,
    state::AppState,
    wire::{AnswerShape, CheckBody, parse_object, render_outcome},
};
use crate::{compare::TransactionId, gate::Cost, queue::TransactionState};

/// Longest `transactionId`, bytes.
const LONGEST: usize = 64;

/// Members borrow from the body; one with escapes is copied.
pub(super) const COST: Cost<Option<TransactionId>> = Cost { parsing: 2, kept: |_| 0 };

pub(super) async fn check_result(
    State(app): State<AppState>,
    SmallProven(proven): SmallProven,
) -> Result<Answer, ApiError> {
    let parsed = proven.parse(COST, read_id).await?;
    let id = parsed.value.ok_or(ApiError::UnknownTransaction)?;
    let shard = app.shard_of(&id)?.ok_or(ApiError::UnknownTransaction)?;
    let client_id = &parsed.caller.client_id;
    let span = tracing::error_span!("transaction", transaction = id.as_str());
    let transaction = shard.store.transaction(client_id, &id).instrument(span).await?;
    match transaction.ok_or(ApiError::UnknownTransaction)?.state {
        TransactionState::Processing => Ok(Answer::bare(ResultPart::processing(), Some(&id))),
        TransactionState::Dead => Err(ApiError::GivenUp(id)),
        TransactionState::Done(outcome) => {
            let extras = parsed.caller.client.extras;
            render_outcome(AnswerShape::CheckResult, &id, &outcome, extras, &app.config.pictures)
        }
    }
}

/// `Ok(None)` when the text cannot be an id of ours.
pub(super) fn read_id(body: &[u8]) -> Result<Option<TransactionId>, ApiError> {
    const FIELD: &str = "transactionId";
    let body: CheckBody<'_> = parse_object(body)?;
    match body.transaction_id.at_most(FIELD, LONGEST)? {
        None | Some("") => Err(ApiError::Invalid(FIELD, "is missing".to_owned())),
        Some(text) => Ok(TransactionId::parse(text)),
    }
}

//! `privacyinfo/delete`: a client deletes one of its own transactions, with photos and outcome.

use std::{net::IpAddr, sync::Arc};

use axum::{Extension, extract::State};
use tracing::Instrument as _;

use super::{
    answer::{Answer, ResultPart},
    check_result::{COST, read_id},
    error::ApiError,
    extract::SmallProven,
    state::AppState,
};
use crate::{
    clients::ActOutcome,
    compare::TransactionId,
    gate::{Identified, Rejection},
};

/// A transaction that is unknown, was deleted before or belongs to another client gets the same
/// response as one that was deleted: a client may repeat the request, and learns nothing about
/// others.
pub(super) async fn privacy_delete(
    State(app): State<AppState>,
    Extension(identified): Extension<Arc<Identified>>,
    SmallProven(proven): SmallProven,
) -> Result<Answer, ApiError> {
    // The vendor documents PARAM_ILLEGAL for this endpoint.
    let illegal = |error| match error {
        ApiError::Invalid(field, why) => ApiError::Illegal(field, why),
        other => other,
    };
    let parsed = proven.parse(COST, move |body| read_id(body).map_err(illegal)).await?;
    if let Some(id) = parsed.value {
        let span = tracing::error_span!("transaction", transaction = id.as_str());
        delete(&app, (&parsed.caller.client_id, identified.arrived.peer), &id)
            .instrument(span)
            .await?;
    }
    Ok(Answer::bare(ResultPart::success(), None))
}

async fn delete(
    app: &AppState,
    caller: (&str, Option<IpAddr>),
    id: &TransactionId,
) -> Result<(), ApiError> {
    let (client_id, _) = caller;
    let Some(shard) = app.shard_of(id)? else { return Ok(()) };
    if !shard.store.has(client_id, id).await? {
        return Ok(());
    }
    // Recorded before, so that an interrupted deletion has an entry too.
    let record = |outcome| app.clients.record_deletion(shard.number, caller, id, outcome);
    record(ActOutcome::Begun).await.map_err(Rejection::from)?;
    let deleted = shard.store.delete(client_id, id).await;
    let outcome = if deleted.is_ok() { ActOutcome::Done } else { ActOutcome::Failed };
    if let Err(error) = record(outcome).await {
        tracing::warn!(%error, "cannot write the outcome of a deletion into the audit");
    }
    Ok(deleted?)
}

//! The state of a transaction of any client.

use axum::extract::{Path, State};
use serde::Serialize;

use super::{
    Shared,
    api::NoStoreJson,
    audit::{AuditEvent, audit},
    error::ConsoleError,
};
use crate::{
    clock::UnixMillis,
    compare::{Outcome, TransactionId},
    queue::{ShardLookup, TransactionState},
};

/// A transaction, as the page shows it: without pictures and without the tracing id of the client.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownTransaction {
    transaction_id: String,
    client_id: String,
    client_name: Option<String>,
    shard: u32,
    state: &'static str,
    attempts: u32,
    created_at: UnixMillis,
    started_at: Option<UnixMillis>,
    finished_at: Option<UnixMillis>,
    outcome: Option<Outcome>,
}

pub(super) async fn transaction(
    State(console): State<Shared>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<ShownTransaction>, ConsoleError> {
    let id = TransactionId::parse(id.trim()).ok_or(ConsoleError::UnknownTransaction)?;
    let shard = match console.parts.app.shards.find(id.shard()) {
        ShardLookup::Here(shard) => shard,
        ShardLookup::Elsewhere => return Err(ConsoleError::OtherDatabase),
        ShardLookup::Unknown => return Err(ConsoleError::UnknownTransaction),
    };
    let history = shard.store.history(&id).await?.ok_or(ConsoleError::UnknownTransaction)?;
    audit(&AuditEvent::TransactionRead { transaction: id.as_str() });
    let clients = console.parts.clients.list().await?;
    let client = clients.into_iter().find(|(_, client)| client.client_id == history.client_id);
    let (state, outcome) = match history.state {
        TransactionState::Processing if history.running => ("running", None),
        TransactionState::Processing => ("queued", None),
        TransactionState::Dead => ("dead", None),
        TransactionState::Done(outcome) => ("done", Some(*outcome)),
    };
    Ok(NoStoreJson(ShownTransaction {
        transaction_id: id.to_string(),
        client_id: history.client_id,
        client_name: client.map(|(_, client)| client.name),
        shard: shard.number,
        state,
        attempts: history.attempts,
        created_at: history.created_at,
        started_at: history.started_at,
        finished_at: history.finished_at,
        outcome,
    }))
}

//! Is the process alive, and should it get requests? Cheap, unsigned, without names or numbers.

use std::{borrow::Cow, time::Duration};

use axum::{extract::State, http::StatusCode};
use tokio::task::JoinSet;

use super::state::AppState;

/// The process is alive.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// How long a store may take to respond.
const PATIENCE: Duration = Duration::from_secs(4);

/// The engines are warm, all background tasks run, a store can be read, and the process is not
/// stopping. With several stores one is enough: taking the process away would not bring the others
/// back.
///
/// A Postgres that is away is away from all processes. If they all were not ready, a proxy would
/// respond in their place, without a signature; so they stay ready, and degraded.
pub(super) async fn ready(State(app): State<AppState>) -> (StatusCode, Cow<'static, str>) {
    if !app.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n".into());
    }
    if let Some(down) = app.tasks.down() {
        let body = format!("not ready: background tasks are down: {down}\n");
        return (StatusCode::SERVICE_UNAVAILABLE, body.into());
    }
    let mut asked = JoinSet::new();
    for shard in app.shards.iter().cloned() {
        asked.spawn(async move {
            match tokio::time::timeout(PATIENCE, shard.store.ping()).await {
                Ok(Ok(())) => return true,
                // An overloaded process refuses requests and stays ready.
                Ok(Err(error)) if error.is_crowded() => return true,
                Ok(Err(error)) => {
                    tracing::error!(shard = shard.number, %error, "the store cannot be read");
                }
                Err(_) => tracing::error!(shard = shard.number, "store does not respond"),
            }
            false
        });
    }
    while let Some(answer) = asked.join_next().await {
        if matches!(answer, Ok(true)) {
            return (StatusCode::OK, "ready\n".into());
        }
    }
    if app.shards.iter().any(|shard| shard.store.is_shared()) {
        return (StatusCode::OK, "degraded: the database cannot be read\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store cannot be read\n".into())
}

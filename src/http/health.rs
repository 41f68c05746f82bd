//! Is the process alive, and should it get requests? Cheap, unsigned, without names or numbers.

use axum::{extract::State, http::StatusCode};

use super::state::AppState;

/// The process answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// The engines are warm, the store can be read, and the process is not stopping.
pub(super) async fn ready(State(app): State<AppState>) -> (StatusCode, &'static str) {
    if !app.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n");
    }
    match app.store.depth().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::error!(%error, "the store cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store cannot be read\n")
        }
    }
}

//! What operators and their machines read: metrics and health, on an address of its own.

use axum::{
    Router,
    http::{HeaderName, header::CONTENT_TYPE},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;

use super::{health, state::AppState};

/// `/metrics`, `/health/live` and `/health/ready`.
pub fn admin(app: AppState, metrics: PrometheusHandle) -> Router {
    let render = move || {
        let text = metrics.render();
        async move { ([PROMETHEUS], text) }
    };
    Router::new()
        .route("/metrics", get(render))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(app)
}

/// The text format, version 0.0.4.
const PROMETHEUS: (HeaderName, &str) = (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");

//! What operators and their machines read: metrics and health, on an address of its own.

use axum::{
    Router,
    extract::State,
    http::{HeaderName, header::CONTENT_TYPE},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use super::{health, state::AppState};

/// What this process is and computes on; empty where it does not compare.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Of the program.
    pub version: &'static str,
    /// The provider of ONNX Runtime that runs the nets.
    pub provider: &'static str,
    /// The device as it is configured.
    pub device: String,
    /// The maker's name of it, if the system knows it.
    pub device_name: String,
    /// What decodes JPEG.
    pub jpeg: &'static str,
    /// The model pack.
    pub pack: String,
    /// Its table from similarity to false match rate.
    pub calibration: String,
}

impl About {
    /// The same as labels of a metric.
    pub(crate) fn labels(&self) -> [(&'static str, String); 7] {
        [
            ("version", self.version.to_owned()),
            ("provider", self.provider.to_owned()),
            ("device", self.device.clone()),
            ("device_name", self.device_name.clone()),
            ("jpeg", self.jpeg.to_owned()),
            ("pack", self.pack.clone()),
            ("calibration", self.calibration.clone()),
        ]
    }
}

/// The body of `/health`.
#[derive(Debug, Serialize)]
struct Health {
    ready: bool,
    #[serde(flatten)]
    about: About,
}

/// `/metrics`, `/health`, `/health/live` and `/health/ready`.
pub fn admin(app: AppState, about: About, metrics: PrometheusHandle) -> Router {
    let render = move || {
        let text = metrics.render();
        async move { ([PROMETHEUS], text) }
    };
    let health = move |State(app): State<AppState>| async move {
        let (status, _) = health::ready(State(app)).await;
        let health = Health { ready: status.is_success(), about };
        (status, [JSON], serde_json::to_string(&health).unwrap_or_default())
    };
    Router::new()
        .route("/metrics", get(render))
        .route("/health", get(health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(app)
}

const JSON: (HeaderName, &str) = (CONTENT_TYPE, "application/json");

/// The text format, version 0.0.4.
const PROMETHEUS: (HeaderName, &str) = (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");

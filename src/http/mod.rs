//! The gateway: signed JSON over HTTP. It knows no nets and no workers, so a front end runs without
//! models.
//!
//! ```text
//! request ─ path cleaned ─ exchange ─ gate: verify, then decrypt and parse ─ handler
//! response ◀────────────── exchange: encrypt, sign ◀──── `Answer` or `ApiError` ◀─────┘
//! ```
//!
//! Every response, errors included, is HTTP 200 with a JSON result and a signature: client SDKs
//! throw away the body of anything else, and with it the reason.

mod admin;
mod answer;
mod auth_test;
mod check_result;
mod compare;
mod error;
mod exchange;
mod extract;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod hosts;
mod interim;
mod js;
mod lenient;
mod path;
mod pem;
mod pictures;
mod privacy_delete;
mod recent;
mod router;
mod server;
mod state;
mod tls;
mod wire;

pub use admin::{About, admin};
pub use error::RESULT_CODES;
pub use hosts::restrict_hosts;
pub use recent::{Answered, Recent};
pub use router::gateway;
pub use server::{ServeError, ServerConfig, Serving, TlsReload, serve};
pub use state::{AppState, CompareBackend, GatewayConfig};
pub use tls::{Fitness, TlsError, TlsFiles, is_ca_as_server};

/// The API as an `OpenAPI` 3.1 document, JSON.
pub const OPENAPI: &str = include_str!("openapi.json");

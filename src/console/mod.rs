//! The operator console: a page on the admin address.
//!
//! ```text
//! add_security_headers ┬ assets: the page, without login
//!                      └ require_own_page (CSRF) ─ require_login (cookie) ┬ compare: the gateway
//!                                                                         ├ clients, transactions
//!                                                                         └ live: requests, queue
//! ```
//!
//! It compares through the gateway's own router as a client of its own, so it shows what an app
//! gets. No picture is logged. An inspected picture stays in memory; one that is compared is
//! handled as by the gateway: in a process without workers it is queued, sealed until the job ends.
//! Every action goes through `audit`.

mod api;
mod assets;
mod audit;
mod audit_page;
mod clients;
mod compare;
mod error;
mod face;
mod guard;
mod live;
mod login;
mod logins;
mod own_client;
mod token;
mod transactions;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware::{from_fn, from_fn_with_state},
    response::Redirect,
    routing::{get, post},
};
use serde::Serialize;
pub use token::TokenFile;
use tokio::sync::Mutex;

use self::{api::NoStoreJson, logins::Logins};
use crate::{
    clients::{Actor, CONSOLE, Clients, Proof},
    compare::QualityLimits,
    gate::SMALL_BODY_BYTES,
    http::{About, AppState, gateway},
    worker::LocalComparer,
};

/// What the console needs.
#[derive(Debug)]
pub struct Parts {
    /// The state of the gateway.
    pub app: AppState,
    /// The clients, to be managed.
    pub clients: Clients,
    /// What this process is.
    pub about: About,
    /// Whether this process serves API requests.
    pub front_end: bool,
    /// Inspects pictures; absent in a process without workers.
    pub comparer: Option<LocalComparer>,
    /// Quality limits in force.
    pub limits: Limits,
    /// The token for the login.
    pub token: TokenFile,
}

/// Quality limits by kind of picture.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For pictures of the living person.
    pub selfie: QualityLimits,
    /// For portraits of documents.
    pub document: QualityLimits,
}

/// Shared by all handlers of the console.
#[derive(Debug)]
struct Console {
    parts: Parts,
    /// The API as it is served; absent in a process that does not serve it.
    gateway: Option<Router>,
    logins: Logins,
    /// Held while the console's own client is created, so that it is created once.
    creation: Mutex<()>,
}

/// Shared by all handlers; clones are cheap.
type Shared = Arc<Console>;

/// The body of a login has only the token.
const MAX_LOGIN_BYTES: usize = 4 << 10;

/// `/console/` and everything below it.
pub fn console(mut parts: Parts) -> Router {
    parts.clients = parts.clients.with_actor(&Actor::console("console", None, Proof::Token));
    let gateway = parts.front_end.then(|| gateway(parts.app.clone()));
    let body_limit = parts.app.config.gate.body_limit;
    let console =
        Arc::new(Console { parts, gateway, logins: Logins::default(), creation: Mutex::default() });
    let with_photos = Router::new()
        .route("/look", post(compare::inspect))
        .route("/compare", post(compare::compare))
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(from_fn_with_state(Arc::clone(&console), guard::reserve_memory));
    let guarded = Router::new()
        .route("/about", get(about))
        .route("/logout", post(login::log_out))
        .route("/live", get(live::live))
        .merge(with_photos)
        .route("/clients", get(clients::list).post(clients::add))
        .route("/clients/{id}/rotate", post(clients::rotate))
        .route("/clients/{id}/change", post(clients::change))
        .route("/clients/{id}/disable", post(clients::disable))
        .route("/clients/{id}/enable", post(clients::enable))
        .route("/transactions", post(transactions::list))
        .route("/transactions/csv", post(transactions::export))
        .route("/audit", post(audit_page::audit))
        .route("/transactions/{id}", get(transactions::transaction))
        .layer(DefaultBodyLimit::max(SMALL_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&console), guard::require_login));
    let api = Router::new()
        .route(
            "/login",
            get(login::state).post(login::log_in).layer(DefaultBodyLimit::max(MAX_LOGIN_BYTES)),
        )
        .merge(guarded)
        .fallback(api::unknown)
        .layer(from_fn(guard::require_own_page))
        .layer(from_fn(guard::with_deadline));
    Router::new()
        .nest("/console/api", api)
        .route("/console/", get(assets::page))
        .route("/console/assets/{name}", get(assets::asset))
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route("/", get(|| async { Redirect::temporary("/console/") }))
        .layer(from_fn(guard::add_security_headers))
        .with_state(console)
}

/// What the page shows of the process.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AboutConsole {
    #[serde(flatten)]
    about: About,
    front_end: bool,
    workers: bool,
    /// The client that it compares as.
    own_client: &'static str,
    /// The threshold of clients without a rate of their own.
    threshold: f64,
    document_threshold: f64,
}

async fn about(State(console): State<Shared>) -> NoStoreJson<AboutConsole> {
    let Parts { about, front_end, comparer, app, .. } = &console.parts;
    let fmr = &app.config.fmr;
    NoStoreJson(AboutConsole {
        about: about.clone(),
        front_end: *front_end,
        workers: comparer.is_some(),
        own_client: CONSOLE,
        threshold: fmr.fmr().least_match().value(),
        document_threshold: fmr.document_fmr().unwrap_or(fmr.fmr()).least_match().value(),
    })
}

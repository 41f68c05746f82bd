//! The operator console: a page on the admin address.
//!
//! ```text
//! add_security_headers ┬ assets: the page, without login
//!                      └ require_own_page (CSRF) ─ require_login (cookie) ─ require_step (role)
//!                                 ┬ compare: the gateway
//!                                 ├ clients, transactions
//!                                 ├ live: requests, queue
//!                                 └ users, account
//! ```
//!
//! It compares through the gateway's own router as a client of its own, so it shows what an app
//! gets. No picture is logged. An inspected picture stays in memory; one that is compared is
//! handled as by the gateway: in a process without workers it is queued, sealed until the job ends.
//! Every action goes through `audit`.

mod access;
mod account;
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
mod own_client;
mod provider;
mod proving;
mod proxy;
mod refusals;
mod steps;
mod token;
mod transactions;
mod users;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, State},
    middleware::{from_fn, from_fn_with_state},
    response::Redirect,
    routing::{MethodRouter, get, post},
};
pub use proxy::ProxyLogin;
use serde::Serialize;
pub use token::TokenFile;
use tokio::sync::Mutex;

use self::{api::NoStoreJson, error::ConsoleError, steps::Step};
use crate::{
    accounts::{AccountStore, RoleGroups},
    clients::{CONSOLE, Clients},
    compare::QualityLimits,
    gate::{Peers, SMALL_BODY_BYTES},
    http::{About, AppState, gateway},
    oidc::Provider,
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
    /// The authenticating proxy in front of the console, if it exists.
    pub proxy: Option<ProxyLogin>,
    /// The `OpenID` provider at which people log in, if one is configured.
    pub provider: Option<Arc<Provider>>,
    /// The groups of either that have each role.
    pub groups: RoleGroups,
    /// Whether a group of either has administrators, so that the first token opens nothing.
    pub has_external_administrators: bool,
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
    /// The accounts; absent in a process that does not serve the first database.
    accounts: Option<AccountStore>,
    hashing: proving::Hashing,
    asking: provider::Asking,
    /// Wrong logins by address.
    wrong: Peers,
    refusals: refusals::Refusals,
    /// Held while the console's own client is created, so that it is created once.
    creation: Mutex<()>,
}

/// Shared by all handlers; clones are cheap.
type Shared = Arc<Console>;

impl Console {
    fn accounts(&self) -> Result<&AccountStore, ConsoleError> {
        self.accounts.as_ref().ok_or(ConsoleError::NoAccounts)
    }
}

/// The database that has the accounts.
const ACCOUNTS_SHARD: u32 = 0;
/// Wrong logins per minute and address; further ones are refused without a check.
const MAX_WRONG_LOGINS: u32 = 5;
/// The body of a login has only the token; name, password and code; or the code of a provider.
const MAX_LOGIN_BYTES: usize = 4 << 10;

/// `/console/` and everything below it.
pub fn console(parts: Parts) -> Router {
    let gateway = parts.front_end.then(|| gateway(parts.app.clone()));
    let table = parts.clients.table(ACCOUNTS_SHARD);
    let accounts = table.map(|table| AccountStore::new(table.store.clone()));
    let console = Arc::new(Console {
        parts,
        gateway,
        accounts,
        hashing: proving::Hashing::default(),
        asking: provider::Asking::default(),
        wrong: Peers::new(MAX_WRONG_LOGINS, Vec::new()),
        refusals: refusals::Refusals::default(),
        creation: Mutex::default(),
    });
    let mut guarded = Router::new();
    for (path, step, handler) in routes(&console) {
        let check = from_fn_with_state((Arc::clone(&console), step), access::require_step);
        guarded = guarded.route(path, handler.layer(check));
    }
    let guarded = guarded
        .layer(DefaultBodyLimit::max(SMALL_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&console), guard::require_login));
    let api = Router::new()
        .route(
            "/login",
            get(login::state).post(login::log_in).layer(DefaultBodyLimit::max(MAX_LOGIN_BYTES)),
        )
        .route("/provider", post(provider::begin))
        .route(
            "/provider/login",
            post(provider::log_in).layer(DefaultBodyLimit::max(MAX_LOGIN_BYTES)),
        )
        .route("/provider/logout", post(provider::log_out))
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

/// Everything behind the login: path, what it does as far as rights are concerned, and who does it.
fn routes(console: &Shared) -> Vec<(&'static str, Step, MethodRouter<Shared>)> {
    let body_limit = console.parts.app.config.gate.body_limit;
    // A layer is passed before those above it.
    let with_photos = |handler: MethodRouter<Shared>| {
        handler
            .layer(DefaultBodyLimit::max(body_limit))
            .layer(from_fn_with_state(Arc::clone(console), guard::reserve_memory))
    };
    vec![
        ("/about", Step::Own, get(about)),
        ("/logout", Step::Own, post(login::log_out)),
        ("/account", Step::Own, get(account::account)),
        ("/account/password", Step::Own, post(account::change_password)),
        ("/account/code", Step::Own, post(account::set_code)),
        ("/account/code/offer", Step::Own, post(account::offer_code)),
        ("/account/code/remove", Step::Own, post(account::remove_code)),
        ("/account/sessions/{id}/end", Step::Own, post(account::end_session)),
        ("/live", Step::View, get(live::live)),
        ("/clients", Step::View, get(clients::list)),
        ("/transactions", Step::View, post(transactions::list)),
        ("/transactions/csv", Step::View, post(transactions::export)),
        ("/transactions/{id}", Step::View, get(transactions::transaction)),
        ("/audit", Step::View, post(audit_page::audit)),
        ("/look", Step::Compare, with_photos(post(compare::inspect))),
        ("/compare", Step::Compare, with_photos(post(compare::compare))),
        ("/clients", Step::ChangeClients, post(clients::add)),
        ("/clients/{id}/rotate", Step::ChangeClients, post(clients::rotate)),
        ("/clients/{id}/change", Step::ChangeClients, post(clients::change)),
        ("/clients/{id}/disable", Step::ChangeClients, post(clients::disable)),
        ("/clients/{id}/enable", Step::ChangeClients, post(clients::enable)),
        ("/clients/{id}/delete", Step::ChangeClients, post(clients::delete)),
        ("/users", Step::ManageUsers, get(users::list)),
        ("/users", Step::ManageUsers, post(users::add)),
        ("/users/{name}/change", Step::ManageUsers, post(users::change)),
        ("/users/{name}/delete", Step::ManageUsers, post(users::delete)),
        ("/sessions/{id}/end", Step::ManageUsers, post(users::end_session)),
        ("/administrator", Step::Recover, post(login::make_administrator)),
    ]
}

/// What the page shows of the process, and of who is logged in.
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
    /// Who is logged in.
    user: String,
    /// What they may do.
    may: Vec<Step>,
    /// How the login is known.
    login: access::LoginKind,
}

async fn about(
    State(console): State<Shared>,
    Extension(login): Extension<access::Login>,
) -> NoStoreJson<AboutConsole> {
    let Parts { about, front_end, comparer, app, .. } = &console.parts;
    let fmr = &app.config.fmr;
    NoStoreJson(AboutConsole {
        about: about.clone(),
        front_end: *front_end,
        workers: comparer.is_some(),
        own_client: CONSOLE,
        threshold: fmr.fmr().least_match().value(),
        document_threshold: fmr.for_documents().least_match().value(),
        user: login.name().to_owned(),
        may: Step::ALL.into_iter().filter(|step| login.may(*step)).collect(),
        login: login.kind(),
    })
}

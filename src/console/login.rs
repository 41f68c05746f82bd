//! Login and logout.

use std::time::Instant;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Shared,
    api::{JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    error::ConsoleError,
    guard::{COOKIE, cookie_of},
    logins::{Attempt, MAX_LOGIN_TIME},
};

#[derive(Deserialize)]
pub(super) struct LoginForm {
    token: String,
}

#[derive(Serialize)]
struct Empty {}

pub(super) async fn log_in(
    State(console): State<Shared>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<LoginForm>,
) -> Result<Response, ConsoleError> {
    // Without a digest every token is wrong.
    let good = console.parts.token.digest().ok_or(ConsoleError::WrongToken)?;
    let attempt = console.logins.attempt(&form.token, &good, Instant::now());
    match attempt.map_err(|e| ConsoleError::internal(&e))? {
        Attempt::Opened(cookie) => {
            audit(&AuditEvent::LoggedIn);
            let value = format!(
                "{COOKIE}={}; Path=/console; Max-Age={}; HttpOnly; SameSite=Strict{}",
                *cookie,
                MAX_LOGIN_TIME.as_secs(),
                secure(&headers)
            );
            Ok((set_cookie(value), NoStoreJson(Empty {})).into_response())
        }
        Attempt::Wrong => {
            audit(&AuditEvent::LoginRefused);
            Err(ConsoleError::WrongToken)
        }
        Attempt::TooMany => {
            audit(&AuditEvent::LoginHeldBack);
            Err(ConsoleError::TooManyLogins)
        }
    }
}

/// Whether the caller is logged in, which the page requests first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginState {
    logged_in: bool,
}

pub(super) async fn state(
    State(console): State<Shared>,
    headers: HeaderMap,
) -> NoStoreJson<LoginState> {
    NoStoreJson(LoginState { logged_in: console.is_logged_in(&headers, false) })
}

pub(super) async fn log_out(State(console): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie_of(&headers) {
        console.logins.close(cookie);
    }
    audit(&AuditEvent::LoggedOut);
    let value = format!(
        "{COOKIE}=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict{}",
        secure(&headers)
    );
    (set_cookie(value), NoStoreJson(Empty {})).into_response()
}

fn set_cookie(value: String) -> [(HeaderName, String); 1] {
    [(SET_COOKIE, value)]
}

/// Behind a proxy that ends TLS the cookie must be `Secure`. A caller who forges the header gets a
/// cookie that the browser does not send back.
fn secure(headers: &HeaderMap) -> &'static str {
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    // Of several proxies each adds its own; the browser spoke to the first.
    let first = proto.and_then(|list| list.split(',').next()).unwrap_or_default();
    if first.trim().eq_ignore_ascii_case("https") { "; Secure" } else { "" }
}

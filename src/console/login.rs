//! In and out.

use std::time::Instant;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Shared,
    api::{Posted, Told},
    audit::{Act, audit},
    error::Refused,
    guard::{COOKIE, cookie_of},
    logins::{Attempt, LONGEST},
};

#[derive(Deserialize)]
pub(super) struct Shown {
    token: String,
}

#[derive(Serialize)]
struct Done {}

pub(super) async fn log_in(
    State(console): State<Shared>,
    headers: HeaderMap,
    Posted(shown): Posted<Shown>,
) -> Result<Response, Refused> {
    // Without a digest no token is right.
    let good = console.parts.token.digest().ok_or(Refused::WrongToken)?;
    let attempt = console.logins.attempt(&shown.token, &good, Instant::now());
    match attempt.map_err(|e| Refused::internal(&e))? {
        Attempt::Opened(cookie) => {
            audit(&Act::LoggedIn);
            let value = format!(
                "{COOKIE}={}; Path=/console; Max-Age={}; HttpOnly; SameSite=Strict{}",
                *cookie,
                LONGEST.as_secs(),
                secure(&headers)
            );
            Ok((set_cookie(value), Told(Done {})).into_response())
        }
        Attempt::Wrong => {
            audit(&Act::LoginRefused);
            Err(Refused::WrongToken)
        }
        Attempt::TooMany => {
            audit(&Act::LoginHeldBack);
            Err(Refused::TooManyLogins)
        }
    }
}

/// Whether somebody is logged in: what the page asks first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    logged_in: bool,
}

pub(super) async fn state(State(console): State<Shared>, headers: HeaderMap) -> Told<Standing> {
    Told(Standing { logged_in: console.is_logged_in(&headers, false) })
}

pub(super) async fn log_out(State(console): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie_of(&headers) {
        console.logins.close(cookie);
    }
    audit(&Act::LoggedOut);
    let value = format!(
        "{COOKIE}=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict{}",
        secure(&headers)
    );
    (set_cookie(value), Told(Done {})).into_response()
}

fn set_cookie(value: String) -> [(HeaderName, String); 1] {
    [(SET_COOKIE, value)]
}

/// Behind a proxy that ends TLS the cookie must not travel without it. Whoever makes this up gets a cookie that
/// their browser does not send back.
fn secure(headers: &HeaderMap) -> &'static str {
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    // Of several proxies each adds its own; the browser spoke to the first.
    let first = proto.and_then(|list| list.split(',').next()).unwrap_or_default();
    if first.trim().eq_ignore_ascii_case("https") { "; Secure" } else { "" }
}

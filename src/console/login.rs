//! Login and logout, and making an administrator with the token.

use std::net::IpAddr;

use axum::{
    Extension,
    extract::State,
    http::{Extensions, HeaderMap, HeaderName, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Console, Shared,
    access::{Login, Who},
    api::{Empty, JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    error::ConsoleError,
    guard::{Address, COOKIE},
    refusals::Refused,
    token::{Token, is_token},
};
use crate::{
    accounts::{AccountError, MAX_SESSION_MS, NewUser, Owner, Role, UserChange},
    clients::{ActOutcome, Actor, Proof},
};

/// A login: the token, or the other three.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LoginForm {
    token: String,
    name: String,
    password: String,
    /// Empty without a second factor.
    code: String,
}

pub(super) async fn log_in(
    State(console): State<Shared>,
    Address(from): Address,
    headers: HeaderMap,
    JsonBody(form): JsonBody<LoginForm>,
) -> Result<Response, ConsoleError> {
    let (owner, proof) = if form.token.is_empty() {
        let user = console.accounts()?.find(&form.name).await?;
        console.prove_password(user.as_ref(), form.password, from).await?;
        let user = user.ok_or(ConsoleError::WrongPassword)?;
        let proof = console.prove_code(&user, &form.code, from).await?;
        (Owner::User(Box::new(user)), proof)
    } else {
        (console.prove_token(&form.token, from).await?, Proof::Token)
    };
    let cookie = console.open_session(owner, proof, from, &json!({})).await?;
    Ok((set_cookie(&cookie, &headers), NoStoreJson(Empty {})).into_response())
}

impl Console {
    /// Whether an administrator exists: an account, or a group whose members log in elsewhere.
    async fn has_administrator(&self) -> Result<bool, ConsoleError> {
        Ok(self.parts.has_external_administrators || self.accounts()?.has_administrator().await?)
    }

    /// The token that opens the console now. One that was made before the first administrator opens
    /// nothing afterwards.
    pub(super) async fn token(&self) -> Result<Option<Token>, ConsoleError> {
        let Some(token) = self.parts.token.current() else { return Ok(None) };
        let is_open = token.recovers || !self.has_administrator().await?;
        Ok(is_open.then_some(token))
    }

    /// The right token opens the console after any number of wrong ones: 256 bits cannot be
    /// guessed, and an attacker who sends wrong tokens must not lock out operators.
    async fn prove_token(
        self: &Shared,
        given: &str,
        from: Option<IpAddr>,
    ) -> Result<Owner, ConsoleError> {
        if let Some(token) = self.token().await?.filter(|token| is_token(given, &token.digest)) {
            return Ok(Owner::Token(token.digest.to_vec()));
        }
        let is_held_back = self.is_held_back(from);
        let refused = if is_held_back { Refused::HeldBack } else { Refused::Login };
        self.refuse(refused, &Actor::unproven("", from), "").await;
        if is_held_back {
            return Err(ConsoleError::TooManyLogins);
        }
        self.count_wrong(from);
        Err(ConsoleError::WrongToken)
    }

    /// Opens a session and records it, with `detail`; returns its cookie.
    pub(super) async fn open_session(
        &self,
        owner: Owner,
        proof: Proof,
        from: Option<IpAddr>,
        detail: &serde_json::Value,
    ) -> Result<Zeroizing<String>, ConsoleError> {
        let name = owner.name().to_owned();
        let accounts = self.accounts()?.with_actor(Actor::console(&name, from, proof));
        let address = from.map(|from| from.to_string());
        accounts.record("login", &name, ActOutcome::Done, detail).await?;
        let now = self.parts.app.clock.now();
        let cookie = accounts.open_session(owner, address, proof, now).await?;
        audit(&name, &AuditEvent::LoggedIn);
        Ok(cookie)
    }

    /// Removes a token that no longer opens anything, because an administrator exists.
    pub(super) fn use_up_token(&self) -> Result<(), ConsoleError> {
        self.parts.token.remove().map_err(|e| ConsoleError::internal(&e))
    }
}

/// What the page requests first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginState {
    logged_in: bool,
    /// Whether people log in by name; otherwise with the token.
    by_name: bool,
    /// Whether they can log in at a provider.
    provider: bool,
}

pub(super) async fn state(
    State(console): State<Shared>,
    address: Address,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<NoStoreJson<LoginState>, ConsoleError> {
    let logged_in = console.login_of(&extensions, &headers, address, false).await?.is_some();
    let by_name = console.has_administrator().await?;
    let provider = console.parts.provider.is_some();
    Ok(NoStoreJson(LoginState { logged_in, by_name, provider }))
}

pub(super) async fn log_out(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    headers: HeaderMap,
) -> Result<Response, ConsoleError> {
    // What a proxy says is not ended here.
    if let Who::Session(session) = &login.who {
        let accounts = console.accounts()?.with_actor(login.actor());
        accounts.end_session(&session.id()).await?;
        accounts.record("logout", login.name(), ActOutcome::Done, &json!({})).await?;
        audit(login.name(), &AuditEvent::LoggedOut);
    }
    let ended = cookie(COOKIE, "", 0, &headers);
    Ok(([(SET_COOKIE, ended)], NoStoreJson(Empty {})).into_response())
}

/// A new administrator, or an account that becomes one again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AdministratorForm {
    name: String,
    password: String,
}

/// Makes an administrator, or resets the account with that name, and uses up the token.
pub(super) async fn make_administrator(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    JsonBody(form): JsonBody<AdministratorForm>,
) -> Result<NoStoreJson<Empty>, ConsoleError> {
    let accounts = console.accounts()?.with_actor(login.actor());
    let password = console.new_password(form.password, &form.name).await?;
    let role = Role::Administrator;
    let new = NewUser { name: &form.name, role, password: password.clone() };
    match accounts.add(new).await {
        Err(AccountError::NameTaken(name)) => {
            let change = UserChange {
                role: Some(role),
                password: Some(password),
                disabled: Some(false),
                code_key: Some(None),
            };
            accounts.change(&name, &change).await?;
        }
        added => added?,
    }
    audit(login.name(), &AuditEvent::UserChanged { user: &form.name });
    console.use_up_token()?;
    Ok(NoStoreJson(Empty {}))
}

/// The header that gives the browser the cookie of a session.
pub(super) fn set_cookie(value: &str, headers: &HeaderMap) -> [(HeaderName, String); 1] {
    [(SET_COOKIE, cookie(COOKIE, value, MAX_SESSION_MS / 1_000, headers))]
}

/// A cookie for the console's own page, for so many seconds; 0 removes it.
pub(super) fn cookie(name: &str, value: &str, age_s: i64, headers: &HeaderMap) -> String {
    let secure = secure(headers);
    format!("{name}={value}; Path=/console; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}")
}

/// Behind a proxy that ends TLS the cookie must be `Secure`. A caller who forges the header gets a
/// cookie that the browser does not send back.
fn secure(headers: &HeaderMap) -> &'static str {
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    // Of several proxies each adds its own; the browser spoke to the first.
    let first = proto.and_then(|list| list.split(',').next()).unwrap_or_default();
    if first.trim().eq_ignore_ascii_case("https") { "; Secure" } else { "" }
}

//! The own account: password, second factor, sessions.

use axum::{
    Extension,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Console, Shared,
    access::Login,
    api::{Empty, JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    error::ConsoleError,
    login::set_cookie,
};
use crate::accounts::{
    CodeKey, CodeOffer, Owner, PasswordHash, Role, SessionInfo, UserChange, check_password,
};

/// The own account, as the page shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnAccount {
    name: String,
    role: Role,
    has_code: bool,
    /// The session of this request.
    session: String,
    sessions: Vec<SessionInfo>,
}

pub(super) async fn account(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
) -> Result<NoStoreJson<OwnAccount>, ConsoleError> {
    let (user, session) = login.account()?;
    let now = console.parts.app.clock.now();
    Ok(NoStoreJson(OwnAccount {
        name: user.name.clone(),
        role: user.role,
        has_code: user.has_code(),
        session: session.id(),
        sessions: console.accounts()?.sessions(Some(&user.name), now).await?,
    }))
}

/// A new password.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PasswordForm {
    password: String,
    new_password: String,
}

pub(super) async fn change_password(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<PasswordForm>,
) -> Result<Response, ConsoleError> {
    let (user, _) = login.account()?;
    check_password(&form.new_password, &user.name)?;
    console.prove_password(Some(user), form.password, login.from).await?;
    let password = console.hash(move || PasswordHash::new(&form.new_password)).await??;
    let change = UserChange { password: Some(password), ..UserChange::default() };
    console.change_own(&login, &change, &headers).await
}

/// A secret for an authenticator app, which is stored when the app has shown a code of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfferedCode {
    secret: Zeroizing<String>,
    uri: Zeroizing<String>,
    /// Rows of a QR code, `1` for a dark module.
    qr: Vec<Zeroizing<String>>,
    /// The secret as it is stored, to be sent back.
    sealed: String,
}

pub(super) async fn offer_code(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
) -> Result<NoStoreJson<OfferedCode>, ConsoleError> {
    let (user, _) = login.account()?;
    let key = CodeKey::random()?;
    let sealed = STANDARD.encode(console.accounts()?.seal_code(user, &key)?);
    let CodeOffer { text: secret, uri, qr } = key.offer(&user.name);
    Ok(NoStoreJson(OfferedCode { secret, uri, qr, sealed }))
}

/// The confirmation of a secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CodeForm {
    password: String,
    sealed: String,
    code: String,
}

pub(super) async fn set_code(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<CodeForm>,
) -> Result<Response, ConsoleError> {
    let (user, _) = login.account()?;
    console.prove_password(Some(user), form.password, login.from).await?;
    let sealed = STANDARD.decode(&form.sealed).map_err(|_| ConsoleError::Malformed)?;
    let key = console.accounts()?.open_code(user, &sealed);
    let key = key.map_err(|_| ConsoleError::Malformed)?;
    if key.step_of(&form.code, console.parts.app.clock.now()).is_none() {
        return Err(ConsoleError::WrongCode);
    }
    let change = UserChange { code_key: Some(Some(sealed)), ..UserChange::default() };
    console.change_own(&login, &change, &headers).await
}

/// The own password.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConfirmationForm {
    password: String,
}

pub(super) async fn remove_code(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<ConfirmationForm>,
) -> Result<Response, ConsoleError> {
    console.prove_password(Some(login.account()?.0), form.password, login.from).await?;
    let change = UserChange { code_key: Some(None), ..UserChange::default() };
    console.change_own(&login, &change, &headers).await
}

pub(super) async fn end_session(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<OwnAccount>, ConsoleError> {
    let name = login.account()?.0.name.clone();
    console.end_session(&login, &id, Some(&name)).await?;
    account(State(console), Extension(login)).await
}

impl Console {
    /// Changes the own account, which ends its sessions, and opens a new one in place of this one.
    async fn change_own(
        &self,
        login: &Login,
        change: &UserChange,
        headers: &HeaderMap,
    ) -> Result<Response, ConsoleError> {
        let (name, proof) = (login.name(), login.account()?.1.proof);
        let accounts = self.accounts()?.with_actor(login.actor());
        accounts.change(name, change).await?;
        audit(name, &AuditEvent::UserChanged { user: name });
        let user = accounts.find(name).await?.ok_or(ConsoleError::LoggedOut)?;
        let owner = Owner::User(Box::new(user));
        let cookie = self.open_session(owner, proof, login.from, &json!({})).await?;
        Ok((set_cookie(&cookie, headers), NoStoreJson(Empty {})).into_response())
    }
}

//! Users and sessions, for administrators.

use axum::{
    Extension,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Shared,
    access::Login,
    api::{JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    error::ConsoleError,
};
use crate::{
    accounts::{NewUser, Role, SessionInfo, UserChange, UserInfo},
    clients::ActOutcome,
};

/// All users and their sessions.
#[derive(Serialize)]
pub(super) struct Users {
    users: Vec<UserInfo>,
    sessions: Vec<SessionInfo>,
}

pub(super) async fn list(
    State(console): State<Shared>,
) -> Result<NoStoreJson<Users>, ConsoleError> {
    let accounts = console.accounts()?;
    let users = accounts.list().await?;
    let sessions = accounts.sessions(None, console.parts.app.clock.now()).await?;
    Ok(NoStoreJson(Users { users, sessions }))
}

/// A user to be added.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewUserForm {
    name: String,
    role: Role,
    password: String,
}

pub(super) async fn add(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    JsonBody(form): JsonBody<NewUserForm>,
) -> Result<NoStoreJson<Users>, ConsoleError> {
    let NewUserForm { name, role, password } = form;
    let password = console.new_password(password, &name).await?;
    let accounts = console.accounts()?.with_actor(login.actor());
    accounts.add(NewUser { name: &name, role, password }).await?;
    audit(login.name(), &AuditEvent::UserAdded { user: &name });
    if role == Role::Administrator {
        console.use_up_token()?;
    }
    list(State(console)).await
}

/// What is to change about a user; an absent field is not changed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserForm {
    role: Option<Role>,
    password: Option<String>,
    disabled: Option<bool>,
    /// Whether the second factor is removed.
    #[serde(default)]
    reset_code: bool,
}

pub(super) async fn change(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(name): Path<String>,
    JsonBody(form): JsonBody<UserForm>,
) -> Result<NoStoreJson<Users>, ConsoleError> {
    let password = match form.password {
        Some(password) => Some(console.new_password(password, &name).await?),
        None => None,
    };
    let change = UserChange {
        role: form.role,
        password,
        disabled: form.disabled,
        code_key: form.reset_code.then_some(None),
    };
    console.accounts()?.with_actor(login.actor()).change(&name, &change).await?;
    audit(login.name(), &AuditEvent::UserChanged { user: &name });
    list(State(console)).await
}

pub(super) async fn delete(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(name): Path<String>,
) -> Result<NoStoreJson<Users>, ConsoleError> {
    console.accounts()?.with_actor(login.actor()).delete(&name).await?;
    audit(login.name(), &AuditEvent::UserDeleted { user: &name });
    list(State(console)).await
}

pub(super) async fn end_session(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<Users>, ConsoleError> {
    console.end_session(&login, &id, None).await?;
    list(State(console)).await
}

impl super::Console {
    /// Ends a session, of one user if a name is given.
    pub(super) async fn end_session(
        &self,
        login: &Login,
        id: &str,
        of: Option<&str>,
    ) -> Result<(), ConsoleError> {
        let accounts = self.accounts()?.with_actor(login.actor());
        let sessions = accounts.sessions(of, self.parts.app.clock.now()).await?;
        // One that has ended meanwhile is what was wanted.
        let Some(session) = sessions.iter().find(|session| session.id == id) else {
            return Ok(());
        };
        accounts.end_session(id).await?;
        accounts.record("session end", &session.name, ActOutcome::Done, &json!({})).await?;
        audit(login.name(), &AuditEvent::SessionEnded { user: &session.name });
        Ok(())
    }
}

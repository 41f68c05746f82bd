//! The rights of each login.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Shared, error::ConsoleError, refusals::Refused, steps::Step};
use crate::{
    accounts::{Owner, Role, Session, User},
    clients::{Actor, Proof},
};

/// The rights of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Those of a role.
    Role(Role),
    /// With the token, as long as no administrator exists: all of them.
    FirstToken,
    /// With a token that was made later: making an administrator, and nothing else.
    RecoveryToken,
}

impl Rights {
    fn allow(self, step: Step) -> bool {
        match (self, step) {
            (_, Step::Own) | (Self::FirstToken, _) | (Self::RecoveryToken, Step::Recover) => true,
            (Self::RecoveryToken, _) | (Self::Role(_), Step::Recover) => false,
            (Self::Role(role), Step::View) => role >= Role::Viewer,
            (Self::Role(role), Step::Compare | Step::ChangeClients) => role >= Role::Operator,
            (Self::Role(role), Step::ManageUsers) => role >= Role::Administrator,
        }
    }
}

/// Who sent a request; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) who: Who,
    pub(super) rights: Rights,
    /// The address that the request came from.
    pub(super) from: Option<IpAddr>,
}

/// How a login is known.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// By a session of the console.
    Session(Arc<Session>),
    /// By an authenticating proxy, with each request; the name of the user.
    Proxy(Arc<str>),
}

/// Kinds of logins that the page distinguishes.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum LoginKind {
    Account,
    Token,
    Proxy,
    Provider,
}

impl Login {
    pub(super) fn may(&self, step: Step) -> bool {
        self.rights.allow(step)
    }

    pub(super) fn name(&self) -> &str {
        match &self.who {
            Who::Session(session) => session.name(),
            Who::Proxy(name) => name,
        }
    }

    pub(super) fn kind(&self) -> LoginKind {
        match &self.who {
            Who::Session(session) => match session.owner {
                Owner::User(_) => LoginKind::Account,
                Owner::Token(_) => LoginKind::Token,
                Owner::Person(_) => LoginKind::Provider,
            },
            Who::Proxy(_) => LoginKind::Proxy,
        }
    }

    /// For the audit.
    pub(super) fn actor(&self) -> Actor {
        let proof = match &self.who {
            Who::Session(session) => session.proof,
            Who::Proxy(_) => Proof::ProxyHeader,
        };
        Actor::console(self.name(), self.from, proof)
    }

    /// The account and its session.
    ///
    /// # Errors
    /// [`ConsoleError::NoAccount`] for a login with the token, by a proxy or at a provider.
    pub(super) fn account(&self) -> Result<(&User, &Session), ConsoleError> {
        match &self.who {
            Who::Session(session) => match &session.owner {
                Owner::User(user) => Ok((user, session)),
                Owner::Token(_) | Owner::Person(_) => Err(ConsoleError::NoAccount),
            },
            Who::Proxy(_) => Err(ConsoleError::NoAccount),
        }
    }
}

/// Refuses what the login may not do. Every guarded route has it.
pub(super) async fn require_step(
    State((console, step)): State<(Shared, Step)>,
    request: Request,
    next: Next,
) -> Response {
    let login = request.extensions().get::<Login>().cloned();
    match login {
        Some(login) if login.may(step) => next.run(request).await,
        Some(login) => {
            console.refuse(Refused::Step(step), &login.actor(), login.name()).await;
            ConsoleError::NotAllowed.into_response()
        }
        None => ConsoleError::LoggedOut.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may_and_a_token_only_what_it_is_for() {
        let allowed = |rights: Rights| Step::ALL.into_iter().filter(move |s| rights.allow(*s));
        let count = |rights| allowed(rights).count();
        assert_eq!(count(Rights::Role(Role::Viewer)), 2);
        assert_eq!(count(Rights::Role(Role::Operator)), 4);
        assert_eq!(count(Rights::Role(Role::Administrator)), 5);
        assert_eq!(count(Rights::FirstToken), 6);
        assert!(allowed(Rights::RecoveryToken).eq([Step::Own, Step::Recover]));
    }
}

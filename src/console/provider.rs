//! Logins at an `OpenID` provider. The page sends the browser there; it comes back to the page with
//! a code, which the page sends here. Between the two, the browser keeps the attempt in a sealed
//! cookie, so that nothing is stored for those who have proven nothing, and any process of the
//! installation can finish a login.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    Console, Shared,
    api::{Empty, JsonBody, NoStoreJson},
    error::ConsoleError,
    guard::{Address, COOKIE, cookie_of},
    login::cookie,
    refusals::Refused,
};
use crate::{
    accounts::{MAX_SESSION_MS, Owner, TOKEN_NAME},
    clients::{Actor, Proof, check_name},
    clock::UnixMillis,
    oidc::{LoginAttempt, OidcError, Person, Provider, Returned},
};

/// The cookie of a login that has begun, and the label under which it is sealed.
const ATTEMPT: &str = "visavis-login";
/// How long people have to log in at the provider.
const MAX_ATTEMPT_MS: i64 = 10 * 60_000;
/// The provider identifies a person with at most so many characters.
const MAX_SUBJECT: usize = 255;
/// Logins that talk to the provider at once.
const MAX_ASKING: usize = 4;
/// How long a login waits for others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Logins that may talk to the provider now.
#[derive(Debug)]
pub(super) struct Asking(Arc<Semaphore>);

impl Default for Asking {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ASKING)))
    }
}

/// What the cookie has.
#[derive(Serialize, Deserialize)]
struct Begun {
    attempt: LoginAttempt,
    at: UnixMillis,
}

/// Where the page sends the browser.
#[derive(Serialize)]
pub(super) struct Destination {
    /// `None`: the provider has no page to log out.
    url: Option<String>,
}

/// Begins a login.
pub(super) async fn begin(
    State(console): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, ConsoleError> {
    let attempt = LoginAttempt::new(own_page(&headers)?)?;
    let ask = move |provider: &Provider| Ok((provider.authorization_url(&attempt)?, attempt));
    let (url, attempt) = console.ask(ask).await?;
    let begun = Begun { attempt, at: console.parts.app.clock.now() };
    let begun = serde_json::to_vec(&begun).map_err(|error| ConsoleError::internal(&error))?;
    let sealed = URL_SAFE_NO_PAD.encode(console.accounts()?.seal(ATTEMPT, &begun)?);
    let kept = cookie(ATTEMPT, &sealed, MAX_ATTEMPT_MS / 1_000, &headers);
    let body = NoStoreJson(Destination { url: Some(url.into()) });
    Ok(([(header::SET_COOKIE, kept)], body).into_response())
}

/// Finishes the login of a browser that came back.
pub(super) async fn log_in(
    State(console): State<Shared>,
    Address(from): Address,
    headers: HeaderMap,
    JsonBody(returned): JsonBody<Returned>,
) -> Result<Response, ConsoleError> {
    if console.is_held_back(from) {
        console.refuse(Refused::HeldBack, &Actor::unproven("", from), "").await;
        return Err(ConsoleError::TooManyLogins);
    }
    let attempt = console.attempt(&headers).filter(|attempt| attempt.is_of(&returned));
    let attempt = attempt.ok_or(ConsoleError::LoginExpired)?;
    let person = match console.ask(move |provider| provider.log_in(&attempt, &returned)).await {
        Ok(person) => person,
        Err(error) => {
            console.count_wrong(from);
            console.refuse(Refused::Login, &Actor::unproven("", from), "").await;
            return Err(error);
        }
    };
    let session = console.admit(person, from).await?;
    let cookies = [
        (header::SET_COOKIE, cookie(COOKIE, &session, MAX_SESSION_MS / 1_000, &headers)),
        (header::SET_COOKIE, cookie(ATTEMPT, "", 0, &headers)),
    ];
    Ok((AppendHeaders(cookies), NoStoreJson(Empty {})).into_response())
}

/// Where a browser ends its login at the provider, which outlives the one here.
pub(super) async fn log_out(
    State(console): State<Shared>,
) -> Result<NoStoreJson<Destination>, ConsoleError> {
    let url = console.ask(|provider| Ok(provider.logout_url())).await?;
    Ok(NoStoreJson(Destination { url: url.map(Into::into) }))
}

/// The address of the page that sent a request, to which the provider sends the browser back. A
/// provider refuses one that is not registered.
fn own_page(headers: &HeaderMap) -> Result<String, ConsoleError> {
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    Ok(format!("{}/console/", origin.ok_or(ConsoleError::Malformed)?))
}

impl Console {
    /// Talks to the provider outside of the threads that serve connections, a few logins at once.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Provider) -> Result<T, OidcError> + Send + 'static,
    ) -> Result<T, ConsoleError> {
        let provider = Arc::clone(self.parts.provider.as_ref().ok_or(ConsoleError::NotFound)?);
        let permit = timeout(PATIENCE, Arc::clone(&self.asking.0).acquire_owned()).await;
        let permit = permit.map_err(|_| ConsoleError::Busy)?.map_err(|_| ConsoleError::Busy)?;
        let answer = spawn_blocking(move || {
            // Until the end, also if the request was given up.
            let _permit = permit;
            question(&provider)
        });
        Ok(answer.await.map_err(|error| ConsoleError::internal(&error))??)
    }

    /// The login that this browser has begun.
    fn attempt(&self, headers: &HeaderMap) -> Option<LoginAttempt> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie_of(headers, ATTEMPT)?).ok()?;
        let begun = self.accounts().ok()?.open(ATTEMPT, &sealed).ok()?;
        let begun: Begun = serde_json::from_slice(&begun).ok()?;
        let age = self.parts.app.clock.now() - begun.at;
        (-MAX_ATTEMPT_MS..MAX_ATTEMPT_MS).contains(&age).then_some(begun.attempt)
    }

    /// Opens a session for a person whom the provider has identified.
    async fn admit(
        self: &Shared,
        person: Person,
        from: Option<IpAddr>,
    ) -> Result<zeroize::Zeroizing<String>, ConsoleError> {
        let is_usable =
            |name: &String| check_name(name).is_ok() && !name.eq_ignore_ascii_case(TOKEN_NAME);
        let Some(name) = person.name.filter(is_usable) else {
            self.refuse(Refused::Login, &Actor::unproven("", from), "").await;
            return Err(ConsoleError::NoName);
        };
        let Some(role) = self.parts.groups.role(&person.groups) else {
            let actor = Actor::console(&name, from, Proof::OpenIdConnect);
            self.refuse(Refused::NoRole, &actor, &name).await;
            return Err(ConsoleError::NoRole);
        };
        let subject: String = person.subject.chars().take(MAX_SUBJECT).collect();
        let detail = json!({ "subject": subject, "role": role });
        self.open_session(Owner::Person { name, role }, Proof::OpenIdConnect, from, &detail).await
    }
}

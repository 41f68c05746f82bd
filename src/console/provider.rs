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
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    Console, Shared,
    api::{Empty, JsonBody, NoStoreJson},
    error::ConsoleError,
    guard::{Address, COOKIE, cookie_of},
    login::cookie,
    proving::counted,
    refusals::Refused,
};
use crate::{
    accounts::{MAX_SESSION_MS, Owner, Person, Role, TOKEN_NAME},
    clients::{Actor, Proof, is_person_name},
    clock::UnixMillis,
    deadline,
    gate::Peers,
    oidc::{Identity, LoginAttempt, OidcError, Provider, Returned},
};

/// The cookie of a login that has begun, and the label under which it is sealed.
const ATTEMPT: &str = "visavis-login";
/// How long people have to log in at the provider.
const MAX_ATTEMPT_MS: i64 = 10 * 60_000;
/// The provider identifies a person with at most so many characters.
const MAX_SUBJECT: usize = 255;
/// Clocks of processes may differ by so much.
const SKEW_MS: i64 = 60_000;
/// Logins that talk to the provider at once.
const MAX_ASKING: usize = 4;
/// How long a login waits for others.
const PATIENCE: Duration = Duration::from_secs(5);
/// Codes per minute and address that the provider may refuse; further ones are not sent to it.
const MAX_REFUSED: u32 = 5;

/// What bounds the requests to the provider.
#[derive(Debug)]
pub(super) struct Asking {
    turns: Arc<Semaphore>,
    /// Refused codes by address. A password is another matter: neither holds back the other.
    refused: Peers,
}

impl Default for Asking {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(MAX_ASKING));
        Self { turns, refused: Peers::new(MAX_REFUSED, Vec::new()) }
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
    let (url, attempt) = console.ask(&console.turn().await?, ask).await?;
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
    // Held until a refused code is counted: no more than some can be under way.
    let turn = console.turn().await?;
    let now = console.parts.app.clock.now();
    if console.asking.refused.held_back(counted(from), now).is_some() {
        console.refuse(Refused::HeldBack, &Actor::unproven("", from), "").await;
        return Err(ConsoleError::TooManyLogins);
    }
    let attempt = console.attempt(&headers).filter(|attempt| attempt.is_of(&returned));
    let identity = match attempt {
        Some(attempt) => {
            let ask = move |provider: &Provider| provider.log_in(&attempt, &returned);
            console.ask(&turn, ask).await
        }
        None => Err(ConsoleError::LoginExpired),
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => {
            if error == ConsoleError::ProviderRefused {
                console.asking.refused.failed(counted(from), now);
            }
            return Err(console.refuse_login(error, from, None, None).await);
        }
    };
    drop(turn);
    let session = console.admit(identity, from).await?;
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
    let url = console.ask(&console.turn().await?, Provider::logout_url).await?;
    Ok(NoStoreJson(Destination { url: url.map(Into::into) }))
}

/// The address of the page that sent a request, to which the provider sends the browser back. A
/// provider refuses one that is not registered.
fn own_page(headers: &HeaderMap) -> Result<String, ConsoleError> {
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    Ok(format!("{}/console/", origin.ok_or(ConsoleError::Malformed)?))
}

/// The right to talk to the provider; clones share it.
type Turn = Arc<OwnedSemaphorePermit>;

impl Console {
    fn provider(&self) -> Result<&Arc<Provider>, ConsoleError> {
        self.parts.provider.as_ref().ok_or(ConsoleError::NotFound)
    }

    /// Waits until few others talk to the provider.
    ///
    /// # Errors
    /// [`ConsoleError::NotFound`] without a provider, [`ConsoleError::Busy`].
    async fn turn(&self) -> Result<Turn, ConsoleError> {
        self.provider()?;
        let turn = timeout(PATIENCE, Arc::clone(&self.asking.turns).acquire_owned()).await;
        Ok(Arc::new(turn.map_err(|_| ConsoleError::Busy)?.map_err(|_| ConsoleError::Busy)?))
    }

    /// Talks to the provider outside of the threads that serve connections.
    async fn ask<T: Send + 'static>(
        &self,
        turn: &Turn,
        question: impl FnOnce(&Provider) -> Result<T, OidcError> + Send + 'static,
    ) -> Result<T, ConsoleError> {
        let provider = Arc::clone(self.provider()?);
        let turn = Turn::clone(turn);
        let answer = spawn_blocking(move || {
            // Until the end, also if the request was given up.
            let _turn = turn;
            question(&provider)
        });
        let answer = answer.await;
        // The provider has limits of its own: what it takes is not left for the database.
        deadline::restart();
        Ok(answer.map_err(|error| ConsoleError::internal(&error))??)
    }

    /// The login that this browser has begun.
    fn attempt(&self, headers: &HeaderMap) -> Option<LoginAttempt> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie_of(headers, ATTEMPT)?).ok()?;
        let begun = self.accounts().ok()?.open(ATTEMPT, &sealed).ok()?;
        let begun: Begun = serde_json::from_slice(&begun).ok()?;
        let age = self.parts.app.clock.now() - begun.at;
        (-SKEW_MS..MAX_ATTEMPT_MS).contains(&age).then_some(begun.attempt)
    }

    /// Audits a refused login, with name and identifier of the person, if they are proven.
    async fn refuse_login(
        self: &Shared,
        error: ConsoleError,
        from: Option<IpAddr>,
        name: Option<&str>,
        subject: Option<&str>,
    ) -> ConsoleError {
        let actor = match name {
            Some(name) => Actor::console(name, from, Proof::OpenIdConnect),
            None => Actor::unproven("", from),
        };
        let (_, reason) = error.code();
        let refused = Refused::AtProvider { reason, subject };
        self.refuse(refused, &actor, name.unwrap_or_default()).await;
        error
    }

    /// Opens a session for who has logged in at the provider.
    async fn admit(
        self: &Shared,
        identity: Identity,
        from: Option<IpAddr>,
    ) -> Result<Zeroizing<String>, ConsoleError> {
        let subject: String = identity.subject.chars().take(MAX_SUBJECT).collect();
        let is_usable =
            |name: &String| is_person_name(name) && !name.eq_ignore_ascii_case(TOKEN_NAME);
        let Some(name) = identity.name.filter(is_usable) else {
            return Err(self.refuse_login(ConsoleError::NoName, from, None, Some(&subject)).await);
        };
        let count = identity.groups.len();
        let groups = self.parts.groups.known(identity.groups);
        let Some(role) = self.parts.groups.role(&groups) else {
            tracing::warn!(
                groups = count,
                "no group of a person has a role: compare the claim oidc.groups_claim with \
                 admin.viewer_groups and the others"
            );
            let (name, subject) = (Some(name.as_str()), Some(subject.as_str()));
            return Err(self.refuse_login(ConsoleError::NoRole, from, name, subject).await);
        };
        let detail = json!({ "subject": subject, "role": role });
        let issuer = self.provider()?.issuer().to_owned();
        let person = Person { name, issuer, subject, groups };
        let owner = Owner::Person(Box::new(person));
        self.open_session(owner, Proof::OpenIdConnect, from, &detail).await
    }

    /// What a person at the provider may do now; `None` if another provider is configured, or none.
    pub(super) fn role_of(&self, person: &Person) -> Option<Role> {
        let provider = self.parts.provider.as_ref()?;
        let is_of_it = provider.issuer() == person.issuer;
        self.parts.groups.role(&person.groups).filter(|_| is_of_it)
    }
}

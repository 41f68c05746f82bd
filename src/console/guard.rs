//! Middleware of the console: security headers, the check that a request was sent by the console's
//! own page (CSRF), and the check of the login.

use std::{convert::Infallible, net::IpAddr};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, header, request},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    Console, Shared,
    access::{Login, Rights, Who},
    error::ConsoleError,
};
use crate::{accounts::Owner, deadline, gate::announced_length};

/// The name of the cookie.
pub(super) const COOKIE: &str = "visavis_console";

/// A header that pages of other origins cannot send without a CORS preflight, which is refused.
const OWN_HEADER: &str = "x-visavis-console";

/// Only scripts, styles and connections of this origin, none of them inline, and pictures that the
/// page itself creates. `require-trusted-types-for` makes every conversion of text to markup an
/// error.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds the headers to every response.
pub(super) async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Limits how long a request may wait for the databases.
pub(super) async fn with_deadline(request: Request, next: Next) -> Response {
    deadline::scope(Box::pin(next.run(request))).await
}

/// Refuses requests that the console's own page did not send.
pub(super) async fn require_own_page(request: Request, next: Next) -> Response {
    if is_own(request.headers()) {
        next.run(request).await
    } else {
        ConsoleError::CrossOrigin.into_response()
    }
}

fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text(OWN_HEADER) != Some("1") {
        return false;
    }
    // Browsers send both; a header that was sent must be right.
    let is_same_site = !headers.contains_key("sec-fetch-site")
        || matches!(text("sec-fetch-site"), Some("same-origin"));
    let origin = text("origin")
        .map(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    let is_same_origin = !headers.contains_key("origin")
        || origin.flatten().is_some_and(|origin| text("host") == Some(origin));
    is_same_site && is_same_origin
}

/// Refuses requests without a login; later ones find it in the extensions.
pub(super) async fn require_login(
    State(console): State<Shared>,
    address: Address,
    mut request: Request,
    next: Next,
) -> Response {
    // The page polls it.
    let is_polling = request.uri().path() == "/live";
    match console.login_of(request.extensions(), request.headers(), address, is_polling).await {
        Ok(Some(login)) => {
            request.extensions_mut().insert(login);
            next.run(request).await
        }
        Ok(None) => ConsoleError::LoggedOut.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Where a request came from; `None` without a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address(pub(super) Option<IpAddr>);

impl FromRequestParts<Shared> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut request::Parts,
        console: &Shared,
    ) -> Result<Self, Infallible> {
        Ok(Self(console.parts.app.gate.address(&parts.extensions, &parts.headers)))
    }
}

/// Memory that a request with photos takes, as a multiple of its body: the body, its text, and the
/// request to the gateway.
const BODY_COPIES: usize = 3;

/// Reserves memory for a request with photos before its body is read; it is released with the
/// response.
pub(super) async fn reserve_memory(
    State(console): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let app = &console.parts.app;
    let limit = app.config.gate.body_limit;
    let bytes = announced_length(request.headers()).map_or(limit, |length| length.min(limit));
    match app.gate.lease(BODY_COPIES * bytes).await {
        Ok(_lease) => next.run(request).await,
        Err(_) => ConsoleError::Busy.into_response(),
    }
}

impl Console {
    /// Who sent a request: the user whom an authenticating proxy names, or whose session it is.
    /// Polling does not extend a session.
    pub(super) async fn login_of(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
        Address(from): Address,
        is_polling: bool,
    ) -> Result<Option<Login>, ConsoleError> {
        let proxy = self.parts.proxy.as_ref();
        let groups = &self.parts.groups;
        if let Some(user) = proxy.and_then(|proxy| proxy.user(groups, extensions, headers)) {
            let role = user.role.ok_or(ConsoleError::NoRole)?;
            let who = Who::Proxy(user.name.into());
            return Ok(Some(Login { who, rights: Rights::Role(role), from }));
        }
        let Some(cookie) = cookie_of(headers, COOKIE) else { return Ok(None) };
        let now = self.parts.app.clock.now();
        let Some(session) = self.accounts()?.session(cookie, is_polling, now).await? else {
            return Ok(None);
        };
        let rights = match &session.owner {
            Owner::User(user) => Some(Rights::Role(user.role)),
            Owner::Person(person) => self.role_of(person).map(Rights::Role),
            Owner::Token(digest) => {
                let token = self.token().await?.filter(|token| token.digest == digest.as_slice());
                token.map(
                    |token| {
                        if token.recovers { Rights::RecoveryToken } else { Rights::FirstToken }
                    },
                )
            }
        };
        let who = Who::Session(session.into());
        Ok(rights.map(|rights| Login { who, rights, from }))
    }
}

/// The value of a cookie.
pub(super) fn cookie_of<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn only_the_consoles_own_page_is_accepted() {
        let (own, host) = ((OWN_HEADER, "1"), ("host", "127.0.0.1:9464"));
        let origin = ("origin", "http://127.0.0.1:9464");
        for good in [
            &[own, host][..],
            &[own, host, origin],
            &[own, host, origin, ("sec-fetch-site", "same-origin")],
            &[own, ("host", "faces.example"), ("origin", "https://faces.example")],
        ] {
            assert!(is_own(&headers(good)), "{good:?}");
        }
        for foreign in [
            &[host, origin][..],
            &[own, host, ("origin", "http://evil.example")],
            &[own, host, ("origin", "http://127.0.0.1:80")],
            &[own, host, ("origin", "null")],
            &[own, origin],
            &[own, host, origin, ("sec-fetch-site", "same-site")],
            &[own, host, origin, ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!is_own(&headers(foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let cookie = |line| cookie_of(&headers(&[("cookie", line)]), COOKIE).map(str::to_owned);
        assert_eq!(cookie("a=b; visavis_console=x; c=d").as_deref(), Some("x"));
        assert_eq!(cookie("xvisavis_console=x"), None);
    }
}

//! One request and its response: who calls is looked up before, the response is encrypted and
//! signed in kind after, whatever happened between. One line is logged.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tracing::{Instrument as _, Span, field::Empty};
use visavis_signing::{
    Content, SigningError, encrypt_header, format_time, mac_header, random_bytes, signature_header,
};

use super::{
    answer::ResponseLog,
    error::{ApiError, is_sender_at_fault},
    recent::endpoint,
    state::AppState,
};
use crate::{
    clients::Caller,
    compare::{TraceContext, TransactionId},
    deadline,
    gate::{Arrived, Gate, Scheme, single},
    telemetry::traces::{continue_trace, set_proven},
};

/// A request whose response is to be logged, counted, encrypted and signed.
struct Exchange {
    arrived: Arc<Arrived>,
    path: String,
    /// The registered client that the request claims to be from.
    client: String,
}

/// Looks the caller up, runs the rest, encrypts and signs what comes back.
pub(super) async fn exchange(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let span = tracing::error_span!(
        "http.request",
        trace = Empty,
        from = Empty,
        client = Empty,
        client_name = Empty,
        asked_client = Empty,
        code = Empty,
    );
    let trace = continue_trace(&span, trace_of(request.headers()));
    span.record("trace", tracing::field::display(trace));
    let answering = answer(app, request, next, started, trace).instrument(span);
    deadline::scope(Box::pin(answering)).await
}

async fn answer(
    app: AppState,
    mut request: Request,
    next: Next,
    started: Instant,
    trace: TraceContext,
) -> Response {
    let arrived = Arrived::read(&app.gate, &request);
    // Also for a request that is dropped in the middle, because its connection or stream ends.
    let mut failing =
        Failing { arrived: Arc::clone(&arrived), gate: app.gate.clone(), is_failure: true };
    let path = request.uri().path().to_owned();
    record_peer(&arrived);
    let claimed = loggable(&arrived.client_id);
    let looking_up = tracing::error_span!("identify", asked_client = &*claimed);
    let identified = arrived.identify(&app.gate).instrument(looking_up).await;
    let caller = identified.as_ref().ok().and_then(|identified| identified.caller.as_ref());
    record_client(caller.map(|caller| &**caller), &claimed);
    let client = caller.map_or("unknown", |caller| &caller.client_id).to_owned();
    let exchange = Exchange { arrived, path, client };
    let response = match identified {
        Err(rejection) => ApiError::from(rejection).into_response(),
        Ok(identified) => {
            request.extensions_mut().insert(Arc::new(identified));
            request.extensions_mut().insert(trace);
            next.run(request).await
        }
    };
    let log = response.extensions().get::<ResponseLog>().cloned().unwrap_or_default();
    failing.is_failure = is_sender_at_fault(log.code);
    drop(failing);
    let elapsed = started.elapsed();
    app.recent().note(&exchange.path, log.code, elapsed);
    exchange.log(&log, elapsed);
    exchange.encrypt_and_sign(&app, response).await
}

/// The address of the sender, as every line about the request has it.
fn record_peer(arrived: &Arrived) {
    if let Some(peer) = arrived.peer {
        Span::current().record("from", tracing::field::display(peer));
    }
}

/// The client; of an unknown one the id that it claims.
fn record_client(caller: Option<&Caller>, claimed: &str) {
    let span = Span::current();
    let Some(caller) = caller else {
        span.record("client", "unknown");
        if !claimed.is_empty() {
            span.record("asked_client", claimed);
        }
        return;
    };
    span.record("client", &caller.client_id);
    span.record("client_name", &caller.client.name);
}

/// Counts a request as failed when it ends without proof.
struct Failing {
    arrived: Arc<Arrived>,
    gate: Gate,
    is_failure: bool,
}

impl Drop for Failing {
    fn drop(&mut self) {
        if self.is_failure {
            self.arrived.failed(&self.gate);
        }
    }
}

/// The longest unknown path that is logged, characters.
const MAX_LOGGED_PATH: usize = 128;

/// A path as it may be logged: any sender may send any path.
fn loggable(path: &str) -> Cow<'_, str> {
    let is_short = path.len() <= MAX_LOGGED_PATH;
    if is_short && !path.contains(char::is_control) {
        return Cow::Borrowed(path);
    }
    let mut text = String::new();
    for character in path.chars().take(MAX_LOGGED_PATH) {
        if character.is_control() {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    if !is_short {
        text.push_str(" (cut)");
    }
    Cow::Owned(text)
}

impl Exchange {
    /// One line a request, and the same for the metrics. Of what the client says there are the
    /// path, its id, and the trace that it wants to be found by.
    fn log(&self, log: &ResponseLog, elapsed: Duration) {
        let client = self.client.as_str();
        let (code, endpoint) = (log.code, endpoint(&self.path));
        metrics::counter!(
            "visavis_requests_total",
            "endpoint" => endpoint, "client" => client.to_owned(), "code" => code
        )
        .increment(1);
        metrics::histogram!("visavis_request_seconds", "endpoint" => endpoint).record(elapsed);
        let span = Span::current();
        span.record("code", code);
        if self.arrived.reply.proven().is_some() {
            set_proven(&span);
        }
        tracing::info!(
            path = &*loggable(&self.path),
            mode = self.mode(),
            reason = log.reason,
            transaction = log.transaction_id.as_ref().map(TransactionId::as_str),
            elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }

    fn mode(&self) -> &'static str {
        match (self.arrived.scheme, self.arrived.reply.cipher()) {
            (Scheme::Secret, _) => "access_key",
            (Scheme::KeyPair, None) => "key_pair",
            (Scheme::KeyPair, Some(_)) => "encrypted",
        }
    }

    /// Encrypts if the request was, and adds Response-Time and Signature.
    async fn encrypt_and_sign(&self, app: &AppState, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return ApiError::Internal.into_response();
        };
        let mut body = Vec::from(body);
        let done = self.encrypt(&mut body, &mut parts.headers).and_then(|()| {
            let time = format_time(app.clock.now_utc());
            let signature = self.sign(&time, &body)?;
            insert(&mut parts.headers, "response-time", &time);
            insert(&mut parts.headers, "signature", &signature);
            if self.arrived.closes_connection(!app.is_ready()) {
                insert(&mut parts.headers, "connection", "close");
            }
            Ok(())
        });
        match done {
            Ok(()) => Response::from_parts(parts, Body::from(body)),
            Err(error) => {
                tracing::error!(%error, "cannot encrypt or sign a response");
                ApiError::Internal.into_response()
            }
        }
    }

    fn encrypt(&self, body: &mut Vec<u8>, headers: &mut HeaderMap) -> Result<(), SigningError> {
        let reply = &self.arrived.reply;
        let (Some(key), Some((_, keys))) = (reply.cipher(), reply.proven()) else {
            return Ok(());
        };
        *body = key.encrypt(body)?.into_bytes();
        insert(headers, "encrypt", &encrypt_header(&keys.merchant_key.wrap_key(key)?));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        Ok(())
    }

    /// Signs with the caller's keys. Without proof a secret signs nothing: both sides use it over
    /// one form of text, so the response would be a valid request. Without a known client no one
    /// could check a signature. Both get random bytes of the same form, because some SDKs fail on a
    /// response without a signature and never show its message.
    fn sign(&self, time: &str, body: &[u8]) -> Result<String, SigningError> {
        let Arrived { client_id, scheme, reply, .. } = &*self.arrived;
        let content = |uri| Content { uri, client_id, time, body };
        Ok(match (scheme, reply.proven(), reply.presumed()) {
            (Scheme::Secret, Some((uri, keys)), _) => {
                mac_header(&keys.secret_key.sign(&content(uri)))
            }
            (Scheme::Secret, None, _) => mac_header(&random_bytes::<32>()?),
            (Scheme::KeyPair, Some((uri, keys)), _) => {
                signature_header(&keys.server_key.sign(&content(uri))?)
            }
            (Scheme::KeyPair, None, Some(keys)) => {
                signature_header(&keys.server_key.sign(&content(&self.path))?)
            }
            (Scheme::KeyPair, None, None) => signature_header(&random_bytes::<256>()?),
        })
    }
}

/// The trace that the caller names.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    single(headers, "traceparent").ok().flatten()?.trim().parse().ok()
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_log_is_short_and_has_no_control_characters() {
        let usual = "/api/v1/zoloz/facecompare/compare";
        assert_eq!(loggable(usual), usual);
        let long = loggable(&"/x".repeat(30_000)).into_owned();
        assert_eq!(long, "/x".repeat(MAX_LOGGED_PATH / 2) + " (cut)");
        let controls = loggable("/\u{9b}31m\u{85}\u{1b}[2J/");
        assert_eq!(controls, "/\\u{9b}31m\\u{85}\\u{1b}[2J/");
    }
}

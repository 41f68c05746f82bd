//! One request and its response: who calls is looked up before, the response is encrypted and signed in
//! kind after, whatever happened between. One line is logged.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{answer::Told, error::ApiError, recent::endpoint, router::RawUri, state::AppState};
use crate::{
    compare::{TraceContext, TransactionId},
    deadline,
    gate::{Arrived, Gate, Identified, Proven, SMALL_BODY_BYTES, Scheme, single},
    signing::{
        Content, SigningError, encrypt_header, format_time, mac_header, random_bytes,
        signature_header,
    },
    telemetry::spans,
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
    let (trace, parent_id) = trace_of(request.headers());
    deadline::scope(Box::pin(answer(app, request, next, started, trace, parent_id))).await
}

async fn answer(
    app: AppState,
    mut request: Request,
    next: Next,
    started: Instant,
    trace: TraceContext,
    parent_id: u64,
) -> Response {
    let arrived = Arrived::read(&app.gate, &request);
    // Also for a request that is dropped in the middle, because its connection or stream ends.
    let mut failing =
        Failing { arrived: Arc::clone(&arrived), gate: app.gate.clone(), is_failure: true };
    let path = request.uri().path().to_owned();
    let identified = arrived.identify(&app.gate).await;
    let client = identified.as_ref().ok().and_then(|identified| identified.caller.as_ref());
    let client = client.map_or("unknown", |caller| &caller.client_id).to_owned();
    let exchange = Exchange { arrived, path, client };
    let response = match identified {
        Err(rejection) => ApiError::from(rejection).into_response(),
        Ok(identified) => {
            request.extensions_mut().insert(Arc::new(identified));
            request.extensions_mut().insert(trace);
            next.run(request).await
        }
    };
    let told = response.extensions().get::<Told>().cloned().unwrap_or_default();
    failing.is_failure = !OUR_FAULT.contains(&told.code);
    drop(failing);
    let elapsed = started.elapsed();
    app.recent().note(&exchange.path, told.code, elapsed);
    exchange.log(&told, &trace, elapsed);
    exchange.trace(&told, trace, parent_id, elapsed);
    exchange.seal(&app, response).await
}

/// Result codes that are no failure of the sender.
const OUR_FAULT: [&str; 2] = ["SYSTEM_ERROR", "REQUEST_TRAFFIC_EXCEED_LIMIT"];

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

/// A request whose signature holds; a handler that takes one cannot run without it.
impl FromRequest<AppState> for Proven {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        prove(request, app, app.gate.body_limit()).await
    }
}

/// The same for an endpoint that takes no pictures: its body is small.
pub(super) struct SmallProven(pub(super) Proven);

impl FromRequest<AppState> for SmallProven {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        prove(request, app, SMALL_BODY_BYTES).await.map(Self)
    }
}

async fn prove(request: Request, app: &AppState, limit: usize) -> Result<Proven, ApiError> {
    let identified = request.extensions().get::<Arc<Identified>>().cloned();
    let identified = identified.ok_or(ApiError::Internal)?;
    let original = request.extensions().get::<RawUri>().map(|uri| uri.0.clone());
    let (parts, body) = request.into_parts();
    let proven = identified.prove(&app.gate, parts, original.as_ref(), body, limit).await?;
    Ok(proven)
}

/// The longest unknown path that is logged, characters.
const MAX_LOGGED_PATH: usize = 128;

/// A path as it may stand in the log: anybody may send any.
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
    /// One line a request, and the same for the metrics. Of what the client says there are the path, its id once that
    /// is known to be one, and the trace it wants to be found by.
    fn log(&self, told: &Told, trace: &TraceContext, elapsed: Duration) {
        let client = self.client.as_str();
        let (code, endpoint) = (told.code, endpoint(&self.path));
        metrics::counter!("visavis_requests_total", "endpoint" => endpoint, "client" => client.to_owned(), "code" => code)
            .increment(1);
        metrics::histogram!("visavis_request_seconds", "endpoint" => endpoint).record(elapsed);
        tracing::info!(
            path = &*loggable(&self.path),
            client,
            mode = self.mode(),
            code,
            limit = told.limit,
            transaction = told.transaction_id.as_ref().map(TransactionId::as_str),
            trace = %trace,
            elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }

    /// The span of the request.
    fn trace(&self, told: &Told, trace: TraceContext, parent_id: u64, took: Duration) {
        // Unproven requests do not fill the exporter's queue.
        if !(spans::are_wanted() && trace.is_sampled() && self.arrived.reply.proven().is_some()) {
            return;
        }
        let transaction = told.transaction_id.as_ref().map(|id| ("transaction", id.to_string()));
        let known = [("client", self.client.clone()), ("code", told.code.to_owned())];
        spans::tell(spans::Span {
            name: endpoint(&self.path),
            role: spans::Role::Server,
            trace_id: trace.trace_id(),
            span_id: trace.span_id(),
            parent_id,
            took,
            ago: Duration::ZERO,
            attributes: known.into_iter().chain(transaction).collect(),
        });
    }

    fn mode(&self) -> &'static str {
        match (self.arrived.scheme, self.arrived.reply.cipher()) {
            (Scheme::Secret, _) => "access_key",
            (Scheme::KeyPair, None) => "key_pair",
            (Scheme::KeyPair, Some(_)) => "encrypted",
        }
    }

    /// Encrypts if the request was, and adds Response-Time and Signature.
    async fn seal(&self, app: &AppState, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return ApiError::Internal.into_response();
        };
        let mut body = Vec::from(body);
        let sealed = self.encrypt(&mut body, &mut parts.headers).and_then(|()| {
            let time = format_time(app.clock.now_utc());
            let signature = self.sign(&time, &body)?;
            insert(&mut parts.headers, "response-time", &time);
            insert(&mut parts.headers, "signature", &signature);
            if self.arrived.closes_connection() {
                insert(&mut parts.headers, "connection", "close");
            }
            Ok(())
        });
        match sealed {
            Ok(()) => Response::from_parts(parts, Body::from(body)),
            Err(error) => {
                tracing::error!(%error, "an answer could not be encrypted or signed");
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

    /// Signs with the caller's keys. Without proof a secret signs nothing: both sides use it over one form of text, so the
    /// response would be a valid request. Without a known client nobody could check a signature. Both get random bytes of
    /// the same form, because some SDKs fail on a response without a signature and never show its message.
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

/// The span of this request in the trace that the caller names, and what it is a part of there; or a trace of its
/// own.
fn trace_of(headers: &HeaderMap) -> (TraceContext, u64) {
    let named = single(headers, "traceparent").ok().flatten();
    let named = named.and_then(|text| text.trim().parse::<TraceContext>().ok());
    named.map_or_else(|| (TraceContext::new(), 0), |named| (named.child(), named.span_id()))
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

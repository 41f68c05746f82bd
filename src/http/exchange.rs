//! One request and its answer: who calls is looked up before, the answer is encrypted and signed in
//! kind after, whatever happened between. One line is logged.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{answer::Told, error::ApiError, recent::endpoint, state::AppState};
use crate::{
    clients::{Caller, KeySet},
    compare::{TraceContext, TransactionId},
    signing::{
        Content, SigningError, SymmetricKey, encrypt_header, format_time, mac_header, random_bytes,
        signature_header,
    },
    telemetry::spans,
};

/// How a client signs, and wants its answers signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// RSA key pairs on both sides; the default.
    KeyPair,
    /// `Auth-Type: AKSK`: an access key and a secret key that both sides hold.
    Secret,
}

impl Scheme {
    /// Reads Auth-Type.
    ///
    /// # Errors
    /// [`ApiError::IllegalHeader`] when it is neither absent nor AKSK.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        match single(headers, "Auth-Type")?.map(str::trim) {
            None | Some("") => Ok(Self::KeyPair),
            Some(name) if name.eq_ignore_ascii_case("AKSK") => Ok(Self::Secret),
            Some(_) => {
                let why = "is not AKSK; leave it out to sign with the key pair".to_owned();
                Err(ApiError::IllegalHeader("Auth-Type", why))
            }
        }
    }
}

/// What is known of a request before its body is read, and how it is to be answered.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The registered client that the request says it is from; nothing is proven yet.
    pub(super) caller: Option<Arc<Caller>>,
    client_id: String,
    path: String,
    scheme: Scheme,
    /// The keys that an answer is signed with if nothing is proven.
    presumed: Option<Arc<KeySet>>,
    proven: OnceLock<(String, Arc<KeySet>)>,
    cipher: OnceLock<SymmetricKey>,
}

/// The client id is echoed into the signed text of the answer, so its length is bounded.
const LONGEST_CLIENT_ID: usize = 128;

/// Looks the caller up, runs the rest, encrypts and signs what comes back.
pub(super) async fn exchange(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let (trace, parent_id) = trace_of(request.headers());
    let client_id = single(request.headers(), "Client-Id").ok().flatten();
    let client_id =
        client_id.filter(|id| id.len() <= LONGEST_CLIENT_ID).unwrap_or_default().to_owned();
    let (caller, failure) = match app.clients.find(&client_id).await {
        Ok(caller) => (caller, None),
        // The answer is signed with the keys that are remembered; nothing else is done with them.
        Err(error) => (app.clients.remembered(&client_id), Some(ApiError::from(error))),
    };
    let path = request.uri().path().to_owned();
    let exchange = Arc::new(Exchange::new(caller, client_id, path, request.headers()));
    let response = if let Some(error) = failure {
        error.into_response()
    } else {
        request.extensions_mut().insert(Arc::clone(&exchange));
        request.extensions_mut().insert(trace);
        next.run(request).await
    };
    let told = response.extensions().get::<Told>().cloned().unwrap_or_default();
    let elapsed = started.elapsed();
    app.recent().note(&exchange.path, told.code, elapsed);
    exchange.log(&told, &trace, elapsed);
    exchange.trace(&told, trace, parent_id, elapsed);
    exchange.seal(&app, response).await
}

impl Exchange {
    fn new(
        caller: Option<Arc<Caller>>,
        client_id: String,
        path: String,
        headers: &HeaderMap,
    ) -> Self {
        let scheme = Scheme::of(headers).unwrap_or(Scheme::KeyPair);
        let access_key = single(headers, "Access-Key").ok().flatten();
        let presumed = caller.as_ref().and_then(|caller| {
            let named = caller.client.keys.iter().find(|set| Some(&*set.access_key) == access_key);
            named.or_else(|| caller.newest()).cloned()
        });
        let (proven, cipher) = (OnceLock::new(), OnceLock::new());
        Self { caller, client_id, path, scheme, presumed, proven, cipher }
    }

    /// The answer is to be signed over the URI that the client signed and with the keys it has.
    pub(super) fn answer_as(&self, uri: String, keys: Arc<KeySet>) {
        // Set once per request; a second value could only be the same.
        let _ = self.proven.set((uri, keys));
    }

    /// The answer is to be encrypted under the key of the request: clients decrypt with the key that
    /// they sent, whatever the answer's Encrypt header says.
    pub(super) fn answer_under(&self, key: SymmetricKey) {
        // Set once per request, as above.
        let _ = self.cipher.set(key);
    }

    /// One line a request, and the same for the metrics. Of what the client says there are the path, its id once that
    /// is known to be one, and the trace it wants to be found by.
    fn log(&self, told: &Told, trace: &TraceContext, elapsed: Duration) {
        let client = self.client();
        let (code, endpoint) = (told.code, endpoint(&self.path));
        metrics::counter!("visavis_requests_total", "endpoint" => endpoint, "client" => client.to_owned(), "code" => code)
            .increment(1);
        metrics::histogram!("visavis_request_seconds", "endpoint" => endpoint).record(elapsed);
        tracing::info!(
            path = self.path,
            client,
            mode = self.mode(),
            code,
            transaction = told.transaction_id.as_ref().map(TransactionId::as_str),
            trace = %trace,
            elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }

    /// The span of the request.
    fn trace(&self, told: &Told, trace: TraceContext, parent_id: u64, took: Duration) {
        // Strangers do not fill the exporter's queue.
        if !(spans::are_wanted() && trace.is_sampled() && self.proven.get().is_some()) {
            return;
        }
        let client = self.client();
        let transaction = told.transaction_id.as_ref().map(|id| ("transaction", id.to_string()));
        let known = [("client", client.to_owned()), ("code", told.code.to_owned())];
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

    /// The Client-Id, once it is known to be one.
    fn client(&self) -> &str {
        self.caller.as_ref().map_or("unknown", |caller| caller.client_id.as_str())
    }

    fn mode(&self) -> &'static str {
        match (self.scheme, self.cipher.get()) {
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
        let (Some(key), Some((_, keys))) = (self.cipher.get(), self.proven.get()) else {
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
        let content = |uri| Content { uri, client_id: &self.client_id, time, body };
        Ok(match (self.scheme, self.proven.get(), &self.presumed) {
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

/// The value of a header that may be there once: two of them are two readings of one request, and a
/// proxy may have checked the other one.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::IllegalHeader(name, "is there twice".to_owned()));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| ApiError::IllegalHeader(name, "is not plain ASCII".to_owned()))
}

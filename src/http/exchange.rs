//! One request and its answer: who calls is looked up before, the answer is signed after, whatever
//! happened between. One line is logged.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{answer::ResultCode, error::ApiError, state::AppState};
use crate::{
    clients::Caller,
    signing::{Content, ServerKey, format_time, signature_header},
};

/// What is known of a request before its body is read.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The registered client that the request says it is from; nothing is proven yet.
    pub(super) caller: Option<Arc<Caller>>,
    client_id: String,
    path: String,
    signed_uri: OnceLock<String>,
}

/// The client id is echoed into the signed text of the answer, so its length is bounded.
const LONGEST_CLIENT_ID: usize = 128;

/// Looks the caller up, runs the rest, signs what comes back.
pub(super) async fn exchange(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let client_id = single(request.headers(), "client-id").ok().flatten();
    let client_id =
        client_id.filter(|id| id.len() <= LONGEST_CLIENT_ID).unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    let (caller, failure) = match app.clients.find(&client_id).await {
        Ok(caller) => (caller, None),
        Err(error) => (None, Some(ApiError::internal(&error))),
    };
    let exchange = Arc::new(Exchange { caller, client_id, path, signed_uri: OnceLock::new() });
    let response = if let Some(error) = failure {
        error.into_response()
    } else {
        request.extensions_mut().insert(Arc::clone(&exchange));
        next.run(request).await
    };
    let code = response.extensions().get::<ResultCode>().map_or("", |code| code.0);
    tracing::info!(
        path = exchange.path,
        client = exchange.caller.as_ref().map_or("unknown", |c| c.client_id.as_str()),
        code,
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    exchange.sign(&app, response).await
}

impl Exchange {
    /// The answer is to be signed over the URI that the client signed, if that is not the clean path.
    pub(super) fn answer_over(&self, uri: String) {
        // Set once per request; a second value could only be the same.
        let _ = self.signed_uri.set(uri);
    }

    /// Adds Response-Time and Signature: with the caller's server key, or for a stranger with the
    /// gateway's.
    async fn sign(&self, app: &AppState, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return ApiError::Internal.into_response();
        };
        let time = format_time(app.clock.now_utc());
        let uri = self.signed_uri.get().unwrap_or(&self.path);
        let content = Content { uri, client_id: &self.client_id, time: &time, body: &body };
        match self.key(app).sign(&content) {
            Ok(signature) => {
                insert(&mut parts.headers, "response-time", &time);
                insert(&mut parts.headers, "signature", &signature_header(&signature));
            }
            Err(error) => tracing::error!(%error, "an answer could not be signed"),
        }
        Response::from_parts(parts, Body::from(body))
    }

    fn key<'a>(&'a self, app: &'a AppState) -> &'a ServerKey {
        match &self.caller {
            Some(caller) => &caller.client.server_key,
            None => app.clients.gateway_key(),
        }
    }
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

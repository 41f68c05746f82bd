//! `Signed`: a request whose signature holds. A handler that takes one cannot run without it.
//!
//! The order is cheap checks first, then the signature over the raw bytes, and only then does anybody
//! decrypt or parse them.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};

use super::{
    body::{Collected, collect, discard},
    error::{ApiError, Limit},
    exchange::Exchange,
    head::{Head, candidates},
    router::RawUri,
    state::AppState,
};
use crate::{
    clients::{Caller, KeySet},
    clock::UnixMillis,
    compare::TraceContext,
    signing::{HeaderBytes, SymmetricKey},
};

/// Bodies from this size on are hashed, decrypted and parsed off the threads that serve connections. Smaller ones take
/// less than two milliseconds, and two changes of threads for each request cost more than that is worth: 0.6 ms of
/// processor time for photos of 1280 pixels.
const OFFLOAD_FROM: usize = 1 << 20;

/// A verified request, not yet decrypted or parsed. Nothing can be answered from it but errors.
#[derive(Debug)]
pub(super) struct Signed {
    caller: Arc<Caller>,
    dedupe: [u8; 32],
    /// The keys it was signed with.
    keys: Arc<KeySet>,
    /// The AES key of the body, if it is encrypted.
    wrapped_key: Option<HeaderBytes>,
    /// Whether the client has sent more requests of late than it may.
    too_many: bool,
    body: Collected,
    exchange: Arc<Exchange>,
    trace: Option<TraceContext>,
    app: AppState,
}

/// What a verified request asks for. Who asked is known only here, so that no answer about a client's
/// transactions can go out before it is settled whether it must be encrypted.
#[derive(Debug)]
pub(super) struct Parsed<T> {
    /// Who signed it.
    pub(super) caller: Arc<Caller>,
    /// Digest of client and signature: the same for every repetition of one signed request.
    pub(super) dedupe: [u8; 32],
    /// What `parse` made of the body.
    pub(super) value: T,
    /// The body's share of the memory budget.
    _body: Collected,
}

impl Signed {
    /// Whether the body came encrypted, so that the answer should be.
    pub(super) fn is_encrypted(&self) -> bool {
        self.wrapped_key.is_some()
    }

    /// As of [`Parsed`].
    pub(super) fn dedupe(&self) -> &[u8; 32] {
        &self.dedupe
    }

    /// The trace that the request belongs to.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Who signed it.
    pub(super) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Decrypts the body if it is encrypted and runs `parse` on it, on a thread for blocking work if it
    /// is large.
    ///
    /// From here on the answer to an encrypted request is encrypted too, whatever `parse` says of the
    /// members, provided that there was JSON at all: before that, an encrypted error would tell that
    /// the wrapped key was well-formed.
    pub(super) async fn parse<T, F>(self, parse: F) -> Result<Parsed<T>, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
    {
        let bytes = self.body.bytes.clone();
        let value = match &self.wrapped_key {
            None => offload(bytes.len(), move || parse(&bytes)).await?,
            Some(wrapped) => self.decrypt_and(wrapped, parse).await?,
        };
        Ok(Parsed { caller: self.caller, dedupe: self.dedupe, value, _body: self.body })
    }

    async fn decrypt_and<T, F>(&self, wrapped: &HeaderBytes, parse: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
    {
        let (wrapped, bytes) = (*wrapped, self.body.bytes.clone());
        let (clock, keys) = (self.app.clock.clone(), Arc::clone(&self.keys));
        let guard = self.app.decrypt_guard();
        let pass = guard.admit(&self.caller.client_id, clock.now()).await?;
        let opened = offload(bytes.len(), move || {
            let key = keys.server_key.unwrap_key(&wrapped).map_err(|e| ApiError::internal(&e))?;
            let opened = open(key, &bytes, parse);
            if opened.is_err() {
                pass.failed(clock.now());
            }
            opened
        });
        let (key, parsed) = opened.await?;
        self.exchange.answer_under(key);
        if self.too_many { Err(ApiError::Overloaded(Limit::Rate)) } else { parsed }
    }
}

/// Decrypts and parses. Wrong key, wrong padding, wrong text and wrong JSON are one error.
pub(super) fn open<T>(
    key: SymmetricKey,
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<T, ApiError>,
) -> Result<(SymmetricKey, Result<T, ApiError>), ApiError> {
    let plain = key.decrypt(body).map_err(|_| ApiError::Undecryptable)?;
    match parse(&plain) {
        Err(ApiError::NotJson | ApiError::EmptyBody) => Err(ApiError::Undecryptable),
        parsed => Ok((key, parsed)),
    }
}

impl FromRequest<AppState> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let now = app.clock.now();
        let from = app.strangers().address(request.extensions(), request.headers());
        if from.is_some_and(|from| app.strangers().is_refused(from, now)) {
            let (parts, body) = request.into_parts();
            discard(&parts.headers, body, &app.config).await;
            return Err(ApiError::TooManyStrangers);
        }
        let proven = Self::prove(request, app, now).await;
        if let Err(error) = &proven
            && error.is_of_a_stranger()
            && let Some(from) = from
        {
            app.strangers().failed(from, now);
        }
        proven
    }
}

impl Signed {
    /// Reads head and body and finds out who signed them.
    async fn prove(request: Request, app: &AppState, now: UnixMillis) -> Result<Self, ApiError> {
        let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
        let exchange = exchange.ok_or(ApiError::Internal)?;
        let trace = request.extensions().get::<TraceContext>().copied();
        let original = request.extensions().get::<RawUri>().map(|uri| uri.0.clone());
        let (parts, body) = request.into_parts();
        let caller = exchange.caller.clone();
        let head = match Head::read(&parts.headers, caller, app.config.freshness, now) {
            Ok(head) => Arc::new(head),
            Err(refused) => {
                discard(&parts.headers, body, &app.config).await;
                return Err(refused);
            }
        };
        let body = collect(&parts.headers, body, &app.config, app.budget()).await?;
        let uris = candidates(&parts.uri, original.as_ref());
        let (claimed, bytes) = (Arc::clone(&head), body.bytes.clone());
        let proven = offload(bytes.len(), move || claimed.verify(uris, &bytes, now)).await;
        if matches!(proven, Err(ApiError::BadSignature)) {
            let client = head.caller.client_id.clone();
            metrics::counter!("visavis_signature_failures_total", "client" => client).increment(1);
        }
        let proven = proven?;
        exchange.answer_as(proven.uri, Arc::clone(&proven.keys));
        // Counted only now: nobody uses up another client's rate.
        let too_many = !app.rates().admit(&head.caller.client_id, &head.caller.client.terms);
        if too_many && head.wrapped_key.is_none() {
            return Err(ApiError::Overloaded(Limit::Rate));
        }
        Ok(Self {
            too_many,
            caller: Arc::clone(&head.caller),
            dedupe: head.dedupe(),
            keys: proven.keys,
            wrapped_key: head.wrapped_key,
            body,
            exchange,
            trace,
            app: app.clone(),
        })
    }
}

async fn offload<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if size < OFFLOAD_FROM {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|e| ApiError::internal(&e))?
}

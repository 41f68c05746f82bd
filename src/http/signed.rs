//! `Signed`: a request whose signature holds. A handler that takes one cannot run without it.
//!
//! The order is cheap checks first, then the signature over the raw bytes, and only then does anybody
//! parse them.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, Uri},
};

use super::{
    body::{Collected, collect, discard},
    error::ApiError,
    exchange::{Exchange, single},
    router::RawUri,
    state::AppState,
};
use crate::{
    clients::Caller,
    signing::{Content, SignatureHeader, SigningError},
};

/// Bodies from this size on are hashed and parsed off the threads that serve connections.
const OFFLOAD_FROM: usize = 256 << 10;

/// A verified request, not yet parsed.
#[derive(Debug)]
pub(super) struct Signed {
    /// Who signed it.
    pub(super) caller: Arc<Caller>,
    /// Digest of client and signature: the same for every repetition of one signed request.
    pub(super) dedupe: [u8; 32],
    body: Collected,
}

impl Signed {
    /// Runs `parse` on the body, on a thread for blocking work if the body is large. The body's share
    /// of the memory budget is held until `Signed` is dropped.
    pub(super) async fn parse<T, F>(&self, parse: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
    {
        let bytes = self.body.bytes.clone();
        offload(bytes.len(), move || parse(&bytes)).await
    }
}

impl FromRequest<AppState> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
        let exchange = exchange.ok_or(ApiError::Internal)?;
        let original = request.extensions().get::<RawUri>().map(|uri| uri.0.clone());
        let (parts, body) = request.into_parts();
        let head = match Head::read(&parts.headers, &exchange, app) {
            Ok(head) => head,
            Err(refused) => {
                discard(&parts.headers, body, &app.config).await;
                return Err(refused);
            }
        };
        let body = collect(&parts.headers, body, &app.config, app.budget()).await?;
        let uris = candidates(&parts.uri, original.as_ref());
        let caller = Arc::clone(&head.caller);
        let signature = head.signature.clone();
        let bytes = body.bytes.clone();
        let signed_uri = offload(bytes.len(), move || head.verify(uris, &bytes)).await?;
        exchange.answer_over(signed_uri);
        let dedupe = dedupe(&caller.client_id, &signature);
        Ok(Self { caller, dedupe, body })
    }
}

/// What the headers say.
struct Head {
    caller: Arc<Caller>,
    time: String,
    signature: Vec<u8>,
}

impl Head {
    fn read(headers: &HeaderMap, exchange: &Exchange, app: &AppState) -> Result<Self, ApiError> {
        required(headers, "client-id", "Client-Id")?;
        let time = required(headers, "request-time", "Request-Time")?;
        let signature = required(headers, "signature", "Signature")?;
        if single(headers, "encrypt")?.is_some() {
            let why = "asks for encryption, which this server does not offer; send the JSON in clear over TLS";
            return Err(ApiError::IllegalHeader("Encrypt", why.to_owned()));
        }
        if single(headers, "auth-type")?.is_some() {
            let why =
                "asks for AK and SK signatures, which this server does not offer; use the key pair";
            return Err(ApiError::IllegalHeader("Auth-Type", why.to_owned()));
        }
        let caller = exchange.caller.clone().ok_or(ApiError::UnknownClient)?;
        if caller.client.disabled {
            return Err(ApiError::ClientDisabled);
        }
        let signature = SignatureHeader::parse(signature)
            .map_err(|e| ApiError::IllegalHeader("Signature", describe(e)))?
            .signature;
        app.config
            .freshness
            .check(time, app.clock.now())
            .map_err(|e| ApiError::IllegalHeader("Request-Time", describe(e)))?;
        Ok(Self { caller, time: time.to_owned(), signature })
    }

    /// Which of the URIs was signed.
    fn verify(&self, uris: Vec<String>, body: &[u8]) -> Result<String, ApiError> {
        let key = &self.caller.client.merchant_key;
        let client_id = &self.caller.client_id;
        let holds = |uri: &String| {
            let content = Content { uri, client_id, time: &self.time, body };
            key.verify(&content, &self.signature).is_ok()
        };
        uris.into_iter().find(holds).ok_or(ApiError::BadSignature)
    }
}

fn required<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    shown: &'static str,
) -> Result<&'a str, ApiError> {
    single(headers, name)?.filter(|value| !value.is_empty()).ok_or(ApiError::MissingHeader(shown))
}

fn describe(error: SigningError) -> String {
    match error {
        SigningError::Algorithm => "names an algorithm other than RSA256",
        SigningError::Time => "is not of the form 2026-01-31T12:00:00+0000",
        SigningError::Stale => {
            "is too far from the clock of this server; check the clock of the caller"
        }
        _ => "is not of the form algorithm=RSA256, signature=VALUE",
    }
    .to_owned()
}

/// What a client may have signed as the path: the clean one (even if it sends `//api`), the one that
/// it sent, and the one with its query.
fn candidates(clean: &Uri, original: Option<&Uri>) -> Vec<String> {
    let mut uris = vec![clean.path().to_owned()];
    let original = original.unwrap_or(clean);
    let with_query = original.path_and_query().map_or("", |p| p.as_str());
    for uri in [original.path(), with_query] {
        if !uris.iter().any(|known| known == uri) {
            uris.push(uri.to_owned());
        }
    }
    uris
}

fn dedupe(client_id: &str, signature: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    // The length keeps one client's id from running into another's signature.
    context.update(&client_id.len().to_be_bytes());
    context.update(client_id.as_bytes());
    context.update(signature);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clean_the_raw_and_the_queried_path_may_have_been_signed() {
        let clean = Uri::from_static("/api/v1/x");
        let raw = Uri::from_static("//api/v1/x?a=1");
        let uris = candidates(&clean, Some(&raw));
        assert_eq!(uris, ["/api/v1/x", "//api/v1/x", "//api/v1/x?a=1"]);
        assert_eq!(candidates(&clean, None), ["/api/v1/x"]);
    }

    #[test]
    fn the_dedupe_digest_tells_clients_and_signatures_apart() {
        assert_eq!(dedupe("a", b"bc"), dedupe("a", b"bc"));
        assert_ne!(dedupe("a", b"bc"), dedupe("ab", b"c"));
        assert_ne!(dedupe("a", b"bc"), dedupe("a", b"bd"));
    }
}

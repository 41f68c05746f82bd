//! What the headers of a request claim, and whether it is true.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderMap, HeaderValue, Uri, header::HOST};
use memchr::memmem;
use serde::{Deserialize, de::IgnoredAny};
use time::OffsetDateTime;
use visavis_signing::{
    Content, EncryptHeader, Freshness, HeaderBytes, SignatureHeader, SigningError, format_time,
    parse_mac,
};

use super::{
    rejection::Rejection,
    signature_fault::{Claim, Mistake, SignatureFault},
};
use crate::{
    clients::{Caller, Encryption, KeySet, Modes},
    clock::UnixMillis,
};

/// How a client signs, and wants its responses signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RSA key pairs on both sides; the default.
    KeyPair,
    /// `Auth-Type: AKSK`: an access key and a secret key that both sides hold.
    Secret,
}

impl Scheme {
    /// Reads Auth-Type.
    ///
    /// # Errors
    /// [`Rejection::IllegalHeader`] when it is neither absent nor AKSK.
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, Rejection> {
        match single(headers, "Auth-Type")?.map(str::trim) {
            None | Some("") => Ok(Self::KeyPair),
            Some(name) if name.eq_ignore_ascii_case("AKSK") => Ok(Self::Secret),
            Some(_) => {
                let why = "is not AKSK; leave it out to sign with the key pair".to_owned();
                Err(Rejection::IllegalHeader("Auth-Type", why))
            }
        }
    }
}

/// The value of a header that may occur once: two of them are two readings of one request, and a
/// proxy may have checked the other one.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Rejection::IllegalHeader(name, "is present twice".to_owned()));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| Rejection::IllegalHeader(name, "is not plain ASCII".to_owned()))
}

/// HMAC-SHA-256.
const MAC_BYTES: usize = 32;

/// The parsed headers; nothing is proven yet.
pub(crate) struct Head {
    pub(super) caller: Arc<Caller>,
    /// The AES key as it came, if the body is encrypted.
    pub(super) wrapped_key: Option<HeaderBytes>,
    /// What is wrong with a request whose signature holds all the same.
    pub(super) objection: Option<Rejection>,
    time: String,
    host: Option<HeaderValue>,
    proof: Proof,
}

/// With what the client wants to show who it is.
enum Proof {
    /// A signature by the private half of one of its key pairs, perhaps with the name of which.
    KeyPair(HeaderBytes, Option<String>),
    /// A MAC under the secret that belongs to its access key.
    Secret(HeaderBytes, Arc<KeySet>),
}

/// What was shown.
pub(crate) struct Shown {
    /// The URI that was signed.
    pub(super) uri: String,
    /// The keys it was signed with.
    pub(super) keys: Arc<KeySet>,
}

impl Head {
    /// Reads the headers.
    ///
    /// # Errors
    /// What is missing or wrong, by the name of the header; or that the client is unknown.
    pub(crate) fn read(
        headers: &HeaderMap,
        caller: Option<Arc<Caller>>,
        freshness: Freshness,
        now: UnixMillis,
    ) -> Result<Self, Rejection> {
        required(headers, "Client-Id")?;
        let time = required(headers, "Request-Time")?;
        let signature = required(headers, "Signature")?;
        let scheme = Scheme::parse(headers)?;
        let encrypt = single(headers, "Encrypt")?.filter(|value| !value.is_empty());
        // Also where it is not needed: what occurs twice is never read one way here and another
        // there.
        let access_key = single(headers, "Access-Key")?.filter(|value| !value.is_empty());
        let caller = caller.ok_or(Rejection::UnknownClient)?;
        let proof = match scheme {
            Scheme::KeyPair => {
                let header = SignatureHeader::parse(signature).map_err(|error| {
                    let is_bare = !signature.contains(['=', ',']) || access_key.is_some();
                    if is_bare { no_auth_type() } else { illegal("Signature", error) }
                })?;
                Proof::KeyPair(header.signature, header.key_version.map(str::to_owned))
            }
            Scheme::Secret => {
                let access_key = access_key.ok_or(Rejection::MissingHeader("Access-Key"))?;
                let mut keys = caller.keys(now, None).into_iter();
                let keys = keys.find(|set| set.access_key == access_key);
                let keys = Arc::clone(keys.ok_or(Rejection::UnknownAccessKey)?);
                let mac = parse_mac(signature).map_err(|_| {
                    let why = "is not base64, as it must be in mode AKSK".to_owned();
                    Rejection::IllegalHeader("Signature", why)
                })?;
                Proof::Secret(mac, keys)
            }
        };
        let wrapped_key = encrypt.map(|value| wrapped_key(scheme, value)).transpose()?;
        let objection = objection(&caller, scheme, wrapped_key.is_some())
            .or_else(|| freshness.check(time, now).err().map(|error| illegal_time(error, now)));
        let (time, host) = (time.to_owned(), headers.get(HOST).cloned());
        Ok(Self { caller, wrapped_key, objection, time, host, proof })
    }

    /// Whether an objection waits until the signature is checked, because a response before that
    /// would be one that the client cannot read (encrypted) or check (by secret).
    pub(super) fn objects_late(&self) -> bool {
        self.wrapped_key.is_some() || matches!(self.proof, Proof::Secret(..))
    }

    /// Whether the signature has the length that one by a valid key of the client has.
    pub(super) fn is_plausible(&self, now: UnixMillis) -> bool {
        match &self.proof {
            Proof::KeyPair(signature, _) => {
                let keys = self.caller.keys(now, None);
                keys.iter().any(|set| set.merchant_key.signature_bytes() == signature.len())
            }
            Proof::Secret(mac, _) => mac.len() == MAC_BYTES,
        }
    }

    /// Finds out which of the URIs was signed, and with which of the keys that are valid now.
    /// `None` if the signature does not hold.
    pub(crate) fn verify(&self, uris: &[String], body: &[u8], now: UnixMillis) -> Option<Shown> {
        if self.sends_response(body) {
            return None;
        }
        for uri in uris {
            let content = self.content(uri, body);
            match &self.proof {
                Proof::Secret(mac, keys) => {
                    if keys.secret_key.verify(&content, mac).is_ok() {
                        return Some(Shown { uri: uri.clone(), keys: Arc::clone(keys) });
                    }
                }
                Proof::KeyPair(signature, key_version) => {
                    let digest = content.digest();
                    let keys = self.caller.keys(now, key_version.as_deref());
                    let signed = |set: &&Arc<KeySet>| {
                        set.merchant_key.verify_digest(&digest, signature).is_ok()
                    };
                    if let Some(keys) = keys.into_iter().find(signed).cloned() {
                        return Some(Shown { uri: uri.clone(), keys });
                    }
                }
            }
        }
        None
    }

    fn content<'a>(&'a self, uri: &'a str, body: &'a [u8]) -> Content<'a> {
        Content { uri, client_id: &self.caller.client_id, time: &self.time, body }
    }

    /// Whether one secret signs what is sent here, and a response of ours.
    fn sends_response(&self, body: &[u8]) -> bool {
        matches!(self.proof, Proof::Secret(..)) && is_response(body)
    }

    /// What is wrong with a signature that does not hold over a request for this path.
    pub(crate) fn fault(&self, path: &str, body: &[u8], now: UnixMillis) -> SignatureFault {
        let expected = self.content(path, body);
        if self.sends_response(body) {
            return SignatureFault::new(Mistake::LooksLikeResponse, &expected, None);
        }
        let claim = match &self.proof {
            Proof::Secret(mac, keys) => Claim::Secret { mac, key: &keys.secret_key },
            Proof::KeyPair(signature, _) => Claim::KeyPair {
                signature,
                keys: &self.caller.client.keys,
                is_valid: &|set| set.is_valid(now),
            },
        };
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        SignatureFault::find(&claim, &expected, host)
    }

    /// The same for every repetition of one signed request, and for no other.
    pub(super) fn dedupe(&self) -> [u8; 32] {
        let (Proof::KeyPair(signature, _) | Proof::Secret(signature, _)) = &self.proof;
        dedupe(&self.caller.client_id, signature)
    }
}

/// Whether a body has the form of a response of ours: a top-level `result` with a `resultCode`. In
/// AK/SK mode one secret signs requests and responses over one form of text, so a response that is
/// sent back carries a signature that holds.
fn is_response(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Response {
        result: ResultOfResponse,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ResultOfResponse {
        #[expect(dead_code, reason = "only that it exists matters")]
        result_code: IgnoredAny,
    }
    // Our responses spell the name like this, and a signature holds for no other spelling. Nearly
    // all requests stop here.
    memmem::find(body, b"\"resultCode\"").is_some()
        && serde_json::from_slice::<Response>(body)
            .is_ok_and(|Response { result: ResultOfResponse { .. } }| true)
}

/// Why a client may not call, or not like this.
fn objection(caller: &Caller, scheme: Scheme, is_encrypted: bool) -> Option<Rejection> {
    if caller.client.disabled {
        return Some(Rejection::ClientDisabled);
    }
    let policy = &caller.client.policy;
    let why = match (policy.modes, scheme, policy.encryption) {
        (Modes::KeyPair, Scheme::Secret, _) => {
            "this client may sign with its key pair alone, not with its access key"
        }
        (Modes::AccessKey, Scheme::KeyPair, _) => {
            "this client may sign with its access key alone, not with its key pair"
        }
        (_, _, Encryption::Required) if !is_encrypted => "this client must encrypt its requests",
        (_, _, Encryption::Off) if is_encrypted => "this client must not encrypt its requests",
        _ => return None,
    };
    Some(Rejection::NotAllowed(why))
}

fn wrapped_key(scheme: Scheme, encrypt: &str) -> Result<HeaderBytes, Rejection> {
    if scheme == Scheme::Secret {
        let why = "cannot be combined with Auth-Type AKSK, which has no encryption";
        return Err(Rejection::IllegalHeader("Encrypt", why.to_owned()));
    }
    EncryptHeader::parse(encrypt)
        .map(|header| header.wrapped_key)
        .map_err(|e| illegal("Encrypt", e))
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Rejection> {
    single(headers, name)?.filter(|value| !value.is_empty()).ok_or(Rejection::MissingHeader(name))
}

fn illegal(name: &'static str, error: SigningError) -> Rejection {
    let why = match (name, error) {
        ("Encrypt", SigningError::Algorithm) => "names an algorithm other than RSA_AES",
        (_, SigningError::Algorithm) => "names an algorithm other than RSA256",
        (_, SigningError::Time) => "is not of the form 2026-01-31T12:00:00+0000",
        ("Encrypt", _) => "is not of the form algorithm=RSA_AES, symmetricKey=VALUE",
        _ => "is not of the form algorithm=RSA256, signature=VALUE",
    };
    Rejection::IllegalHeader(name, why.to_owned())
}

fn no_auth_type() -> Rejection {
    let why = "is not of the form algorithm=RSA256, signature=VALUE; to sign with an access key, \
               send the header Auth-Type with the value AKSK";
    Rejection::IllegalHeader("Signature", why.to_owned())
}

/// A local time with the wrong zone is off by so much, or a multiple of it.
const ZONE_MS: i64 = 15 * 60 * 1_000;
/// How far a clock that is roughly right may be off beside that.
const ZONE_TOLERANCE_MS: i64 = 60 * 1_000;

fn illegal_time(error: SigningError, now: UnixMillis) -> Rejection {
    let SigningError::Stale { behind_ms, window_ms } = error else {
        return illegal("Request-Time", error);
    };
    let side = if behind_ms > 0 { "behind" } else { "ahead of" };
    let off = behind_ms.saturating_abs();
    let rest = off % ZONE_MS;
    let is_zone = rest.min(ZONE_MS - rest) <= ZONE_TOLERANCE_MS && off <= 14 * 4 * ZONE_MS;
    let check = if is_zone { "time zone" } else { "clock and time zone" };
    let server = i64::checked_mul(now, 1_000_000)
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).ok())
        .map_or_else(String::new, |now| format!(", which is at {}", format_time(now)));
    let why = format!(
        "is {} seconds {side} the clock of this server{server}; the limit is {} seconds: check \
         the {check} of the caller",
        off / 1_000,
        window_ms / 1_000
    );
    Rejection::IllegalHeader("Request-Time", why)
}

/// What a client may have signed as the path: the clean one (even if it sends `//api`), the one
/// that it sent, and the one with its query.
pub(crate) fn candidates(clean: &Uri, original: Option<&Uri>) -> Vec<String> {
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

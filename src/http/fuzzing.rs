//! The entry points of unchecked bytes, for fuzzers and for tests that throw noise at
//! them. No part of the interface. Each function must come back, whatever it is given.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use visavis_signing::{Freshness, ServerKey};

use super::{auth_test::echo, check_result::read_id, pictures::read_request};
use crate::{
    clients::Caller,
    compare::DecodeLimits,
    gate::{Head, candidates, open},
};

/// A request of `caller`: a path on the first line, header lines up to an empty one, a body.
/// Returns whether its signature holds.
pub fn request(caller: &Arc<Caller>, data: &[u8]) -> bool {
    let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let uri = lines.next().and_then(|line| Uri::try_from(line).ok()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let head = Head::read(&headers, Some(Arc::clone(caller)), Freshness::seconds(0), 0);
    head.is_ok_and(|head| {
        let is_proven = head.verify(&candidates(&uri, None), body, 0).is_some();
        let message = head.fault(uri.path(), body, 0).message();
        assert!(message.is_ascii(), "{message}");
        is_proven
    })
}

/// A body in every place where JSON is read. Returns whether it is an object.
///
/// # Panics
/// When what is echoed is not JSON.
pub fn json(data: &[u8]) -> bool {
    let limits = DecodeLimits::default();
    let _ = read_request(data, &limits, |_| None);
    let _ = read_id(data);
    let echoed = echo(data);
    if let Ok(text) = &echoed {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
        assert!(parsed.is_ok(), "{text}");
    }
    echoed.is_ok()
}

/// A wrapped key of 256 bytes and the body under it. Returns whether there was a JSON object
/// inside.
pub fn encrypted(server_key: &ServerKey, data: &[u8]) -> bool {
    let (wrapped, body) = data.split_at(data.len().min(256));
    let Ok(key) = server_key.unwrap_key(wrapped) else { return false };
    open(&key, body, echo).is_ok_and(|echoed| echoed.is_ok())
}

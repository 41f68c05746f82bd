//! A request whose body is decrypted and parsed: what the client asks for.
//!
//! | refused here | costs |
//! | --- | --- |
//! | [`Limit::DecryptFailures`](super::Limit) | a look-up in memory |
//! | [`Limit::Memory`](super::Limit) of what parsing takes | a look-up in memory |
//! | a body that does not decrypt | the body decrypted |
//! | a body that is not what it should be | the body parsed |

use std::sync::Arc;

use visavis_signing::SymmetricKey;

use super::{
    memory::MemoryReservation, offload::offload, proven::Proven, rejection::Rejection, state::Gate,
};
use crate::clients::Caller;

/// What a verified request asks for. Who asked is known only here, so that no response about a
/// client's transactions can go out before it is known whether it must be encrypted.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    /// Who signed it.
    pub(crate) caller: Arc<Caller>,
    /// Digest of client and signature: the same for every repetition of one signed request.
    pub(crate) dedupe: [u8; 32],
    /// What was parsed out of the body.
    pub(crate) value: T,
    pub(super) gate: Gate,
    /// What `value` takes of the memory budget.
    _lease: MemoryReservation,
}

/// An error of parsing that may say that there was no JSON object at all.
pub(crate) trait NotAnObject: From<Rejection> + Send + 'static {
    /// Whether it says that.
    fn is_not_an_object(&self) -> bool;
}

/// How much memory a form of body takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost<T> {
    /// What decrypting and parsing take beside the body: so many times the body.
    pub(crate) parsing: usize,
    /// What is left of it, bytes.
    pub(crate) kept: fn(&T) -> usize,
}

impl Proven {
    /// Decrypts the body if it is encrypted and runs `parse` on it, on a thread for blocking work
    /// if it is large.
    ///
    /// # Errors
    /// Those of `parse`; [`Rejection::Undecryptable`], [`Limit::DecryptFailures`](super::Limit) or
    /// [`Limit::Memory`](super::Limit).
    pub(crate) async fn parse<T, E, F>(mut self, cost: Cost<T>, parse: F) -> Result<Parsed<T>, E>
    where
        T: Send + 'static,
        E: NotAnObject,
        F: FnOnce(&[u8]) -> Result<T, E> + Send + 'static,
    {
        let needed = self.body.len().saturating_mul(1 + cost.parsing);
        self.lease.grow(needed).await.map_err(Rejection::from)?;
        let bytes = std::mem::take(&mut self.body);
        let value = match self.key.take() {
            None => offload(bytes.len(), move || parse(&bytes)).await?,
            Some(key) => {
                let clock = self.gate.0.clock.clone();
                let failures = &self.gate.0.decrypt_failures;
                let client_id = &self.caller.client_id;
                let pass = failures.admit(client_id, self.dedupe, clock.now()).await;
                let pass = pass.map_err(Rejection::from)?;
                let opened = move || {
                    let opened = open(&key, &bytes, parse);
                    if opened.is_err() {
                        pass.failed(clock.now());
                    }
                    opened
                };
                offload(self.lease.bytes(), move || opened().map_err(E::from)).await??
            }
        };
        self.lease.shrink((cost.kept)(&value));
        let Self { gate, caller, dedupe, lease, .. } = self;
        Ok(Parsed { caller, dedupe, value, gate, _lease: lease })
    }
}

/// Decrypts and parses. Wrong key, wrong padding, wrong text and wrong JSON are one rejection.
pub(crate) fn open<T, E: NotAnObject>(
    key: &SymmetricKey,
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<Result<T, E>, Rejection> {
    let plain = key.decrypt(body).map_err(|_| Rejection::Undecryptable)?;
    match parse(&plain) {
        Err(error) if error.is_not_an_object() => Err(Rejection::Undecryptable),
        parsed => Ok(parsed),
    }
}

//! A request that a client has signed. From here on it is charged to that client, and its response
//! can be read by it.
//!
//! | refused here | costs |
//! | --- | --- |
//! | a disabled client, a wrong mode, a wrong clock, if encrypted or signed by secret | a proven request; if encrypted an AES key unwrapped, too |
//! | [`Limit::Rate`] | the same |

use std::sync::Arc;

use axum::body::Bytes;
use visavis_signing::SymmetricKey;

use super::{
    head::{Head, Shown},
    memory::MemoryReservation,
    offload::offload,
    rejection::Rejection,
    reply::Reply,
    state::Gate,
};
use crate::clients::Caller;

/// A verified request, not yet decrypted or parsed. Its only responses are refusals.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(super) gate: Gate,
    pub(super) caller: Arc<Caller>,
    pub(super) dedupe: [u8; 32],
    /// The AES key of the body, if it is encrypted.
    pub(super) key: Option<SymmetricKey>,
    pub(super) body: Bytes,
    pub(super) lease: MemoryReservation,
}

impl Proven {
    pub(super) async fn new(
        gate: &Gate,
        reply: &Reply,
        head: &Head,
        shown: Shown,
        (body, lease): (Bytes, MemoryReservation),
    ) -> Result<Self, Rejection> {
        let keys = Arc::clone(&shown.keys);
        reply.prove(shown.uri, shown.keys);
        let key = match head.wrapped_key {
            None => None,
            Some(wrapped) => {
                // A key that does not unwrap is replaced by another one, so every refusal from here
                // on is encrypted and reveals nothing about the wrapped key.
                let unwrap = move || keys.server_key.unwrap_key(&wrapped);
                let key =
                    offload(body.len(), move || unwrap().map_err(|e| Rejection::internal(&e)));
                let key = key.await?;
                reply.encrypt(key.clone());
                Some(key)
            }
        };
        if let Some(objection) = &head.objection {
            return Err(objection.clone());
        }
        let caller = Arc::clone(&head.caller);
        // Counted only now: no sender can use up the rate of another client.
        gate.0.rates.count(&caller.client_id, &caller.client.policy)?;
        gate.0.clients.note_use(&caller);
        Ok(Self { gate: gate.clone(), caller, dedupe: head.dedupe(), key, body, lease })
    }

    /// Whether the body came encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// Digest of client and signature: the same for every repetition of one signed request.
    pub(crate) fn dedupe(&self) -> &[u8; 32] {
        &self.dedupe
    }

    /// Who signed it.
    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

//! A request that claims to be from a registered client, or from none. Its body has not been read.
//!
//! | refused here | costs |
//! | --- | --- |
//! | a header that is missing or wrong, an unknown client | one query, the headers parsed |
//! | a disabled client, a wrong mode, a wrong clock, unless encrypted or signed by secret | the same |
//! | [`Limit::BodySize`](super::Limit) of an announced body | the same |
//! | [`Limit::BodyTime`](super::Limit), [`Limit::Memory`](super::Limit) | the bytes that have arrived |
//! | a wrong signature | the body, its digest, one verification for each valid key |

use std::sync::Arc;

use axum::{body::Body, http::request::Parts};

use super::{
    Gate,
    arrived::Arrived,
    body::{collect, discard},
    head::{Head, candidates},
    parsed::offload,
    proven::Proven,
    refused::Limit,
    rejection::Rejection,
};
use crate::{clients::Caller, clock::UnixMillis, deadline};

/// A request with the client that it claims to be from.
#[derive(Debug)]
pub(crate) struct Identified {
    /// What its head says.
    pub(crate) arrived: Arc<Arrived>,
    /// The client; nothing is proven.
    pub(crate) caller: Option<Arc<Caller>>,
}

impl Identified {
    /// Reads the body of at most `body_limit` bytes and finds out whether the client signed it.
    ///
    /// # Errors
    /// [`Rejection`].
    pub(crate) async fn prove(
        &self,
        gate: &Gate,
        parts: Parts,
        original: Option<&axum::http::Uri>,
        body: Body,
        body_limit: usize,
    ) -> Result<Proven, Rejection> {
        let proven = self.try_prove(gate, parts, original, body, body_limit).await;
        let is_unproven = self.arrived.reply.proven().is_none();
        match proven {
            // What a held-back address sends is answered alike, whatever is wrong with it.
            Err(rejection)
                if self.arrived.held_back.is_some() && is_unproven && !rejection.is_ours() =>
            {
                Err(self.arrived.hold_back().into())
            }
            proven => proven,
        }
    }

    async fn try_prove(
        &self,
        gate: &Gate,
        parts: Parts,
        original: Option<&axum::http::Uri>,
        mut body: Body,
        body_limit: usize,
    ) -> Result<Proven, Rejection> {
        let now = gate.0.clock.now();
        let read = |caller| Head::read(&parts.headers, caller, gate.0.config.freshness, now);
        let head = match read(self.caller.clone()).and_then(|head| self.unobjected(head, now)) {
            Ok(head) => Arc::new(head),
            Err(rejection) => {
                self.discard(gate, &parts, body).await;
                return Err(rejection);
            }
        };
        let mut lease = gate.unproven(&self.arrived, &head.caller.client_id);
        let limits = gate.body_limits(body_limit);
        let bytes = match collect(&parts.headers, &mut body, limits, &mut lease).await {
            Ok(bytes) => bytes,
            Err(rejection) => {
                drop(lease);
                // One that is too slow, or gone, is not waited for any longer.
                let is_arriving = matches!(&rejection, Rejection::Refused(refused)
                    if refused.limit != Limit::BodyTime);
                if is_arriving {
                    self.discard(gate, &parts, body).await;
                }
                return Err(rejection);
            }
        };
        deadline::restart();
        let uris = candidates(&parts.uri, original);
        let verify = |head: Arc<Head>| {
            let (uris, bytes) = (uris.clone(), bytes.clone());
            offload(bytes.len(), move || head.verify(uris, &bytes, now).map(|shown| (head, shown)))
        };
        let shown = verify(head).await;
        if matches!(shown, Err(Rejection::BadSignature)) {
            let client = self.caller.as_ref().map_or("unknown", |caller| &caller.client_id);
            metrics::counter!("visavis_signature_failures_total", "client" => client.to_owned())
                .increment(1);
        }
        let (mut head, mut shown) = shown?;
        if self.arrived.held_back.is_some() {
            // What is remembered of the client may be old. Now that the signature holds, it is worth a query.
            let current = gate.0.clients.find(&head.caller.client_id).await?;
            if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &head.caller)) {
                (head, shown) = verify(Arc::new(read(current)?)).await?;
            }
        }
        if let Some(peer) = self.arrived.peer {
            gate.0.peers.proved(peer, now);
        }
        lease.prove();
        Proven::new(gate, &self.arrived.reply, &head, shown, (bytes, lease)).await
    }

    /// The head, unless the client is to be refused already and can read the response.
    fn unobjected(&self, mut head: Head, now: UnixMillis) -> Result<Head, Rejection> {
        if self.arrived.held_back.is_some() && !head.is_plausible(now) {
            return Err(Rejection::BadSignature);
        }
        if head.objects_late() {
            return Ok(head);
        }
        head.objection.take().map_or(Ok(head), Err)
    }

    /// Reads what a refused client still sends, so that it sees the response. Not from a held-back address.
    async fn discard(&self, gate: &Gate, parts: &Parts, body: Body) {
        if self.arrived.held_back.is_none() {
            let limits = gate.body_limits(gate.0.config.body_limit);
            discard(&parts.headers, body, limits).await;
        }
    }

    /// The same for a request that has no endpoint.
    pub(crate) async fn turn_away(
        &self,
        gate: &Gate,
        parts: &Parts,
        body: Body,
    ) -> Option<Rejection> {
        if self.arrived.held_back.is_some() {
            return Some(self.arrived.hold_back().into());
        }
        self.discard(gate, parts, body).await;
        None
    }
}

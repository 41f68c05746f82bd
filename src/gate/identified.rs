//! A request that claims to be from a registered client, or from none. Its body has not been read.
//!
//! | refused here | costs |
//! | --- | --- |
//! | a header that is missing or wrong, an unknown client | one query, the headers parsed |
//! | a disabled client, a wrong mode, a wrong clock, unless encrypted or signed by secret | the same |
//! | [`Limit::BodySize`](super::Limit) of an announced body | the same |
//! | [`Limit::BodyTime`](super::Limit), [`Limit::Memory`](super::Limit) | the bytes that have arrived |
//! | a wrong signature | the body, its digest twice, one verification for each valid key; to find the mistake one more for each key, and of a body up to 16 KiB some twenty digests |

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::request::Parts,
};

use super::{
    arrived::Arrived,
    body::{collect, discard},
    head::{Head, Shown, candidates},
    limit::Limit,
    offload::offload,
    proven::Proven,
    rejection::Rejection,
    state::Gate,
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

impl Arrived {
    /// Looks up who it claims to be from. From a held-back address only a known Client-Id is worth
    /// a query.
    ///
    /// # Errors
    /// [`Limit::AuthFailures`], or a failure of the database.
    pub(crate) async fn identify(self: &Arc<Self>, gate: &Gate) -> Result<Identified, Rejection> {
        let remembered = || gate.0.clients.remembered(&self.client_id);
        if self.held_back.is_some() && !gate.0.clients.is_known(&self.client_id) {
            return Err(self.hold_back(gate).into());
        }
        let found = match remembered().filter(|_| self.held_back.is_some()) {
            Some(caller) => Ok(Some(caller)),
            None => gate.0.clients.find(&self.client_id).await.map_err(Rejection::from),
        };
        // The response is signed with the keys that are remembered; nothing else is done with them.
        let caller = found.as_ref().map_or_else(|_| remembered(), Clone::clone);
        if let Some(caller) = &caller
            && self.held_back.is_none()
        {
            let named = caller
                .client
                .keys
                .iter()
                .find(|set| Some(&set.access_key) == self.access_key.as_ref());
            if let Some(keys) = named.or_else(|| caller.newest()) {
                self.reply.presume(Arc::clone(keys));
            }
        }
        Ok(Identified { arrived: Arc::clone(self), caller: found? })
    }
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
            // A held-back address gets one response, whatever is wrong with its request.
            Err(rejection)
                if self.arrived.held_back.is_some() && is_unproven && !rejection.is_ours() =>
            {
                Err(self.arrived.hold_back(gate).into())
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
        let head = match read(self.caller.clone()).and_then(|head| self.unobjected(gate, head, now))
        {
            Ok(head) => Arc::new(head),
            Err(rejection) => {
                self.discard(gate, &parts, body).await;
                return Err(rejection);
            }
        };
        let mut lease = gate.unproven(self.arrived.peer, &head.caller.client_id);
        let limits = gate.body_limits(body_limit);
        let bytes = match collect(&parts.headers, &mut body, limits, &mut lease).await {
            Ok(bytes) => bytes,
            Err(rejection) => {
                drop(lease);
                // One that is too slow, or gone, is not waited for any longer.
                let is_arriving = matches!(&rejection, Rejection::Refused(refused)
                    if !matches!(refused.limit, Limit::BodyTime(..)));
                if is_arriving {
                    self.discard(gate, &parts, body).await;
                }
                return Err(rejection);
            }
        };
        deadline::restart();
        let uris: Arc<[String]> = candidates(&parts.uri, original).into();
        let verify = |head| self.verify(gate, head, Arc::clone(&uris), bytes.clone(), now);
        let (mut head, mut shown) = verify(head).await?;
        if self.arrived.held_back.is_some() {
            // What is remembered of the client may be old. Now that the signature holds, it is
            // worth a query.
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

    /// Checks the signature. The mistake in it is looked for, but not for a held-back address: its
    /// requests are to cost little.
    async fn verify(
        &self,
        gate: &Gate,
        head: Arc<Head>,
        uris: Arc<[String]>,
        body: Bytes,
        now: UnixMillis,
    ) -> Result<(Arc<Head>, Shown), Rejection> {
        let (size, is_explained) = (body.len(), self.arrived.held_back.is_none());
        let verifying = move || {
            let fault = || Box::new(head.fault(uris.first().map_or("", |uri| uri), &body, now));
            let shown = head.verify(&uris, &body, now).ok_or_else(|| is_explained.then(fault));
            Ok::<_, Rejection>(shown.map(|shown| (head, shown)))
        };
        let verified = offload(size, verifying).await?;
        verified.map_err(|fault| {
            let client = self.caller.as_ref().map_or("unknown", |caller| &caller.client_id);
            metrics::counter!("visavis_signature_failures_total", "client" => client.to_owned())
                .increment(1);
            match fault {
                Some(fault) => Rejection::BadSignature(fault),
                None => self.arrived.hold_back(gate).into(),
            }
        })
    }

    /// The head, unless the client is to be refused already and can read the response.
    fn unobjected(&self, gate: &Gate, mut head: Head, now: UnixMillis) -> Result<Head, Rejection> {
        if self.arrived.held_back.is_some() && !head.is_plausible(now) {
            // What is returned says nothing of this.
            return Err(self.arrived.hold_back(gate).into());
        }
        if head.objects_late() {
            return Ok(head);
        }
        head.objection.take().map_or(Ok(head), Err)
    }

    /// Reads what a refused client still sends, so that it sees the response. Not from a held-back
    /// address.
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
            return Some(self.arrived.hold_back(gate).into());
        }
        self.discard(gate, parts, body).await;
        None
    }
}

//! A request whose head has arrived. Nothing in it is believed, and nothing was asked about it.
//!
//! | refused here | costs |
//! | --- | --- |
//! | [`Limit::AuthFailures`] | two look-ups in memory: no database, no body, no signature; the connection is closed |

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{Request, Version};

use super::{
    Gate, Reply,
    head::{Scheme, single},
    identified::Identified,
    idle::Activity,
    refused::{Limit, Refused},
    rejection::Rejection,
};

/// Longest Client-Id that is looked up, bytes.
const MAX_CLIENT_ID_BYTES: usize = 128;

/// What the head of a request says.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Where it came from; `None` inside the process.
    pub(crate) peer: Option<IpAddr>,
    /// The Client-Id that it claims, or nothing.
    pub(crate) client_id: String,
    /// How it claims to be signed.
    pub(crate) scheme: Scheme,
    /// How the response is to be signed and encrypted.
    pub(crate) reply: Reply,
    pub(super) held_back: Option<Duration>,
    access_key: Option<String>,
    activity: Option<Activity>,
    has_streams: bool,
}

impl Arrived {
    /// Reads the head.
    pub(crate) fn read<B>(gate: &Gate, request: &Request<B>) -> Arc<Self> {
        let (headers, extensions) = (request.headers(), request.extensions());
        let text = |name| single(headers, name).ok().flatten().map(str::to_owned);
        let peer = gate.0.peers.address(extensions, headers);
        let client_id = text("Client-Id").filter(|id| id.len() <= MAX_CLIENT_ID_BYTES);
        Arc::new(Self {
            peer,
            client_id: client_id.unwrap_or_default(),
            scheme: Scheme::parse(headers).unwrap_or(Scheme::KeyPair),
            reply: Reply::default(),
            held_back: peer.and_then(|peer| gate.0.peers.held_back(peer, gate.0.clock.now())),
            access_key: text("Access-Key"),
            activity: extensions.get::<Activity>().cloned(),
            has_streams: request.version() == Version::HTTP_2,
        })
    }

    /// Looks up who it claims to be from. From a held-back address only a known Client-Id is worth a query.
    ///
    /// # Errors
    /// [`Limit::AuthFailures`], or a failure of the database.
    pub(crate) async fn identify(self: &Arc<Self>, gate: &Gate) -> Result<Identified, Rejection> {
        let remembered = || gate.0.clients.remembered(&self.client_id);
        if self.held_back.is_some() && !gate.0.clients.is_known(&self.client_id) {
            return Err(self.hold_back().into());
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

    /// The refusal of a held-back address. Its connection is closed.
    pub(super) fn hold_back(&self) -> Refused {
        if let Some(activity) = &self.activity {
            activity.close();
        }
        Limit::AuthFailures.refuse_for(self.held_back.unwrap_or_default())
    }

    /// Whether the response is to say that the connection ends; HTTP/2 has no such header.
    pub(crate) fn closes_connection(&self) -> bool {
        self.held_back.is_some() && self.reply.proven().is_none() && !self.has_streams
    }

    /// Counts a request that ended without proof.
    pub(crate) fn failed(&self, gate: &Gate) {
        if let Some(peer) = self.peer
            && self.reply.proven().is_none()
        {
            gate.0.peers.failed(peer, gate.0.clock.now());
        }
    }
}

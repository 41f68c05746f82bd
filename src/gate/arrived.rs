//! A request whose head has arrived. Nothing in it is believed, and nothing was asked about it.
//!
//! | refused here | costs |
//! | --- | --- |
//! | [`Limit::AuthFailures`] | two look-ups in memory: no database, no body, no signature; the connection is closed |

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{Request, Version};

use super::{
    head::{Scheme, single},
    idle::Activity,
    limit::{Limit, Refused},
    reply::Reply,
    state::Gate,
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
    pub(super) access_key: Option<String>,
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

    /// The refusal of a held-back address. Its connection is closed.
    pub(super) fn hold_back(&self, gate: &Gate) -> Refused {
        if let Some(activity) = &self.activity {
            activity.close();
        }
        let limit = Limit::AuthFailures(gate.0.config.signature_failures);
        limit.refuse_for(self.held_back.unwrap_or_default())
    }

    /// Whether the response is to say that the connection ends; HTTP/2 has no such header.
    pub(crate) fn closes_connection(&self, is_leaving: bool) -> bool {
        let is_held_back = self.held_back.is_some() && self.reply.proven().is_none();
        (is_leaving || is_held_back) && !self.has_streams
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

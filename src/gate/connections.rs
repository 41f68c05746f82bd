//! How many connections there may be, in all and from one address. Each holds its place from its
//! first byte to its end. At a limit the connection that has been idle for longest makes room.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::Request;
use axum_server::accept::Accept;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Service;

use super::{
    idle::{Activity, Watched},
    peers::{Network, contain, subscriber},
};

/// Limits on connections.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub(crate) in_all: usize,
    /// Connections at once from one address.
    pub(crate) per_address: usize,
    /// Proxies, which may have as many as there are.
    pub(crate) trusted_proxies: Vec<Network>,
    /// How long a connection waits for a place.
    pub(crate) timeout: Duration,
    /// How long a connection may be idle.
    pub(crate) idle: Duration,
}

/// Accepts connections within the limits; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    limits: Arc<ConnectionLimits>,
    permits: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    address: Option<IpAddr>,
    activity: Activity,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
struct Place {
    connections: Connections,
    number: u64,
}

impl Connections {
    /// Connections within `limits`.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.in_all.min(Semaphore::MAX_PERMITS)));
        Self { limits: Arc::new(limits), permits, open: Arc::default() }
    }

    /// The address that a connection counts for; `None` for a trusted proxy.
    fn counted_for(&self, stream: &TcpStream) -> io::Result<Option<IpAddr>> {
        let address = stream.peer_addr()?.ip().to_canonical();
        let is_proxy = contain(&self.limits.trusted_proxies, address);
        Ok((!is_proxy).then(|| subscriber(address)))
    }

    /// Takes a place for an address; `None` when all of its places are in use.
    fn enter(&self, address: Option<IpAddr>, activity: Activity) -> Option<Place> {
        let mut open = self.open();
        if let Some(address) = address {
            let count = open.by_address.get(&address).copied().unwrap_or_default();
            if count >= self.limits.per_address && !open.close_longest_idle(Some(address)) {
                return None;
            }
            *open.by_address.entry(address).or_default() += 1;
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Connection { address, activity });
        drop(open);
        Some(Place { connections: self.clone(), number })
    }

    /// Waits for a place among all connections.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        self.open().close_longest_idle(None);
        let permit = Arc::clone(&self.permits).acquire_owned();
        tokio::time::timeout(self.limits.timeout, permit).await.ok()?.ok()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the connection that has been idle for longest, of one address or of all; whether
    /// there was one.
    fn close_longest_idle(&self, address: Option<IpAddr>) -> bool {
        let all = self.connections.values();
        let candidates = all.filter(|one| address.is_none() || one.address == address);
        let idle = candidates.filter_map(|one| Some((one.activity.idle_since()?, &one.activity)));
        let Some((_, activity)) = idle.min_by_key(|(since, _)| *since) else { return false };
        activity.close();
        metrics::counter!("visavis_connections_evicted_total").increment(1);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let left = open.connections.remove(&self.number).and_then(|one| one.address);
        if let Some(address) = left
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Connections {
    type Stream = Watched;
    type Service = Held<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Watched, Held<S>)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let connections = self.clone();
        Box::pin(async move {
            stream.set_nodelay(true)?;
            let address = connections.counted_for(&stream)?;
            let watched = Watched::new(stream, connections.limits.idle);
            let activity = watched.activity();
            let refused = || {
                metrics::counter!("visavis_connections_refused_total").increment(1);
                io::Error::other("too many connections")
            };
            // One that waits for a permit is not idle: it must not be closed to make room for
            // itself.
            let waiting = activity.begin();
            let place = connections.enter(address, activity.clone()).ok_or_else(refused)?;
            let permit = connections.permit().await.ok_or_else(refused)?;
            drop(waiting);
            Ok((watched, Held { service, activity, _place: Arc::new((permit, place)) }))
        })
    }
}

/// A connection's service, and with it the connection's place.
#[derive(Debug, Clone)]
pub(crate) struct Held<S> {
    service: S,
    activity: Activity,
    _place: Arc<(OwnedSemaphorePermit, Place)>,
}

/// Requests under this path keep no connection open: any sender may use it.
const HEALTH: &str = "/health";

impl<S, B> Service<Request<B>> for Held<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let is_health = request.uri().path().starts_with(HEALTH);
        let under_way = (!is_health).then(|| self.activity.begin());
        request.extensions_mut().insert(self.activity.clone());
        let response = self.service.call(request);
        Box::pin(async move {
            let response = response.await;
            drop(under_way);
            response
        })
    }
}

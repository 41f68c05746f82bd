//! How many connections there may be: each holds a permit from its first byte to its end, and ends when
//! nobody uses it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Service;

use super::idle::{Activity, Watched};

/// Accepts connections as long as there are permits; further ones wait, and are closed if none comes
/// free in time.
#[derive(Debug, Clone)]
pub(super) struct Capped {
    permits: Arc<Semaphore>,
    patience: Duration,
    idle: Duration,
}

impl Capped {
    /// `most` connections at once, each idle for at most `idle`; others wait for `patience`.
    pub(super) fn new(most: usize, patience: Duration, idle: Duration) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(most)), patience, idle }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Capped {
    type Stream = Watched;
    type Service = Held<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Watched, Held<S>)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (permits, patience, idle) = (Arc::clone(&self.permits), self.patience, self.idle);
        Box::pin(async move {
            stream.set_nodelay(true)?;
            let permit = tokio::time::timeout(patience, permits.acquire_owned()).await;
            let Ok(Ok(permit)) = permit else {
                metrics::counter!("visavis_connections_refused_total").increment(1);
                return Err(io::Error::other("too many connections"));
            };
            let watched = Watched::new(stream, idle);
            let activity = watched.activity();
            Ok((watched, Held { service, activity, _permit: Arc::new(permit) }))
        })
    }
}

/// A connection's service, and with it the connection's permit.
#[derive(Debug, Clone)]
pub(super) struct Held<S> {
    service: S,
    activity: Activity,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl<S: Service<R>, R> Service<R> for Held<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (under_way, answer) = (self.activity.begin(), self.service.call(request));
        Box::pin(async move {
            let answer = answer.await;
            drop(under_way);
            answer
        })
    }
}

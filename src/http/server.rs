//! The socket: HTTP/1.1 with Title-Case header names, or that and HTTP/2 over TLS; limits and
//! time-outs against slow clients; graceful end.
//!
//! The Java SDK finds `Signature` and `Response-Time` only in exactly this spelling, while hyper
//! writes lower case by default. The shell script of the vendor finds them only in lower
//! case, which is what HTTP/2 has.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::Router;
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::task::JoinHandle;

use super::{
    interim::Interim,
    tls::{TlsError, TlsFiles},
};
use crate::{
    gate::{ConnectionLimits, Connections, Network},
    supervisor::TaskHealth,
};

/// Times, limits and places of the socket.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Certificate and key; `None` for plain HTTP/1.1.
    pub tls: Option<TlsFiles>,
    /// How long the first request's head may take to arrive, and a handshake.
    pub head_deadline: Duration,
    /// How long a connection may be without a request, and the next head may take.
    pub idle_deadline: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// Proxies, to whom that does not apply.
    pub trusted_proxies: Vec<Network>,
    /// Whether a client that waits for `100 Continue` gets it.
    pub send_continue: bool,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long requests may take to finish when the server is to stop.
    pub drain: Duration,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{0} cannot be listened on: {1}")]
    Bind(SocketAddr, io::Error),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that runs.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
    reload: Option<TlsReload>,
    drain: Duration,
}

/// Longest head of a request, bytes: HTTP/1.1 and HTTP/2.
const HEAD_LIMIT: usize = 64 << 10;
const HEADER_LIST_LIMIT: u32 = 16 << 10;
/// Most header lines of a request.
const HEADER_LINES: usize = 100;
/// A peer that has gone without a word is noticed after this long, on HTTP/2 and by TCP.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);
const TCP_PROBE_AFTER: Duration = Duration::from_mins(1);

/// Binds and serves in the background. A server that ends before it is stopped is reported to
/// `health`.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    router: Router,
    config: &ServerConfig,
    health: TaskHealth,
) -> Result<Serving, ServeError> {
    let bind = |e| ServeError::Bind(config.listen, e);
    let listener = TcpListener::bind(config.listen).map_err(bind)?;
    // Accepted sockets inherit it.
    let probe = TcpKeepalive::new().with_time(TCP_PROBE_AFTER);
    SockRef::from(&listener).set_tcp_keepalive(&probe).map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let handle = Handle::new();
    let connections = Connections::new(ConnectionLimits {
        in_all: config.max_connections,
        per_address: config.max_connections_per_address,
        trusted_proxies: config.trusted_proxies.clone(),
        timeout: config.head_deadline,
        idle: config.idle_deadline,
    });
    let mut server = axum_server::from_tcp(listener)
        .map_err(bind)?
        .acceptor(connections)
        .handle(handle.clone())
        .first_request_timeout(config.head_deadline);
    server
        .http_builder()
        .http1()
        .title_case_headers(true)
        .header_read_timeout(config.idle_deadline)
        .max_headers(HEADER_LINES)
        .max_buf_size(HEAD_LIMIT);
    server
        .http_builder()
        .http2()
        .max_concurrent_streams(config.max_streams)
        .max_header_list_size(HEADER_LIST_LIMIT)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_PATIENCE);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let (scheme, task, reload) = match &config.tls {
        None => {
            let server = server.map(|connections| Interim::new(connections, config.send_continue));
            ("http", tokio::spawn(server.http1_only().serve(service)), None)
        }
        Some(files) => {
            let tls = RustlsConfig::from_config(files.load()?);
            let reload = TlsReload { files: files.clone(), config: tls.clone() };
            let acceptor = RustlsAcceptor::new(tls).handshake_timeout(config.head_deadline);
            let server = server.map(|connections| {
                Interim::new(acceptor.acceptor(connections), config.send_continue)
            });
            ("https", tokio::spawn(server.serve(service)), Some(reload))
        }
    };
    let task = tokio::spawn(async move {
        let ended = task.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        // After a stop it has no reader.
        health.fail(format!("the server on {address} has ended"));
        ended
    });
    Ok(Serving { address, scheme, handle, task, reload, drain: config.drain })
}

/// Reloads a certificate that was renewed.
#[derive(Debug, Clone)]
pub struct TlsReload {
    files: TlsFiles,
    config: RustlsConfig,
}

impl TlsReload {
    /// Looks for changed files until it is aborted.
    pub async fn run(self) {
        self.files.keep_fresh(self.config).await;
    }
}

impl Serving {
    /// What has to run beside a server with TLS; returned once.
    pub fn take_reload(&mut self) -> Option<TlsReload> {
        self.reload.take()
    }

    /// Stops accepting, waits for requests under way, then closes.
    ///
    /// # Errors
    /// When the server had failed.
    pub(crate) async fn stop(self) -> io::Result<()> {
        self.handle.graceful_shutdown(Some(self.drain));
        self.task.await.map_err(io::Error::other)?
    }
}

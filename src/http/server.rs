//! The socket: HTTP/1.1 with Title-Case header names, time-outs against slow clients, graceful end.
//!
//! The Java SDK finds `Signature` and `Response-Time` only in exactly this spelling, while hyper
//! writes lower case unless told otherwise.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use axum_server::Handle;

/// Times and places of the socket.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// How long a request's head may take to arrive.
    pub head_deadline: Duration,
    /// How long requests may take to finish when the server is to stop.
    pub drain: Duration,
}

/// A server that runs.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    handle: Handle<SocketAddr>,
    task: tokio::task::JoinHandle<io::Result<()>>,
    drain: Duration,
}

/// Binds and serves in the background.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(gateway: Router, config: &ServerConfig) -> io::Result<Serving> {
    let listener = std::net::TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .first_request_timeout(config.head_deadline)
        .http1_only();
    server
        .http_builder()
        .http1()
        .title_case_headers(true)
        .header_read_timeout(config.head_deadline)
        .max_buf_size(64 << 10);
    let task = tokio::spawn(server.serve(gateway.into_make_service()));
    Ok(Serving { address, handle, task, drain: config.drain })
}

impl Serving {
    /// Stops accepting, waits for requests under way, then closes.
    ///
    /// # Errors
    /// When the server had failed.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.graceful_shutdown(Some(self.drain));
        self.task.await.map_err(io::Error::other)?
    }
}

//! The real server on a real socket, spoken to in bytes.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use visavis::http::{ServerConfig, Serving, serve};

use super::{Answer, CLIENT, TestApp, signature_over};

/// How long a head may take to arrive.
pub const HEAD_DEADLINE: Duration = Duration::from_millis(700);
/// How long a connection may be idle.
pub const IDLE_DEADLINE: Duration = Duration::from_millis(1_500);

/// A service that listens on a port of its own.
pub struct Listening {
    pub app: TestApp,
    serving: Serving,
}

impl Listening {
    /// Starts listening.
    pub fn start(app: TestApp) -> Self {
        Self::with(app, |_| ())
    }

    /// Starts listening with a changed configuration.
    pub fn with(app: TestApp, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            head_deadline: HEAD_DEADLINE,
            idle_deadline: IDLE_DEADLINE,
            max_connections: 1_000,
            max_connections_per_address: 1_000,
            trusted_proxies: Vec::new(),
            send_continue: true,
            max_streams: 16,
            drain: Duration::from_millis(200),
        };
        change(&mut config);
        let mut serving = serve(app.router.clone(), &config, app.state.tasks.clone()).unwrap();
        if let Some(reload) = serving.take_reload() {
            tokio::spawn(reload.run());
        }
        Self { app, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.serving.address)
    }

    /// The head of a correctly signed request, up to the empty line; `extra` are further lines.
    pub fn head(&self, path: &str, body: &str, extra: &[&str]) -> String {
        self.head_of(CLIENT, path, body, extra)
    }

    fn head_of(&self, client_id: &str, path: &str, body: &str, extra: &[&str]) -> String {
        let time = self.app.now();
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json; charset=UTF-8\r\n\
             Client-Id: {client_id}\r\nRequest-Time: {time}\r\nSignature: {}\r\n",
            signature_over(client_id, path, body, &time)
        );
        for line in extra {
            write!(head, "{line}\r\n").unwrap();
        }
        head + "\r\n"
    }

    /// A correctly signed request whose length is announced.
    pub fn request(&self, path: &str, body: &str) -> String {
        self.request_of(CLIENT, path, body)
    }

    /// The same by another client.
    pub fn request_of(&self, client_id: &str, path: &str, body: &str) -> String {
        self.head_of(client_id, path, body, &[&format!("Content-Length: {}", body.len())]) + body
    }
}

/// A connection with what was read from it and not yet looked at.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A response as it came over the wire.
#[derive(Debug, Clone)]
pub struct Reply {
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The header of exactly this spelling, as a client finds it that knows no other.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The response apart from its socket, to be verified and opened.
    pub fn answer(&self) -> Answer {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let json = serde_json::from_str(&self.body).unwrap_or_default();
        Answer { headers: headers.collect(), text: self.body.clone(), json }
    }

    pub fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        json["result"]["resultCode"].as_str().unwrap().to_owned()
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// A connection from another address of this machine.
    pub fn from(own: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends to a peer that may have closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Whether the other side has closed; what has come is dropped.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let closed = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        closed
    }

    /// Up to and without the next empty line.
    pub fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.unread[..end].to_vec()).unwrap();
                self.unread.drain(..end + 4);
                return head;
            }
            assert!(self.more() > 0, "closed inside a head: {:?}", self.unread);
        }
    }

    /// A complete response with a Content-Length.
    pub fn read_reply(&mut self) -> Reply {
        let reply = Reply { head: self.read_head(), body: String::new() };
        let length: usize = reply.header("Content-Length").unwrap().parse().unwrap();
        while self.unread.len() < length {
            assert!(self.more() > 0, "closed inside a body");
        }
        let body = self.unread.drain(..length).collect();
        Reply { body: String::from_utf8(body).unwrap(), ..reply }
    }

    /// What comes until the other side closes; a reset counts as closed.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.unread)
    }

    fn more(&mut self) -> usize {
        let mut chunk = [0; 16 << 10];
        let read = match self.stream.read(&mut chunk) {
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(e) => panic!("nothing was received: {e}"),
        };
        self.unread.extend_from_slice(&chunk[..read]);
        read
    }
}

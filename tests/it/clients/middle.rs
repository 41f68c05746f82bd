//! Stands between a client and the server, as a proxy or an attacker: records requests, and loses,
//! changes, delays or invents responses.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use visavis::clock::Clock;
use visavis_signing::{Content, ServerKey, format_time, signature_header};

/// What happens to one request.
#[derive(Clone)]
pub enum Act {
    /// The response is passed on.
    Pass,
    /// The connection is closed before the server has the request.
    LoseRequest,
    /// The connection is closed instead of passing the response on.
    LoseResponse,
    /// Half of the response is passed on, then the connection is closed.
    Cut,
    /// The response is passed on late.
    Late(Duration),
    /// The client gets no response, and no end of the connection either.
    Silence,
    /// The response is changed on the way.
    Change(Change),
    /// The client gets this instead; the server never has the request.
    Instead(Message),
    /// The client gets its own request back as a response.
    Reflect,
    /// The server of this key responds instead; responses of the API are signed.
    Respond(Arc<ServerKey>, Value),
}

/// How a response is changed.
pub type Change = fn(&mut Message);

/// A request or a response: its lines before the body, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    fn read(socket: &mut TcpStream) -> Option<Self> {
        let (mut bytes, mut part) = (Vec::new(), vec![0; 65_536]);
        loop {
            let end = memchr::memmem::find(&bytes, b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let mut message = Self { head, body: bytes[end + 4..].to_vec() };
                let length: usize = message.header("content-length")?.parse().unwrap();
                if message.body.len() >= length {
                    message.body.truncate(length);
                    return Some(message);
                }
            }
            match socket.read(&mut part) {
                Ok(0) | Err(_) => return None,
                Ok(read) => bytes.extend_from_slice(&part[..read]),
            }
        }
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Takes a header out, or sets it.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let mut lines: Vec<_> = self.head.split("\r\n").map(str::to_owned).collect();
        let prefix = format!("{name}: ").to_lowercase();
        lines.retain(|line| !line.to_lowercase().starts_with(&prefix));
        lines.extend(value.map(|value| format!("{name}: {value}")));
        self.head = lines.join("\r\n");
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n\r\n", &self.body].concat()
    }

    /// The client must not send its next request to a connection that is closed.
    fn send(mut self, socket: &mut TcpStream) {
        self.set("Content-Length", Some(&self.body.len().to_string()));
        self.set("Connection", Some("close"));
        // The client may have given up.
        let _ = socket.write_all(&self.bytes());
    }
}

/// A proxy on loopback.
pub struct Middle {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    /// What happens to the next requests; all later ones pass.
    acts: Mutex<VecDeque<Act>>,
    /// With the time of each.
    requests: Mutex<Vec<(Instant, Message)>>,
    responses: Mutex<Vec<Message>>,
}

impl Middle {
    /// In front of the server at this address.
    pub fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            server: address.to_owned(),
            acts: Mutex::default(),
            requests: Mutex::default(),
            responses: Mutex::default(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = accepting.clone();
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { url, shared }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What happens to the next requests, in this order.
    pub fn next(&self, acts: impl IntoIterator<Item = Act>) {
        *self.shared.acts.lock().unwrap() = acts.into_iter().collect();
    }

    /// The requests since the last call of this function, and when they came.
    pub fn requests(&self) -> Vec<(Instant, Message)> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// The last response of the server.
    pub fn last_response(&self) -> Message {
        self.shared.responses.lock().unwrap().last().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) {
        let Some(request) = Message::read(&mut client) else { return };
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Pass);
        self.requests.lock().unwrap().push((Instant::now(), request.clone()));
        match act {
            Act::LoseRequest => {}
            Act::Instead(response) => response.send(&mut client),
            Act::Respond(key, body) => respond(&key, &request, &body).send(&mut client),
            Act::Reflect => reflected(request).send(&mut client),
            Act::Silence => thread::sleep(Duration::from_mins(5)),
            _ => {
                let mut response = self.ask(&request);
                match act {
                    Act::LoseResponse => return,
                    Act::Cut => {
                        let bytes = response.bytes();
                        let _ = client.write_all(&bytes[..bytes.len() - 40]);
                        return;
                    }
                    Act::Late(time) => thread::sleep(time),
                    Act::Change(change) => change(&mut response),
                    _ => {}
                }
                response.send(&mut client);
            }
        }
    }

    fn ask(&self, request: &Message) -> Message {
        let mut socket = TcpStream::connect(&self.server).unwrap();
        socket.write_all(&request.bytes()).unwrap();
        let response = Message::read(&mut socket).unwrap();
        self.responses.lock().unwrap().push(response.clone());
        response
    }
}

fn reflected(request: Message) -> Message {
    let header = |name| request.header(name).unwrap().to_owned();
    let head = format!(
        "HTTP/1.1 200 OK\r\nResponse-Time: {}\r\nSignature: {}",
        header("request-time"),
        header("signature")
    );
    Message { head, body: request.body }
}

/// A response that a server signs with this key.
fn respond(key: &ServerKey, request: &Message, body: &Value) -> Message {
    let body = body.to_string().into_bytes();
    let (uri, client_id) =
        (request.head.split(' ').nth(1).unwrap(), request.header("client-id").unwrap());
    let time = format_time(Clock::System.now_utc());
    let content = Content { uri, client_id, time: &time, body: &body };
    let signature = signature_header(&key.sign(&content).unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nResponse-Time: {time}\r\nSignature: {signature}");
    Message { head, body }
}

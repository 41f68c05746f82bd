//! Stands between a process and Postgres: counts round trips, and fails as networks and servers do.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What it does with connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Open,
    /// Closes them, as a server that is down.
    Closed,
    /// Passes nothing on and says nothing, as a firewall that drops packets.
    Silent,
    /// Closes a connection instead of passing the next response on, and then passes everything on
    /// again.
    LosesAnAnswer,
}

/// A proxy on loopback; clones are the same one.
#[derive(Debug, Clone)]
pub struct Proxy {
    port: u16,
    mode: Arc<AtomicU8>,
    round_trips: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let proxy = Self { port: own, mode: Arc::default(), round_trips: Arc::default() };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                accepting.join(&client, &server);
            }
        });
        proxy
    }

    /// The same address by way of this proxy.
    pub fn url(&self, url: &str, port: u16) -> String {
        url.replace(&format!(":{port}/"), &format!(":{}/", self.port))
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Statements, and tests of connections, that waited for a response so far.
    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::SeqCst)
    }

    fn join(&self, client: &TcpStream, server: &TcpStream) {
        let copies = [(client, server, true), (server, client, false)];
        for (from, to, is_client) in copies {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let proxy = self.clone();
            thread::spawn(move || proxy.copy(from, to, is_client));
        }
    }

    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, is_client: bool) {
        from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mut part, mut messages) = (vec![0; 65_536], Messages::default());
        loop {
            while self.is(Mode::Silent) {
                thread::sleep(Duration::from_millis(5));
            }
            if self.is(Mode::Closed) {
                break;
            }
            match from.read(&mut part) {
                Ok(0) => break,
                Ok(_) if !is_client && self.is(Mode::LosesAnAnswer) => {
                    self.set(Mode::Open);
                    break;
                }
                Ok(read) => {
                    if is_client {
                        let ended = messages.count(&part[..read]);
                        self.round_trips.fetch_add(ended, Ordering::SeqCst);
                    }
                    if to.write_all(&part[..read]).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// What a client sends: first messages without a type, then a letter, a length and so many bytes.
#[derive(Default)]
struct Messages {
    has_begun: bool,
    bytes: Vec<u8>,
}

impl Messages {
    /// How many of these messages ask the server for a response: Sync and Query.
    fn count(&mut self, bytes: &[u8]) -> usize {
        const SSL_REQUEST: u32 = 80_877_103;
        self.bytes.extend_from_slice(bytes);
        let mut asking = 0;
        loop {
            let kind = usize::from(self.has_begun);
            let number = |at: usize| {
                let four = self.bytes.get(at..at + 4)?;
                Some(u32::from_be_bytes(four.try_into().ok()?))
            };
            let Some(length) = number(kind) else { return asking };
            let end = kind + length as usize;
            if self.bytes.len() < end {
                return asking;
            }
            if self.has_begun {
                asking += usize::from(matches!(self.bytes[0], b'S' | b'Q'));
            } else {
                self.has_begun = number(4) != Some(SSL_REQUEST);
            }
            self.bytes.drain(..end);
        }
    }
}

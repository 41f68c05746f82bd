//! A bad network in front of Postgres: a TCP proxy that delays, cuts, half-closes and swallows.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

use crate::dice::Dice;

/// The state of the network, for all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything arrives.
    Fair,
    /// Every connection has a fault of its own, or none.
    Stormy,
    /// Every packet takes longer.
    Slow(Duration),
    /// Every connection is reset as soon as it is used.
    Reset,
    /// Nothing arrives in either direction, without an error.
    Hole,
    /// As [`Hole`](Self::Hole), and connections that were in it never get out: their other end is
    /// gone.
    Grave,
    /// The server's side of every connection is closed as soon as it is used.
    HalfClosed,
}

/// What happens to one connection in a storm, after so many bytes.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    Slow(Duration),
    Reset,
    HalfClosed,
    Hole { time: Duration, reset_after: bool },
}

/// How many connections there were, and how many of them met a fault.
#[derive(Debug, Default)]
pub struct Counts {
    pub connections: AtomicU64,
    pub faults: AtomicU64,
}

/// The proxy; it lives as long as its runtime.
#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    pub counts: Arc<Counts>,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// Listens on loopback for connections to `target` there.
    pub async fn start(target: u16, mut dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, seen) = watch::channel(Weather::Fair);
        let counts = Arc::new(Counts::default());
        let proxy = Self { port, counts: Arc::clone(&counts), weather };
        let kept = proxy.clone();
        tokio::spawn(async move {
            // With it the means to change the weather: without that, connections would never sleep.
            let _kept = kept;
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                counts.connections.fetch_add(1, SeqCst);
                let path = Path::new(&mut dice, seen.clone(), Arc::clone(&counts));
                tokio::spawn(async move {
                    // Without a server the client's connection is simply closed.
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                        path.carry(client, server).await;
                    }
                });
            }
        });
        proxy
    }

    /// Changes what the network is like, for connections that exist too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

/// One connection through the proxy.
struct Path {
    weather: watch::Receiver<Weather>,
    fault: Mutex<Fault>,
    /// Bytes before the fault.
    healthy: u64,
    carried: AtomicU64,
    dead: AtomicBool,
    faulty: AtomicBool,
    counts: Arc<Counts>,
}

/// Both directions are over, at once.
struct Cut;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Path {
    fn new(dice: &mut Dice, weather: watch::Receiver<Weather>, counts: Arc<Counts>) -> Self {
        let fault = match dice.within(0..20) {
            0 | 1 => Fault::Reset,
            2 => Fault::HalfClosed,
            3 | 4 => {
                let reset_after = dice.percent(50);
                Fault::Hole { time: dice.millis(1_000..4_000), reset_after }
            }
            5 | 6 => Fault::Slow(Duration::from_millis(100)),
            _ => Fault::None,
        };
        // Opening a connection takes some 2,000 bytes, a job some 20,000.
        let healthy = dice.within(0..60_000);
        let (fault, carried) = (Mutex::new(fault), AtomicU64::new(0));
        let (dead, faulty) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { weather, fault, healthy, carried, dead, faulty, counts }
    }

    async fn carry(self, mut client: TcpStream, mut server: TcpStream) {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let carried = tokio::try_join!(
            self.pump(Direction::ToServer, from_client, to_server),
            self.pump(Direction::ToClient, from_server, to_client),
        );
        if carried.is_err() {
            // Closed without a farewell: what is under way is lost.
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
        }
    }

    /// What is in the way now.
    fn obstacle(&self) -> Fault {
        let hole = |time| Fault::Hole { time, reset_after: false };
        match *self.weather.borrow() {
            _ if self.dead.load(SeqCst) => hole(FOREVER),
            Weather::Stormy if self.carried.load(SeqCst) >= self.healthy => {
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Weather::Fair | Weather::Stormy => Fault::None,
            Weather::Slow(time) => Fault::Slow(time),
            Weather::Reset => Fault::Reset,
            Weather::HalfClosed => Fault::HalfClosed,
            Weather::Hole => hole(FOREVER),
            Weather::Grave => {
                self.dead.store(true, SeqCst);
                hole(FOREVER)
            }
        }
    }

    async fn pump(
        &self,
        direction: Direction,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Cut> {
        let mut weather = self.weather.clone();
        let mut chunk = vec![0; 16 << 10];
        loop {
            let length = tokio::select! {
                length = from.read(&mut chunk) => length.map_err(|_| Cut)?,
                _ = weather.changed() => {
                    // A connection is lost in the hole even if it was not used then.
                    self.obstacle();
                    continue;
                }
            };
            if length == 0 {
                self.passed(&mut weather).await?;
                // An error means that the other side is gone too.
                let _ = to.shutdown().await;
                return Ok(());
            }
            if self.passed(&mut weather).await? == Passage::Closed
                && direction == Direction::ToClient
            {
                let _ = to.shutdown().await;
                return Ok(());
            }
            to.write_all(&chunk[..length]).await.map_err(|_| Cut)?;
            self.carried.fetch_add(u64::try_from(length).unwrap_or(0), SeqCst);
        }
    }

    /// Waits until what was read may go on.
    async fn passed(&self, weather: &mut watch::Receiver<Weather>) -> Result<Passage, Cut> {
        loop {
            let obstacle = self.obstacle();
            if !matches!(obstacle, Fault::None) && !self.faulty.swap(true, SeqCst) {
                self.counts.faults.fetch_add(1, SeqCst);
            }
            match obstacle {
                Fault::None => return Ok(Passage::Open),
                Fault::Slow(time) => {
                    sleep(time).await;
                    return Ok(Passage::Open);
                }
                Fault::Reset => return Err(Cut),
                Fault::HalfClosed => return Ok(Passage::Closed),
                Fault::Hole { time, reset_after } => {
                    tokio::select! {
                        () = sleep(time) => {
                            if reset_after {
                                return Err(Cut);
                            }
                            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Fault::None;
                        }
                        _ = weather.changed() => {}
                    }
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    Closed,
}

/// Longer than any run.
const FOREVER: Duration = Duration::from_hours(24);

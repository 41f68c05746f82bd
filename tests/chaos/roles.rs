//! The roles of the processes of a run. They are this program with variables for the role, and use
//! the store as the product does. They receive lines from the starting process:
//!
//! | line | meaning |
//! | --- | --- |
//! | `enqueue N` | store request N, retry until it is acknowledged, then wait for its outcome |
//! | end of input | end in order |
//!
//! and send: `ready`; `acknowledged N ID`; `finished N`, when the store has returned an outcome;
//! `wrong …`, for a wrong response of the store; `away`, when a write was refused because the lease
//! was lost.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use visavis::{
    clock::Clock,
    compare::{BizId, Fmr, PictureData, Policy, Request, RequestOptions, TransactionId},
    db::{PostgresDb, SqliteDb, is_postgres},
    queue::{NewJob, QueueAdmission, QueueError, RetryPolicy, Store, TransactionState},
    sealing::MasterKey,
    shutdown::Shutdown,
    worker::{ComputePool, EngineFactory, Maintenance, MaintenanceConfig, Runner, RunnerConfig},
};
use visavis_face::calibration::{Calibration, CalibrationTable, Population};

use crate::{
    dice::mix,
    process::ROLE,
    support::{FakeEngine, Picture},
};

/// Duration of a lease.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// The client of all jobs.
pub const CLIENT: &str = "chaos";
/// Bytes of a picture: enough to lie apart from its row.
const PICTURE: usize = 9_000;
/// How long an orphaned process may take to end in order.
const GRACE: Duration = Duration::from_secs(10);

/// The configuration of a process.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// The address of the Postgres, or the file of the `SQLite`.
    pub store: String,
    /// The file of the master key.
    pub key: String,
    /// How long a job takes, in milliseconds, from and to.
    pub work: (u64, u64),
    /// Which process it is.
    pub number: u32,
}

impl ProcessConfig {
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CHAOS_STORE", self.store.clone()),
            ("CHAOS_KEY", self.key.clone()),
            ("CHAOS_WORK", format!("{}-{}", self.work.0, self.work.1)),
        ]
    }

    pub fn read() -> Self {
        let variable = |name| std::env::var(name).unwrap();
        let work = variable("CHAOS_WORK");
        let (from, to) = work.split_once('-').unwrap();
        Self {
            store: variable("CHAOS_STORE"),
            key: variable("CHAOS_KEY"),
            work: (from.parse().unwrap(), to.parse().unwrap()),
            number: variable("CHAOS_NUMBER").parse().unwrap(),
        }
    }

    /// Opens the store as often as it takes: whatever watches over a process would start it again.
    pub async fn open(&self) -> Store {
        let key = MasterKey::load_or_create(Path::new(&self.key)).unwrap();
        if !is_postgres(&self.store) {
            let path = Path::new(&self.store);
            crate::ledger::SqliteBooks::sign(path, self.number).await;
            return Store::new(SqliteDb::open(path).await.unwrap(), key, Clock::System);
        }
        let address = format!("{}?options=-c%20chaos.process%3D{}", self.store, self.number);
        loop {
            match PostgresDb::open(&address, 4).await {
                Ok(db) => return Store::new(db, key, Clock::System),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Runs the role that this process was started for, if any.
pub async fn run_role() -> bool {
    let Ok(role) = std::env::var(ROLE) else { return false };
    let config = ProcessConfig::read();
    match role.as_str() {
        "worker" => work(&config, listen()).await,
        "producer" => produce(config.open().await, config.work, listen()).await,
        "alone" => run_alone(&config, listen()).await,
        "crash" => crate::points::crash(&config).await,
        other => panic!("{ROLE}={other}"),
    }
    true
}

/// Sends a line to the starting process, in one piece.
pub fn send(line: &str) {
    // An error means that the starting process has ended, and the input ends soon.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

/// The lines from the starting process. This process ends soon after it.
#[expect(clippy::exit, reason = "an orphan must end, whatever hangs in it")]
pub fn listen() -> mpsc::UnboundedReceiver<String> {
    let (heard, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = heard.send(line);
        }
        drop(heard);
        std::thread::sleep(GRACE);
        std::process::exit(3);
    });
    lines
}

pub fn runner(store: Store, threads: usize) -> Runner {
    Runner::new(store, pool(threads), config(), Arc::default())
}

/// A runner with what a process has beside it: heartbeat, and maintenance, which watches the clock
/// of the database.
async fn run(store: Store, runner: Runner, shutdown: Shutdown) {
    let hour = Duration::from_hours(1);
    let times = MaintenanceConfig { retention: 24 * hour, every: hour };
    let maintenance = Maintenance::new(store, QueueAdmission::default(), times, 0);
    tokio::select! {
        () = runner.clone().run(shutdown.clone()) => {}
        () = runner.heartbeat() => {}
        // It ends at the shutdown; the runner then still has to finish its jobs.
        () = async { maintenance.watch_queue(shutdown).await; std::future::pending().await } => {}
    }
}

/// Threads with engines that take as long as the pictures say.
pub fn pool(threads: usize) -> ComputePool {
    let factory: EngineFactory = Arc::new(|| Ok(Box::new(FakeEngine)));
    pool_of(threads, &factory)
}

pub fn pool_of(threads: usize, factory: &EngineFactory) -> ComputePool {
    let knots = vec![(0.25, 1e-2), (0.35, 1e-3), (0.43, 1e-4), (0.51, 1e-5), (0.58, 1e-6)];
    let table = CalibrationTable { id: "chaos".to_owned(), knots, ..Default::default() };
    let policy = Policy::new(
        Calibration::new(&table, Population::Mixed).unwrap(),
        "fake",
        Fmr::new(1e-5).unwrap(),
    );
    ComputePool::start(threads, factory, &Arc::new(policy)).unwrap()
}

pub fn config() -> RunnerConfig {
    RunnerConfig {
        lease: LEASE,
        job_deadline: Duration::from_millis(1_300),
        poll: Duration::from_millis(300),
        drain: Duration::from_secs(3),
        // Processes that are killed are not the jobs' fault.
        retry: RetryPolicy { max_attempts: 1_000_000, first_delay: Duration::from_micros(20) },
    }
}

/// `visavis work`, until the end of input.
async fn work(config: &ProcessConfig, mut lines: mpsc::UnboundedReceiver<String>) {
    report_lost_leases();
    let store = config.open().await;
    let runner = runner(store.clone(), 1 + config.number as usize % 2);
    let (trigger, shutdown) = Shutdown::new();
    let running = tokio::spawn(run(store, runner, shutdown));
    send("ready");
    while lines.recv().await.is_some() {}
    trigger.stop();
    running.await.unwrap();
}

/// A front end without workers.
async fn produce(store: Store, work: (u64, u64), mut lines: mpsc::UnboundedReceiver<String>) {
    send("ready");
    while let Some(line) = lines.recv().await {
        let number = line.strip_prefix("enqueue ").unwrap().parse().unwrap();
        tokio::spawn(follow(store.clone(), number, work));
    }
}

/// Front end and workers in one process, as `visavis serve` on the embedded database.
async fn run_alone(config: &ProcessConfig, mut lines: mpsc::UnboundedReceiver<String>) {
    let store = config.open().await;
    store.recover().await.unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let running = tokio::spawn(run(store.clone(), runner(store.clone(), 2), shutdown));
    send("ready");
    while let Some(line) = lines.recv().await {
        let number = line.strip_prefix("enqueue ").unwrap().parse().unwrap();
        tokio::spawn(follow(store.clone(), number, config.work));
    }
    trigger.stop();
    running.await.unwrap();
}

/// One request from the first attempt to store it to its outcome.
async fn follow(store: Store, number: u64, work: (u64, u64)) {
    let id = enqueue(&store, number, work).await;
    send(&format!("acknowledged {number} {id}"));
    loop {
        tokio::time::sleep(Duration::from_millis(work.1 / 2)).await;
        match store.transaction(CLIENT, &id).await.map(|found| found.map(|found| found.state)) {
            Ok(Some(TransactionState::Processing)) | Err(QueueError::Database(_)) => {}
            Ok(Some(TransactionState::Done(_))) => return send(&format!("finished {number}")),
            other => return send(&format!("wrong {number} {id}: {other:?}")),
        }
    }
}

/// Stores a request; under which id it is stored is known when this returns.
pub async fn enqueue(store: &Store, number: u64, work: (u64, u64)) -> TransactionId {
    let request = request(number, work);
    loop {
        match store.enqueue(&new_job(number, &request)).await {
            Ok(accepted) => return accepted.transaction_id().clone(),
            Err(QueueError::Database(_)) => {}
            Err(other) => send(&format!("wrong {number} {other}")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A front end that repeats a request gives it another id.
pub fn new_job(number: u64, request: &Request) -> NewJob<'_> {
    let mut digest = [0xC4; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    NewJob {
        transaction_id: TransactionId::new(Clock::System.now_utc(), 0),
        client_id: CLIENT,
        dedupe: Some(digest),
        request,
    }
}

/// The pictures of request `number`, which take their time within `work`.
pub fn request(number: u64, (from, to): (u64, u64)) -> Request {
    let time = u16::try_from(from + mix(number) % (to - from)).unwrap();
    let picture = |picture: Picture| {
        let mut bytes = picture.bytes();
        bytes.resize(PICTURE, 0);
        PictureData::stored(bytes.into())
    };
    Request {
        biz_id: BizId::new(&format!("biz-{number}")).unwrap(),
        probe: picture(Picture::Slow(time)),
        reference: picture(Picture::Person(1)),
        options: RequestOptions::default(),
    }
}

/// Sends `away` for each dropped outcome in the log.
fn report_lost_leases() {
    struct Listener;
    impl std::io::Write for Listener {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            if String::from_utf8_lossy(text).contains("dropping the outcome") {
                send("away");
            }
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = tracing_subscriber::fmt().with_writer(|| Listener);
    log.with_max_level(tracing::Level::WARN).init();
}

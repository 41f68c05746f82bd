//! A process that dies at a chosen point of a job, and another one that finishes it.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use visavis::worker::EngineFactory;
use visavis_face::{Comparison, Engine, FaceError, Picture};

use crate::{
    ledger::{Acknowledged, Audit, PostgresBooks, SqliteBooks},
    process::Process,
    roles::{LEASE, ProcessConfig, enqueue, listen, pool, pool_of, send},
    site::Site,
    support::{cluster, restart},
    table,
};

/// Milliseconds that a job takes.
const WORK: (u64, u64) = (20, 30);
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the process dies, and the state in which that leaves the job.
const POINTS: [(&str, u64); 5] = [
    ("after enqueue", QUEUED),
    ("after claim", RUNNING),
    ("during inference", RUNNING),
    ("before complete", RUNNING),
    ("after complete", DONE),
];
/// The completing statement takes long, and something is killed meanwhile.
const WHILE_COMPLETING: &str = "while completing";
const QUEUED: u64 = 0;
const RUNNING: u64 = 1;
const DONE: u64 = 2;

/// Dies on the first pair.
struct Fatal;

impl Engine for Fatal {
    fn compare(&mut self, _: &Picture<'_>, _: &Picture<'_>) -> Result<Comparison, FaceError> {
        std::process::abort()
    }
}

/// The process: one job by hand, in the steps that a worker makes.
pub async fn crash(config: &ProcessConfig) {
    let _lines = listen();
    let wanted = std::env::var("CHAOS_POINT").unwrap();
    let at = |point: &str| {
        if point == wanted {
            std::process::abort();
        }
    };
    let store = config.open().await;
    let request = u64::from(config.number);
    let id = enqueue(&store, request, config.work).await;
    send(&format!("acknowledged {request} {id}"));
    at("after enqueue");
    let lease = store.claim(1, "crash", LEASE).await.unwrap().remove(0);
    at("after claim");
    let pictures = store.payload(&lease).await.unwrap().unwrap();
    let fatal: EngineFactory = Arc::new(|| Ok(Box::new(Fatal)));
    let pool = if wanted == "during inference" { pool_of(1, &fatal) } else { pool(1) };
    let outcome = pool.run(pool.slot().await.unwrap(), pictures).await.unwrap();
    at("before complete");
    send("completing");
    store.complete(lease.job.id, lease.token, &outcome).await.unwrap();
    at("after complete");
    send("completed");
}

/// Kills a process at every point on Postgres; returns what is wrong.
pub fn on_postgres(site: &Site) -> Vec<String> {
    let name = site.runtime.block_on(cluster().new_database());
    let url = cluster().url(&name);
    let books = site.runtime.block_on(async {
        visavis::db::PostgresDb::open(&url, 1).await.unwrap().close().await;
        PostgresBooks::open(&url).await
    });
    let mut bench = Bench::new(site, url);
    let newest = || site.runtime.block_on(books.number(NEWEST));
    let unfinished = || site.runtime.block_on(books.unfinished());
    for (point, state) in POINTS {
        bench.die(point);
        bench.expect(point, newest(), state);
        bench.succeed("worker", unfinished);
    }

    site.runtime.block_on(books.tamper(HELD_ON_POSTGRES));
    let completing = || site.runtime.block_on(books.number(COMPLETING)) == 1;
    // The server does not notice that its client has ended.
    let mut process = bench.begin(WHILE_COMPLETING);
    bench.until(completing);
    process.kill();
    site.runtime.block_on(books.tamper(RELEASE));
    bench.until(|| unfinished() == 0);
    bench.expect("process killed while completing", newest(), DONE);
    // The process notices that it has no response, and retries.
    site.runtime.block_on(books.tamper(HOLD));
    let mut process = bench.begin(WHILE_COMPLETING);
    bench.until(completing);
    restart();
    bench.expect("server killed while completing", newest(), RUNNING);
    site.runtime.block_on(books.tamper(RELEASE));
    if process.wait(PATIENCE) != Some(0) {
        bench.complaints.push("the process did not get over the server's end".to_owned());
    }
    bench.expect("server killed and asked again", newest(), DONE);

    let mut audit = site.runtime.block_on(async {
        let entries = books.entries().await;
        let mut audit = Audit::of(&entries, &bench.acknowledged, u64::from(bench.processes));
        audit.pictures = books.pictures().await;
        audit
    });
    bench.close("crash points on Postgres", &mut audit)
}

/// Kills a process at every point on `SQLite`; returns what is wrong.
pub fn on_sqlite(site: &Site) -> Vec<String> {
    let path = site.folder.path().join("points.db");
    let opened = |path: PathBuf| async move { SqliteBooks::open(&path).await };
    site.runtime.block_on(async {
        visavis::db::SqliteDb::open(&path).await.unwrap().close().await;
        let books = opened(path.clone()).await;
        books.begin().await;
        books.close().await;
    });
    let books = site.runtime.block_on(opened(path.clone()));
    let mut bench = Bench::new(site, path.display().to_string());
    let newest = || site.runtime.block_on(books.number(NEWEST));
    let unfinished = || site.runtime.block_on(books.unfinished());
    for (point, state) in POINTS {
        bench.die(point);
        bench.expect(point, newest(), state);
        bench.succeed("alone", unfinished);
    }

    site.runtime.block_on(books.tamper(ENDLESS_ON_SQLITE));
    let mut process = bench.begin(WHILE_COMPLETING);
    bench.wait_for_line("completing");
    std::thread::sleep(Duration::from_millis(150));
    process.kill();
    site.runtime.block_on(books.tamper("DROP TRIGGER chaos_slow"));
    bench.expect("process killed while completing", newest(), RUNNING);
    bench.succeed("alone", unfinished);

    let mut audit = site.runtime.block_on(async {
        let entries = books.entries().await;
        let mut audit = Audit::of(&entries, &bench.acknowledged, u64::from(bench.processes));
        audit.pictures = books.pictures().await;
        let soundness = books.integrity().await;
        audit.complaints.extend(Some(soundness).filter(|soundness| soundness != "ok"));
        audit
    });
    bench.close("crash points on SQLite", &mut audit)
}

const NEWEST: &str = "SELECT CAST(state AS bigint) FROM job ORDER BY id DESC LIMIT 1";
/// Sessions that wait in the trigger. The statement is shown from when it is prepared, and a client
/// that is killed then has not requested it.
const COMPLETING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep' AND query LIKE '/* complete */%' AND datname = current_database()";
/// The statement ends when the test says so, however slow the machine is.
const HELD_ON_POSTGRES: &str = "
CREATE TABLE chaos_hold (held boolean NOT NULL);
INSERT INTO chaos_hold VALUES (true);
CREATE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT held FROM chaos_hold) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_wait BEFORE UPDATE OF state ON job
    FOR EACH ROW WHEN (NEW.state = 2) EXECUTE FUNCTION chaos_wait();
";
const HOLD: &str = "UPDATE chaos_hold SET held = true";
const RELEASE: &str = "UPDATE chaos_hold SET held = false";
/// A product of four tables, which takes minutes: only the kill ends the statement.
const ENDLESS_ON_SQLITE: &str = "
CREATE TABLE chaos_filler (n INTEGER NOT NULL);
INSERT INTO chaos_filler WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 350) SELECT n FROM n;
CREATE TRIGGER chaos_slow BEFORE UPDATE OF state ON job WHEN NEW.state = 2 BEGIN
    SELECT count(*) FROM chaos_filler AS a, chaos_filler AS b, chaos_filler AS c, chaos_filler AS d
    WHERE a.n + b.n + c.n + d.n < 0;
END;
";

/// One store, and the processes that die on it one after the other.
struct Bench {
    config: ProcessConfig,
    said: mpsc::Sender<(u32, String)>,
    heard: mpsc::Receiver<(u32, String)>,
    /// Each stores one request.
    processes: u32,
    acknowledged: Acknowledged,
    complaints: Vec<String>,
}

impl Bench {
    fn new(site: &Site, store: String) -> Self {
        let (said, heard) = mpsc::channel();
        let config = ProcessConfig { store, key: site.key(), work: WORK, number: 0 };
        let (acknowledged, complaints) = (Acknowledged::new(), Vec::new());
        Self { config, said, heard, processes: 0, acknowledged, complaints }
    }

    /// Starts a process that dies at that point.
    fn begin(&mut self, point: &str) -> Process {
        self.processes += 1;
        let mut variables = self.config.variables();
        variables.push(("CHAOS_POINT", point.to_owned()));
        let process = Process::start("crash", self.processes, &variables, &self.said);
        self.wait_for_line("acknowledged");
        process
    }

    /// Waits until a process sends a line with that beginning.
    fn wait_for_line(&mut self, beginning: &str) {
        loop {
            let (_, line) = self.heard.recv_timeout(PATIENCE).expect("a line");
            if let ["acknowledged", request, id] = line.split(' ').collect::<Vec<_>>()[..] {
                self.acknowledged.insert(request.parse().unwrap(), id.to_owned());
            }
            if line.starts_with(beginning) {
                return;
            }
        }
    }

    /// A process that has died at that point.
    fn die(&mut self, point: &str) {
        let code = self.begin(point).wait(PATIENCE);
        if code.is_some() {
            self.complaints.push(format!("{point}: ended with {code:?} instead of dying"));
        }
    }

    fn expect(&mut self, point: &str, state: u64, expected: u64) {
        if state != expected {
            self.complaints.push(format!("{point}: the job is in state {state}, not {expected}"));
        }
    }

    /// Another process finishes everything.
    fn succeed(&mut self, role: &str, unfinished: impl Fn() -> u64) {
        let number = 1_000 + self.processes;
        let mut process = Process::start(role, number, &self.config.variables(), &self.said);
        self.wait_for_line("ready");
        let begun = Instant::now();
        while unfinished() > 0 && begun.elapsed() < 3 * LEASE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = unfinished();
        if left > 0 {
            self.complaints.push(format!("{left} jobs are not finished after three leases"));
        }
        process.dismiss();
        if process.wait(PATIENCE) != Some(0) {
            self.complaints.push("the successor did not end in order".to_owned());
        }
    }

    fn until(&self, is: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "process {} waits in vain", self.processes);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn close(&mut self, title: &str, audit: &mut Audit) -> Vec<String> {
        audit.complaints.append(&mut self.complaints);
        table::print(title, &[("crashes", u64::from(self.processes))], audit)
    }
}

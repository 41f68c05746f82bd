//! How long a job waits when nothing else is to be done: from its acknowledgement until an engine begins, that
//! is notice, claim, and pictures read and opened.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use visavis::sealing::MasterKey;

use crate::{
    fixture::{Pictures, Site},
    support::Cluster,
};

/// Jobs, one at a time.
const JOBS: u64 = 400;
/// The variable that makes this program a worker: the address of the Postgres.
pub(crate) const WORKER: &str = "BENCH_WORKER";
/// The variable with the file of the master key.
const KEY: &str = "BENCH_KEY";

type Begun = (u64, Instant);

pub(crate) async fn run(cluster: &Cluster, folder: &Path) {
    println!("\nFrom acknowledgement to the engine's begin, idle, 2 x 200 kB, {JOBS} jobs\n");
    println!("{:<36} {:>9} {:>9} {:>9} {:>9}", "store", "p50 ms", "p90 ms", "p99 ms", "max ms");
    let (told, heard) = unbounded_channel();
    let site = Site::on_sqlite(&folder.join("latency.db")).await;
    site.work(
        2,
        Arc::new(move |number| {
            let _ = told.send((number, Instant::now()));
        }),
    );
    print("SQLite, one process", &measure(&site, heard).await);
    site.stop();

    let url = cluster.url(&cluster.new_database().await);
    let path = folder.join("master.key");
    let key = MasterKey::load_or_create(&path).unwrap();
    let site = Site::on_postgres(&url, key, 10).await;
    let (told, heard) = unbounded_channel();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .env(WORKER, &url)
        .env(KEY, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(worker.stdout.take().unwrap());
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = told.send((line.parse().unwrap(), Instant::now()));
        }
    });
    print("Postgres, front end and worker apart", &measure(&site, heard).await);
    site.stop();
    drop(worker.stdin.take());
    worker.wait().unwrap();
}

/// The worker: says the number of each job that an engine begins with, until the end of input.
pub(crate) async fn work(url: &str) {
    let key = MasterKey::load_or_create(Path::new(&std::env::var(KEY).unwrap())).unwrap();
    let site = Site::on_postgres(url, key, 4).await;
    site.work(
        2,
        Arc::new(|number| {
            let _ = std::io::stdout().write_all(format!("{number}\n").as_bytes());
        }),
    );
    let input = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    input.await.unwrap().unwrap();
    site.stop();
}

async fn measure(site: &Site, mut heard: UnboundedReceiver<Begun>) -> Vec<f64> {
    let pictures = Pictures::new();
    // Connections are made, statements are prepared.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut acknowledged = HashMap::new();
    for number in 0..JOBS + 20 {
        site.enqueue(&pictures.request(number)).await;
        acknowledged.insert(number, Instant::now());
        tokio::time::sleep(Duration::from_millis(50 + number * 7 % 40)).await;
    }
    site.finished().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = std::iter::from_fn(|| heard.try_recv().ok()).filter(|(number, _)| *number >= 20);
    let mut waits: Vec<_> = begun
        // Zero when the engine was faster than the acknowledgement.
        .map(|(number, begun)| begun.saturating_duration_since(acknowledged[&number]))
        .map(|wait| wait.as_secs_f64() * 1e3)
        .collect();
    assert_eq!(waits.len() as u64, JOBS, "every job was begun once");
    waits.sort_by(f64::total_cmp);
    waits
}

fn print(name: &str, sorted: &[f64]) {
    let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
    println!("{name:<36} {:>9.1} {:>9.1} {:>9.1} {:>9.1}", at(50), at(90), at(99), at(100));
}

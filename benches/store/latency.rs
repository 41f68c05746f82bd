//! How long a job waits when nothing else is to be done: from its acknowledgement until an engine
//! begins. That is notice and claim, and pictures read and opened, which small ones nearly take
//! out.

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
    fixture::{PICTURE, Pictures, Site},
    support::Cluster,
};

/// Jobs of each kind, one at a time.
const JOBS: u64 = 300;
/// Jobs before those, which make connections and prepare statements.
const FIRST: u64 = 20;
/// Bytes of a picture.
const SIZES: [usize; 2] = [1_000, PICTURE];
/// The variable that makes this program a worker: the address of the Postgres.
pub(crate) const WORKER: &str = "BENCH_WORKER";
/// The variable with the file of the master key.
const KEY: &str = "BENCH_KEY";

type Begun = (u64, Instant);

pub(crate) async fn run(cluster: &Cluster, folder: &Path) {
    println!("\nFrom acknowledgement to the engine's begin, idle, {JOBS} jobs each\n");
    println!("{:<36} {:>9} {:>9} {:>9} {:>9}", "", "p50 ms", "p90 ms", "p99 ms", "max ms");
    print("one write to the disk, for scale", &writes(folder));
    let (sender, receiver) = unbounded_channel();
    let site = Site::on_sqlite(&folder.join("latency.db")).await;
    site.work(
        2,
        Arc::new(move |number| {
            let _ = sender.send((number, Instant::now()));
        }),
    );
    measure("SQLite, one process", &site, receiver).await;
    site.stop();

    let url = cluster.url(&cluster.new_database().await);
    let path = folder.join("master.key");
    let key = MasterKey::load_or_create(&path).unwrap();
    let site = Site::on_postgres(&url, key, 10).await;
    let (sender, receiver) = unbounded_channel();
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
            let _ = sender.send((line.parse().unwrap(), Instant::now()));
        }
    });
    measure("Postgres, two processes", &site, receiver).await;
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

async fn measure(name: &str, site: &Site, mut receiver: UnboundedReceiver<Begun>) {
    // The worker is ready.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for bytes in SIZES {
        let pictures = Pictures::of(bytes);
        let mut acknowledged = HashMap::new();
        for number in 0..FIRST + JOBS {
            site.enqueue(&pictures.request(number)).await;
            acknowledged.insert(number, Instant::now());
            tokio::time::sleep(Duration::from_millis(40 + number * 7 % 40)).await;
        }
        site.finished().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = std::iter::from_fn(|| receiver.try_recv().ok());
        let mut waits: Vec<_> = begun
            .filter(|(number, _)| *number >= FIRST)
            // Zero when the engine was faster than the acknowledgement.
            .map(|(number, begun)| begun.saturating_duration_since(acknowledged[&number]))
            .map(|wait| wait.as_secs_f64() * 1e3)
            .collect();
        assert_eq!(waits.len() as u64, JOBS, "every job was begun once");
        waits.sort_by(f64::total_cmp);
        print(&format!("{name}, 2 x {} kB", bytes / 1_000), &waits);
    }
}

/// What every commit waits for once or more.
fn writes(folder: &Path) -> Vec<f64> {
    let mut file = std::fs::File::create(folder.join("scale")).unwrap();
    let mut times: Vec<_> = (0..JOBS)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 16_384]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn print(name: &str, sorted: &[f64]) {
    let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
    println!("{name:<36} {:>9.1} {:>9.1} {:>9.1} {:>9.1}", at(50), at(90), at(99), at(100));
}

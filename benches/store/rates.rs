//! Jobs stored and finished in a second, beside what the database does without us.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::task::JoinSet;
use visavis::sealing::MasterKey;

use crate::{
    bare::Bare,
    fixture::{CONNECTIONS, PICTURE, PRODUCERS, Pictures, Site, WORKERS},
    median,
    support::Cluster,
};

/// Jobs of a run.
const JOBS: usize = 800;
/// Runs of each kind, one after the other within a round.
const ROUNDS: usize = 8;
const KINDS: [&str; 4] =
    ["Postgres, by hand", "Postgres, Visavis", "SQLite, by hand", "SQLite, Visavis"];

/// Each kind comes before and after the one it is compared with, and both pairs come first and
/// last: what one wrote the next one waits for.
const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]];

pub(crate) async fn run(cluster: &Cluster, folder: &Path) {
    println!(
        "\nJobs stored and finished, 2 x 200 kB each: {PRODUCERS} producers, {WORKERS} workers, \
         medians of {ROUNDS} runs of {JOBS} jobs\n"
    );
    let mut rates: [Vec<f64>; 4] = Default::default();
    let mut logged: [Vec<f64>; 4] = Default::default();
    let mut connections = [0; 4];
    for round in 0..=ROUNDS {
        for kind in ORDERS[round % ORDERS.len()] {
            let name = KINDS[kind];
            let database = cluster.new_database().await;
            let url = cluster.url(&database);
            let own = PgPool::connect(&url).await.unwrap();
            let file = folder.join(format!("{round}-{kind}.db"));
            let before = log_position(&own).await;
            let (time, used) = match kind {
                0 => by_hand(Bare::on_postgres(&url).await, &own).await,
                1 => {
                    let key = MasterKey::random().unwrap();
                    by_visavis(Site::on_postgres(&url, key, CONNECTIONS).await, &own).await
                }
                2 => by_hand(Bare::on_sqlite(&file).await, &own).await,
                _ => by_visavis(Site::on_sqlite(&file).await, &own).await,
            };
            // The first round only warms up.
            if round > 0 {
                let rate = JOBS as f64 / time.as_secs_f64();
                rates[kind].push(rate);
                logged[kind].push((log_position(&own).await - before) / JOBS as f64 / 1e3);
                connections[kind] = connections[kind].max(used);
                eprintln!("  round {round} of {ROUNDS}: {name} {rate:.0} jobs/s");
            }
        }
    }
    println!(
        "{:<20} {:>8} {:>10} {:>9} {:>13} {:>12}",
        "store", "jobs/s", "range", "ratio", "WAL kB a job", "connections"
    );
    for (kind, name) in KINDS.iter().enumerate() {
        let rate = median(&rates[kind]);
        // Within a round, because the machine changes between rounds.
        let pairs = rates[kind].iter().zip(&rates[kind / 2 * 2]);
        let ratio = median(&pairs.map(|(rate, bound)| rate / bound).collect::<Vec<_>>());
        let low = rates[kind].iter().copied().fold(f64::INFINITY, f64::min);
        let high = rates[kind].iter().copied().fold(0.0, f64::max);
        let range = format!("{low:.0}-{high:.0}");
        let (wal, used) = if kind < 2 {
            (format!("{:.0}", median(&logged[kind])), connections[kind].to_string())
        } else {
            ("-".to_owned(), "-".to_owned())
        };
        println!("{name:<20} {rate:>8.0} {range:>10} {ratio:>9.2} {wal:>13} {used:>12}");
    }
}

async fn log_position(own: &PgPool) -> f64 {
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
    sqlx::query_scalar(sql).fetch_one(own).await.unwrap()
}

/// Sessions beside the one that asks.
async fn sessions(own: &PgPool) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = \
               current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    sqlx::query_scalar(sql).fetch_one(own).await.unwrap()
}

async fn by_hand(bare: Bare, own: &PgPool) -> (Duration, i64) {
    let begun = Instant::now();
    bare.run(JOBS).await;
    (begun.elapsed(), sessions(own).await)
}

async fn by_visavis(site: Site, own: &PgPool) -> (Duration, i64) {
    let site = Arc::new(site);
    site.work(WORKERS, Arc::new(|_| ()));
    let pictures = Pictures::of(PICTURE);
    let begun = Instant::now();
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (site, request) = (Arc::clone(&site), pictures.request(0));
        producers.spawn(async move {
            for _ in 0..JOBS / PRODUCERS {
                site.enqueue(&request).await;
            }
        });
    }
    while producers.join_next().await.is_some() {}
    site.finished().await;
    let time = begun.elapsed();
    let used = sessions(own).await;
    site.stop();
    (time, used)
}

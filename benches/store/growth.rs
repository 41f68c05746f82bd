//! How large the tables of a Postgres get at a steady rate: pictures come and go, and their room is
//! given back.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::time::Instant;
use visavis::{
    queue::QueueAdmission,
    sealing::MasterKey,
    worker::{Maintenance, MaintenanceConfig},
};

use crate::{
    fixture::{PICTURE, Pictures, Site},
    support::Cluster,
};

/// Jobs a second.
const RATE: u64 = 40;
const SECONDS: u64 = 120;
/// Seconds between two looks.
const EVERY: u64 = 10;

pub(crate) async fn run(cluster: &Cluster) {
    println!("\nSize of the tables on Postgres at {RATE} jobs/s with 2 x 200 kB\n");
    println!(
        "{:>8} {:>8} {:>14} {:>8} {:>9}",
        "seconds", "jobs", "job_payload MB", "job MB", "waiting"
    );
    let url = cluster.url(&cluster.new_database().await);
    let own = PgPool::connect(&url).await.unwrap();
    let site = Arc::new(Site::on_postgres(&url, MasterKey::random().unwrap(), 10).await);
    site.work(2, Arc::new(|_| ()));
    let times =
        MaintenanceConfig { retention: Duration::from_hours(24), every: Duration::from_mins(1) };
    let maintenance = Maintenance::new(site.store.clone(), QueueAdmission::default(), times, 0);
    tokio::spawn(maintenance.clean(site.shutdown()));
    let pictures = Pictures::of(PICTURE);
    let mut pace = tokio::time::interval(Duration::from_millis(1_000 / RATE));
    let begun = Instant::now();
    let mut shown = 0;
    for number in 0.. {
        pace.tick().await;
        let seconds = begun.elapsed().as_secs();
        if seconds >= shown + EVERY {
            shown = seconds;
            let sql = "SELECT pg_total_relation_size('job_payload'), pg_total_relation_size('job')";
            let (payload, job): (i64, i64) = sqlx::query_as(sql).fetch_one(&own).await.unwrap();
            let waiting = site.store.depth().await.unwrap().jobs;
            let megabytes = |bytes: i64| bytes as f64 / 1e6;
            println!(
                "{seconds:>8} {number:>8} {:>14.0} {:>8.1} {waiting:>9}",
                megabytes(payload),
                megabytes(job)
            );
        }
        if seconds >= SECONDS {
            break;
        }
        let (site, request) = (Arc::clone(&site), pictures.request(number));
        tokio::spawn(async move { site.enqueue(&request).await });
    }
    site.finished().await;
    site.stop();
}

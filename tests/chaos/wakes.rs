//! Wake-ups between processes, when the connections that carry them go silent.

use std::time::{Duration, Instant};

use visavis::{db::PostgresDb, queue::Wake, shutdown::Shutdown};

use crate::{
    dice::Dice,
    proxy::{Proxy, Weather},
    support::cluster,
};

/// How long after the fault a worker may have to poll: silence is noticed by a ping.
const RECOVERY: Duration = Duration::from_secs(20);

/// Returns the time until a worker received a notification again.
pub async fn after_dead_connections(dice: Dice, time: Duration) -> Result<Duration, String> {
    let database = cluster().new_database().await;
    let proxy = Proxy::start(cluster().port(), dice).await;
    let url = format!("postgres://visavis@127.0.0.1:{}/{database}", proxy.port);
    let (front_end, worker) = (Wake::default(), Wake::default());
    let (_trigger, shutdown) = Shutdown::new();
    let db = PostgresDb::open(&url, 2).await.unwrap();
    tokio::spawn(front_end.clone().announce(db, shutdown.clone()));
    let db = PostgresDb::open(&url, 2).await.unwrap();
    tokio::spawn(worker.clone().listen(db, shutdown));
    time_to_wake(&front_end, &worker, Duration::from_secs(5)).await.ok_or("never heard at all")?;

    // Notifications are under way when the fault begins.
    proxy.set(Weather::Slow(Duration::from_millis(40)));
    for _ in 0..50 {
        front_end.job_arrived();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.set(Weather::Grave);
    tokio::time::sleep(time).await;
    proxy.set(Weather::Fair);
    let after = time_to_wake(&front_end, &worker, RECOVERY).await;
    after.ok_or_else(|| format!("wake-ups are not heard {RECOVERY:?} after the connections died"))
}

/// The time until a worker receives a notification, which is repeated.
async fn time_to_wake(front_end: &Wake, worker: &Wake, patience: Duration) -> Option<Duration> {
    let begun = Instant::now();
    // What was left over.
    let _ = tokio::time::timeout(Duration::from_millis(300), worker.here().notified()).await;
    while begun.elapsed() < patience {
        front_end.job_arrived();
        let notified = worker.here().notified();
        if tokio::time::timeout(Duration::from_millis(200), notified).await.is_ok() {
            return Some(begun.elapsed());
        }
    }
    None
}

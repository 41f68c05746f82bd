//! The primary is lost and a standby takes its place, behind the same address.

use std::time::Duration;

use visavis::{
    clock::Clock,
    compare::TransactionId,
    db::{DbError, PostgresDb},
    queue::{Accepted, Store},
    sealing::MasterKey,
};

use crate::{
    store::bench::{LEASE, new_job, refused, request},
    support::Cluster,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_refused_at_a_start_and_waited_out_by_those_who_run() {
    let cluster = Cluster::start();
    let url = cluster.url(&cluster.new_database().await);
    let db = PostgresDb::open(&url, 4).await.unwrap();
    let store = Store::new(db.clone(), MasterKey::random().unwrap(), Clock::System);
    let request = request(1);
    let stored = async |digest| {
        let id = TransactionId::new(Clock::System.now_utc(), 0);
        store.enqueue(&new_job(&id, &request, Some(digest))).await
    };
    assert!(matches!(stored(1).await.unwrap(), Accepted::New(_)));

    tokio::task::block_in_place(|| cluster.become_standby());
    let opened = PostgresDb::open(&url, 2).await;
    assert!(matches!(opened, Err(DbError::Standby(_))), "{opened:?}");

    // Sent while no one takes writes; served once someone does.
    let (waiting, ()) = tokio::join!(stored(2), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        tokio::task::block_in_place(|| cluster.promote());
    });
    assert!(matches!(waiting.unwrap(), Accepted::New(_)));
    let leases = store.claim(10, "after", LEASE).await.unwrap();
    assert_eq!(leases.len(), 2, "the job from before is there too");
    for lease in leases {
        store.complete(lease.job.id, lease.token, &refused()).await.unwrap();
    }
    assert_eq!(crate::support::payload_rows(db).await, 0);
}

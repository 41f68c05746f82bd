//! What a change of a job costs Postgres besides the row itself.

use std::time::Duration;

use visavis::{
    clock::Clock,
    compare::TransactionId,
    db::PostgresDb,
    queue::{NewJob, Store},
    sealing::MasterKey,
};

use super::bench::request;
use crate::support::cluster;

const JOBS: u8 = 5;
const LEASE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn claiming_renewing_and_putting_back_a_job_write_no_index() {
    // One connection: a session reports its statistics at the end of a statement of its own.
    let url = cluster().url(&cluster().new_database().await);
    let db = PostgresDb::open(&url, 1).await.unwrap();
    let store = Store::new(db.clone(), MasterKey::random().unwrap(), Clock::System);
    for number in 0..JOBS {
        let request = request(number);
        let transaction_id = TransactionId::new(Clock::System.now_utc(), 0);
        let job = NewJob { transaction_id, client_id: "1", dedupe: None, request: &request };
        store.enqueue(&job).await.unwrap();
    }
    let leases = store.claim(u32::from(JOBS), "worker", LEASE).await.unwrap();
    let held: Vec<_> = leases.iter().map(|lease| (lease.job.id, lease.token)).collect();
    assert_eq!(store.renew(&held, LEASE).await.unwrap().len(), usize::from(JOBS));
    for (id, token) in held {
        store.retry(id, token, LEASE).await.unwrap();
    }
    let changes = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'job'";
    let (updates, mut found) = (3 * i64::from(JOBS), (0, 0));
    // It reports at most once a second: perhaps a part first.
    for _ in 0..100 {
        found = sqlx::query_as::<_, (i64, i64)>(changes).fetch_one(&db.pool()).await.unwrap();
        if found.0 >= updates {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(found, (updates, updates), "updates, and those that wrote no index");
}

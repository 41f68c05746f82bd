//! Sessions of Postgres that are ended under the statements of a store: no one notices.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgPoolOptions};
use visavis::{
    clock::Clock,
    compare::{Outcome, Refusal, Side, TransactionId},
    db::{PostgresDb, without_idle_reaper},
    queue::{NewJob, QueueError, Store},
    sealing::MasterKey,
};

use super::bench::request;
use crate::support::{cluster, payload_rows};

/// Jobs that go through.
const JOBS: u8 = 60;

/// Ends every other session of the database, again and again; now and then with time enough for a
/// statement on a machine that is busy with other things.
async fn end_sessions(own: PgPool) {
    for pause in [10, 20, 40, 400].into_iter().cycle() {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(&own)
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_ended_under_statements_lose_nothing_and_double_nothing() {
    let url = cluster().url(&cluster().new_database().await);
    let db = PostgresDb::open(&url, 4).await.unwrap();
    let store = Store::new(db.clone(), MasterKey::random().unwrap(), Clock::System);
    // One session, which does not end itself: a second one of the pool would be ended.
    let own = without_idle_reaper(PgPoolOptions::new()).max_connections(1);
    let own = own.connect(&url).await.unwrap();
    let ending = tokio::spawn(end_sessions(own.clone()));
    for number in 0..JOBS {
        let request = request(number);
        let transaction_id = TransactionId::new(Clock::System.now_utc(), 0);
        // Known again by its digest, or by its id alone.
        let dedupe = (number % 2 == 0).then_some([number; 32]);
        let job = NewJob { transaction_id, client_id: "1", dedupe, request: &request };
        store.enqueue(&job).await.unwrap();
    }
    let outcome = Outcome::Refused { side: Side::Probe, refusal: Refusal::NoFace };
    let mut done = 0;
    while done < u32::from(JOBS) {
        // A claim whose response was lost comes back when its lease is over.
        for lease in store.claim(8, "worker", Duration::from_millis(400)).await.unwrap() {
            store.payload(&lease).await.unwrap();
            match store.complete(lease.job.id, lease.token, &outcome).await {
                // Lost: the first write arrived and its response did not, or the lease is over.
                Ok(()) | Err(QueueError::LeaseLost) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let counted: i64 = sqlx::query_scalar("SELECT count(*) FROM job WHERE state = 2")
            .fetch_one(&own)
            .await
            .unwrap();
        done = u32::try_from(counted).unwrap();
    }
    ending.abort();
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&own).await.unwrap();
    assert_eq!(all, i64::from(JOBS), "each is there once");
    assert_eq!(payload_rows(db).await, 0);
}

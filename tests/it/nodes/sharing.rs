//! What one process has accepted another finishes and returns, and what one was doing when it was
//! killed another does again.

use sqlx::Connection as _;
use visavis::sealing::MasterKey;

use super::Site;
use crate::support::{Run as _, cluster};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_accepts_another_tells_and_a_killed_one_loses_nothing() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let (first, second) = (site.node(&[]), site.node(&[]));
        let ids: Vec<_> = (0..4).map(|n| site.enqueue(&first, n)).collect();
        for id in &ids {
            site.expect_verdict(&second, id);
        }

        let ids: Vec<_> = (4..12).map(|n| site.enqueue(&first, n)).collect();
        first.kill();
        for id in &ids {
            site.expect_verdict(&second, id);
        }
        assert_eq!(second.terminate(), Some(0));
    });
    let mut connection = sqlx::PgConnection::connect(&site.urls[0]).await.unwrap();
    let (done, pictures): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM job WHERE state = 2), (SELECT count(*) FROM job_payload)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!((done, pictures), (12, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_without_workers_has_pairs_compared_by_others_or_says_that_it_takes_longer() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let front = site.front_end();
        let waiting = site.compare(&front, "nobody works");
        assert_eq!(waiting["result"]["resultCode"], "PROCESSING", "{waiting}");
        let id = waiting["transactionId"].as_str().unwrap();

        let workers = site.workers();
        site.expect_verdict(&front, id);
        let compared = site.compare(&front, "somebody works");
        assert_eq!(compared["result"]["resultCode"], "SUCCESS", "{compared}");
        assert_eq!(compared["samePerson"], true);
        site.expect_verdict(&front, &site.enqueue(&front, 1));
        assert_eq!((front.terminate(), workers.terminate()), (Some(0), Some(0)));
    });
}

#[test]
fn on_sqlite_front_end_and_workers_stay_together() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["serve", "--workers", "0"][..], &["work"]] {
        let mut command = crate::support::program();
        command.args(arguments).arg("--data").arg(folder.path());
        let ran = command.ran();
        let said = &ran.err;
        assert_eq!(ran.code, 2, "{said}");
        assert!(said.contains("VISAVIS_DATABASE_URL"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_not_there_is_told_by_its_host_and_never_by_its_password() {
    let mut check = crate::support::program();
    let folder = tempfile::tempdir().unwrap();
    check.arg("migrate").arg("--data").arg(folder.path());
    check.env("VISAVIS_DATABASE_URL", "postgres://someone:hunter2@127.0.0.1:1/nowhere");
    check.env("VISAVIS_DATABASE_START_TIMEOUT_MS", "0");
    let ran = check.ran();
    let said = &ran.err;
    assert_eq!(ran.code, 2, "{said}");
    assert!(said.contains("127.0.0.1:1") && !said.contains("hunter2"), "{said}");
}

/// A process with another key could open no one's photos and would give every job up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_another_master_key_is_turned_away_before_it_takes_a_job() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let first = site.front_end();
        let other = tempfile::tempdir().unwrap();
        MasterKey::load_or_create(&other.path().join("master.key")).unwrap();
        for command in ["serve", "work"] {
            let mut outsider = crate::support::with_models();
            outsider.arg(command).arg("--data").arg(other.path()).envs(site.variables());
            outsider.env("VISAVIS_HTTP_LISTEN", "127.0.0.1:0").env("VISAVIS_ADMIN_LISTEN", "");
            let ran = outsider.ran();
            let said = &ran.err;
            assert_eq!(ran.code, 2, "{command}: {said}");
            assert!(said.contains("sealed with another master key"), "{command}: {said}");
        }
        assert_eq!(first.terminate(), Some(0));
    });
}

/// The rows are gone in any case; the room of a hundred megabytes of them is given back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_room_of_deleted_pictures_is_cleared() {
    let url = cluster().url(&cluster().new_database().await);
    let db = visavis::db::PostgresDb::open(&url, 4).await.unwrap();
    let pool = db.pool();
    let key = MasterKey::random().unwrap();
    let store = visavis::queue::Store::new(db.clone(), key, visavis::clock::Clock::System);
    assert!(!store.vacuum_payloads().await.unwrap(), "an empty table");
    for statement in [
        "INSERT INTO job (transaction_id, client_id, biz_id, state, due_at, bytes, options, \
         created_at)
         SELECT 'G' || n, '1', 'b', 0, now(), 2000000, '{}', now() FROM generate_series(1, 50) AS n",
        "INSERT INTO job_payload SELECT id, decode(repeat('ab', 1000000), 'hex'), \
         decode(repeat('cd', 1000000), 'hex')
         FROM job",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    assert!(!store.vacuum_payloads().await.unwrap(), "all of it is alive");
    sqlx::query("UPDATE job SET state = 3, finished_at = now()").execute(&pool).await.unwrap();
    let left = crate::support::payload_rows(db).await;
    assert_eq!(left, 0, "the schema deletes pictures of ended jobs");
    assert!(store.vacuum_payloads().await.unwrap(), "a hundred megabytes of nothing");
    // One VACUUM may leave room on a busy machine; maintenance repeats it.
    for _ in 0..50 {
        if !store.vacuum_payloads().await.unwrap() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("the room is not given back");
}

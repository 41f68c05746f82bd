//! Several processes on one Postgres, with the real models: what one has accepted another finishes and
//! tells, and what one was doing when it was killed another does again.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Connection as _;

use crate::{
    crash::server::{Data, Server},
    support::{cluster, in_repository, visavis},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder with the master key, a database, and the file of a client.
struct Site {
    data: Data,
    url: String,
    keys: String,
}

impl Site {
    async fn new() -> Self {
        let (data, name) = (Data::new(), cluster().new_database().await);
        let url = cluster().url(&name);
        let keys = data.folder().join("app.json").display().to_string();
        let folder = data.folder().display().to_string();
        let mut add = crate::support::program();
        add.args(["client", "add", "app", "--out", &keys, "--data", &folder]);
        let added = add.env("VISAVIS_DATABASE_URL", &url).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        Self { data, url, keys }
    }

    /// Leases that another process may inherit soon, little patience, and wake-ups or nothing.
    fn variables(&self) -> [(&str, &str); 5] {
        [
            ("VISAVIS_DATABASE_URL", &self.url),
            ("VISAVIS_QUEUE_LEASE_MS", "3000"),
            ("VISAVIS_QUEUE_JOB_DEADLINE_MS", "2000"),
            ("VISAVIS_HTTP_PATIENCE_MS", "1500"),
            ("VISAVIS_WORKER_POLL_MS", "3600000"),
        ]
    }

    /// A process with front end and workers.
    fn node(&self) -> Server {
        let mut variables = self.variables();
        variables[4].1 = "500";
        Server::start_with(&self.data, &[], &variables)
    }

    fn front_end(&self) -> Server {
        Server::start_with(&self.data, &["--workers", "0"], &self.variables())
    }

    /// One that does not poll: it hears of a job or it does not.
    fn workers(&self) -> Server {
        Server::start_workers(&self.data, &self.variables())
    }

    fn compare(&self, node: &Server, biz_id: &str) -> Value {
        let sample = |name: &str| in_repository(&format!("samples/{name}"));
        let (one, other) = (sample("obama-2012.jpg"), sample("obama-2009.jpg"));
        self.call(node, &["compare", &one, &other, "--biz-id", biz_id])
    }

    fn call(&self, node: &Server, arguments: &[&str]) -> Value {
        let ran = visavis(
            &[&["call"], arguments, &["--json", "--client", &self.keys, "--url", &node.url()]]
                .concat(),
        );
        assert!(ran.code < 2, "{}", ran.err);
        ran.json()
    }

    fn enqueue(&self, node: &Server, number: usize) -> String {
        let sample = |name: &str| in_repository(&format!("samples/{name}"));
        let (one, other) = (sample("obama-2012.jpg"), sample("obama-2009.jpg"));
        let biz_id = format!("pair-{number}");
        let accepted =
            self.call(node, &["asynccompare", &one, &other, "--biz-id", biz_id.as_str()]);
        assert_eq!(accepted["result"]["resultCode"], "PROCESSING", "{accepted}");
        accepted["transactionId"].as_str().unwrap().to_owned()
    }

    fn expect_verdict(&self, node: &Server, id: &str) {
        let begun = Instant::now();
        loop {
            let told = self.call(node, &["asynccheckresult", id]);
            if told["result"]["resultCode"] != "PROCESSING" {
                assert_eq!(told["samePerson"], true, "{told}");
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{id} is never finished");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_accepts_another_tells_and_a_killed_one_loses_nothing() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let (first, second) = (site.node(), site.node());
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
    let mut connection = sqlx::PgConnection::connect(&site.url).await.unwrap();
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
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains("VISAVIS_DATABASE_URL"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_not_there_is_told_by_its_host_and_never_by_its_password() {
    let mut check = crate::support::program();
    let folder = tempfile::tempdir().unwrap();
    check.arg("migrate").arg("--data").arg(folder.path());
    check.env("VISAVIS_DATABASE_URL", "postgres://someone:hunter2@127.0.0.1:1/nowhere");
    let ran = check.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("127.0.0.1:1") && !said.contains("hunter2"), "{said}");
}

/// The rows are gone in any case; the room of a hundred megabytes of them is given back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_room_of_deleted_pictures_is_cleared() {
    let url = cluster().url(&cluster().new_database().await);
    let db = visavis::db::PostgresDb::open(&url, 4).await.unwrap();
    let pool = db.pool.clone();
    let key = visavis::sealing::MasterKey::random().unwrap();
    let store = visavis::queue::Store::postgres(db, key, visavis::clock::Clock::System);
    assert!(!store.tidy().await.unwrap(), "an empty table");
    for statement in [
        "INSERT INTO job (transaction_id, client_id, biz_id, state, due_at, bytes, options, created_at)
         SELECT 'G' || n, '1', 'b', 0, now(), 2000000, '{}', now() FROM generate_series(1, 50) AS n",
        "INSERT INTO job_payload SELECT id, decode(repeat('ab', 1000000), 'hex'), decode(repeat('cd', 1000000), 'hex')
         FROM job",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    assert!(!store.tidy().await.unwrap(), "all of it is alive");
    sqlx::query("UPDATE job SET state = 3, finished_at = now()").execute(&pool).await.unwrap();
    assert_eq!(store.payload_rows().await.unwrap(), 0, "the schema deletes pictures of ended jobs");
    assert!(store.tidy().await.unwrap(), "a hundred megabytes of nothing");
    assert!(!store.tidy().await.unwrap(), "done");
}

/// A pooler before the tests' server, ended when dropped.
struct Pooler {
    child: std::process::Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Pooler {
    /// `None` where the pooler is not installed.
    fn start(mode: &str) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
        let Some(program) = program.into_iter().find(|path| std::path::Path::new(path).exists())
        else {
            eprintln!(
                "LEFT OUT: pgbouncer is not on this machine, so it is not seen to be refused"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=visavis\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 4\n\
             ignore_startup_parameters = extra_float_digits\n",
            cluster().port()
        );
        let path = folder.path().join("pgbouncer.ini");
        std::fs::write(&path, config).unwrap();
        let open =
            std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status();
        assert!(open.unwrap().success());
        let child = crate::support::as_server_user(std::path::Path::new(program))
            .arg(&path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "the pooler does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, folder })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_refused_in_transaction_mode_and_taken_in_session_mode() {
    let name = cluster().new_database().await;
    for (mode, taken) in [("transaction", false), ("session", true)] {
        let Some(pooler) = Pooler::start(mode) else { return };
        let url = format!("postgres://visavis@127.0.0.1:{}/{name}", pooler.port);
        let opened = visavis::db::PostgresDb::open(&url, 2).await;
        assert_eq!(opened.is_ok(), taken, "{mode}: {opened:?} {}", pooler.folder.path().display());
        if let Err(error) = opened {
            assert!(error.to_string().contains("session mode"), "{error}");
        }
    }
}

/// A process with another key could open nobody's pictures and would give every job up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_another_master_key_is_turned_away_before_it_takes_a_job() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let first = site.front_end();
        let other = tempfile::tempdir().unwrap();
        for command in ["serve", "work"] {
            let mut stranger = crate::support::with_models();
            stranger.arg(command).arg("--data").arg(other.path()).envs(site.variables());
            stranger.env("VISAVIS_HTTP_LISTEN", "127.0.0.1:0").env("VISAVIS_ADMIN_LISTEN", "");
            let ran = stranger.output().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(2), "{command}: {said}");
            assert!(said.contains("the master key is not the one"), "{command}: {said}");
        }
        assert_eq!(first.terminate(), Some(0));
    });
}

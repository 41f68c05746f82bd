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

    /// A process with front end and workers; a lease that another may inherit soon.
    fn node(&self) -> Server {
        let variables = [
            ("VISAVIS_DATABASE_URL", self.url.as_str()),
            ("VISAVIS_QUEUE_LEASE_MS", "3000"),
            ("VISAVIS_QUEUE_JOB_DEADLINE_MS", "2000"),
        ];
        Server::start_with(&self.data, &[], &variables)
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

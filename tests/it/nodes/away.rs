//! Postgres does not respond: what a request waits for, and what a statement costs while all is
//! well.

use std::{
    thread,
    time::{Duration, Instant},
};

use visavis::{
    clock::Clock,
    compare::TransactionId,
    db::PostgresDb,
    queue::{QueueError, Store},
    sealing::MasterKey,
};

use super::{
    Site, call,
    proxy::{Mode, Proxy},
};
use crate::{
    log::lines,
    store::bench::{new_job, refused, request},
    support::{cluster, in_repository},
};

/// SDKs give up after ten seconds.
const LIMIT: Duration = Duration::from_secs(9);

async fn behind_proxy() -> (Proxy, String) {
    let url = cluster().url(&cluster().new_database().await);
    let proxy = Proxy::to(cluster().port());
    let url = proxy.url(&url, cluster().port());
    (proxy, url)
}

/// Every endpoint, asked at once.
fn ask_everything(site: &Site, node: &crate::crash::server::Server, id: &str) {
    let photo = in_repository("samples/hopper.jpg");
    let calls: [&[&str]; 4] = [
        &["test"],
        &["compare", &photo, &photo],
        &["asynccompare", &photo, &photo],
        &["asynccheckresult", id],
    ];
    thread::scope(|threads| {
        for arguments in calls {
            threads.spawn(move || {
                let begun = Instant::now();
                let answer = call(&site.keys, node, arguments);
                assert!(begun.elapsed() < LIMIT, "{arguments:?}: {:?}", begun.elapsed());
                let code = answer["result"]["resultCode"].as_str().unwrap_or("SUCCESS");
                // A client that was looked up a moment ago is known.
                let is_test = arguments == ["test"] && code == "SUCCESS";
                assert!(is_test || code == "SYSTEM_ERROR", "{arguments:?}: {answer}");
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_every_request_is_answered_within_nine_seconds() {
    let (proxy, url) = behind_proxy().await;
    tokio::task::block_in_place(|| {
        let mut site = Site::on(vec![url]);
        site.keys = site.add_client("app", &[]);
        let log = site.data.folder().join("log");
        let node = site.logging_node(&log);
        let id = site.enqueue(&node, 1);
        site.expect_verdict(&node, &id);
        for mode in [Mode::Closed, Mode::Silent] {
            proxy.set(mode);
            ask_everything(&site, &node, &id);
            let health = node.get("/health/ready");
            assert!(health.starts_with("HTTP/1.1 200"), "no proxy responds in its place: {health}");
            assert!(health.ends_with("degraded: the database cannot be read\n"), "{health}");
            proxy.set(Mode::Open);
            // And all is well again.
            site.expect_verdict(&node, &site.enqueue(&node, 2));
        }
        assert_eq!(node.terminate(), Some(0));
        expect_a_log_that_can_be_followed(&std::fs::read_to_string(log).unwrap(), &id);
    });
}

/// As in a cluster where all is started together, or after a power cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_started_before_postgres_waits_for_it() {
    let cluster = crate::support::Cluster::start();
    let site = Site::on(vec![cluster.url(&cluster.new_database().await)]);
    tokio::task::block_in_place(|| {
        let keys = site.add_client("app", &[]);
        cluster.stop_at_once();
        let later = std::thread::scope(|scope| {
            let nodes = [scope.spawn(|| site.front_end()), scope.spawn(|| site.workers())];
            std::thread::sleep(Duration::from_secs(3));
            cluster.start_again();
            nodes.map(|node| node.join().unwrap())
        });
        let [front, workers] = later;
        super::expect_verdict(&keys, &front, &super::enqueue(&keys, &front, 1));
        assert_eq!((front.terminate(), workers.terminate()), (Some(0), Some(0)));
        // A command is not kept waiting.
        cluster.stop_at_once();
        let listed = site.run(&["client", "list"]);
        assert_eq!(listed.code, 2, "{}", listed.out);
        assert!(listed.err.contains("connection refused: start Postgres"), "{}", listed.err);
    });
}

/// From the request to the job, through the outage.
fn expect_a_log_that_can_be_followed(log: &str, id: &str) {
    let [started] = &lines(log, "started")[..] else { panic!("{log}") };
    for field in ["version", "database", "api", "pack", "device", "threads"] {
        assert!(started.contains_key(field), "{field} is not in {started:?}");
    }
    let of_the_job = |message| {
        let mut found = lines(log, message).into_iter();
        found.find(|line| line.get("transaction").is_some_and(|transaction| transaction == id))
    };
    let accepted = of_the_job("request").unwrap();
    let completed = of_the_job("job completed").unwrap();
    assert_eq!(completed["outcome"], "match");
    for field in ["client", "client_name"] {
        assert_eq!(accepted[field], completed[field]);
    }
    assert_eq!(accepted["client_name"], "app");
    // The trace, not the span in it.
    assert_eq!(accepted["trace"][..35], completed["trace"][..35]);
    let retries = lines(log, "database connection lost during a statement: retrying");
    let in_requests: Vec<_> = retries.iter().filter(|line| line.contains_key("from")).collect();
    assert!(!in_requests.is_empty(), "{log}");
    for line in in_requests {
        // Its client may be what is being looked up.
        let client = line.get("client").or(line.get("asked_client"));
        assert_eq!(client, accepted.get("client"), "{line:?}");
        assert!(line["trace"].starts_with("00-"), "{line:?}");
    }
    assert!(lines(log, "database connection restored").len() >= 2, "{log}");
    assert_eq!(lines(log, "stopped").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_waits_for_one_round_trip() {
    const STATEMENTS: usize = 200;
    let (proxy, url) = behind_proxy().await;
    let db = PostgresDb::open(&url, 1).await.unwrap();
    let store = Store::new(db, MasterKey::random().unwrap(), Clock::System);
    let id = TransactionId::new(Clock::System.now_utc(), 0);
    let ask = async || assert!(store.transaction("2188", &id).await.unwrap().is_none());
    // The statement is prepared once.
    ask().await;
    let before = proxy.round_trips();
    for _ in 0..STATEMENTS {
        ask().await;
    }
    let each = (proxy.round_trips() - before) as f64 / STATEMENTS as f64;
    // The second one is a test by SQLx in the background, when the connection goes back.
    assert!(each <= 2.05, "{each} round trips a statement");
}

/// The server commits, and its response is lost: the statement is made again and meets its own work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_whose_answer_is_lost_is_no_lost_lease() {
    const LEASE: Duration = Duration::from_secs(30);
    let (proxy, url) = behind_proxy().await;
    let db = PostgresDb::open(&url, 1).await.unwrap();
    let store = Store::new(db, MasterKey::random().unwrap(), Clock::System);
    let request = request(1);
    let running = async || {
        let id = TransactionId::new(Clock::System.now_utc(), 0);
        store.enqueue(&new_job(&id, &request, None)).await.unwrap();
        let [lease] = store.claim(1, "worker", LEASE).await.unwrap().try_into().unwrap();
        (lease.job.id, lease.token)
    };
    // Each statement is prepared before: preparing it is a response of its own.
    for lose in [false, true] {
        let lose = || {
            if lose {
                proxy.set(Mode::LosesAnAnswer);
            }
        };
        let (job, token) = running().await;
        lose();
        store.complete(job, token, &refused()).await.unwrap();
        let (job, token) = running().await;
        lose();
        store.bury(job, token).await.unwrap();
        let (job, token) = running().await;
        lose();
        store.retry(job, token, LEASE).await.unwrap();
    }
    let (job, token) = running().await;
    store.complete(job, token, &refused()).await.unwrap();
    assert!(matches!(store.complete(job, token, &refused()).await, Err(QueueError::LeaseLost)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_fail_no_statement() {
    let (proxy, url) = behind_proxy().await;
    let db = PostgresDb::open(&url, 4).await.unwrap();
    let store = Store::new(db, MasterKey::random().unwrap(), Clock::System);
    for _ in 0..3 {
        let (one, two, three, four) =
            tokio::join!(store.ping(), store.ping(), store.ping(), store.ping());
        for answer in [one, two, three, four] {
            answer.unwrap();
        }
        proxy.set(Mode::Closed);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Mode::Open);
    }
}

/// A deadlock is tried again on the connections that there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_fails_for_the_moment_costs_no_connection() {
    let (_, url) = behind_proxy().await;
    let db = PostgresDb::open(&url, 2).await.unwrap();
    let pool = db.pool();
    // A pool is replaced once a second at most.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let deadlock = "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$";
    let made = db.retrying(|pool, again| async move {
        let statement = if again { "SELECT 1" } else { deadlock };
        sqlx::query(statement).execute(&pool).await
    });
    made.await.unwrap();
    assert!(!pool.is_closed(), "a deadlock is no lost connection");
}

/// What an operator reads who has mistyped something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_postgres_name_user_database_and_cure_once() {
    let (_, good) = behind_proxy().await;
    let good = good.as_str();
    let (address, database) = good.rsplit_once('/').unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let cases = [
        (
            format!("{address}/nosuch"),
            format!(
                "visavis@127.0.0.1:{port}/nosuch: database \"nosuch\" does not exist: create it \
                 with: createdb -O visavis nosuch"
            ),
        ),
        (
            format!("postgres://nobody@127.0.0.1:{port}/{database}"),
            format!(
                "nobody@127.0.0.1:{port}/{database}: role \"nobody\" does not exist: create it \
                 with: createuser --pwprompt nobody"
            ),
        ),
        (
            format!("postgres://visavis:secret@127.0.0.1:9/{database}"),
            format!(
                "visavis@127.0.0.1:9/{database}: connection refused: start Postgres, or correct \
                 host and port in database.url"
            ),
        ),
    ];
    for (url, expected) in cases {
        let site = Site::on(vec![url]);
        let ran = tokio::task::block_in_place(|| site.run(&["client", "add", "app", "--out", "-"]));
        assert_eq!(ran.code, 2);
        let expected = format!("visavis: cannot open the database {expected}\n");
        assert!(ran.err.ends_with(&expected), "{} is not {expected}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
}

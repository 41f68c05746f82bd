//! Someone sets the clock of a machine by an hour while jobs wait, run and are asked for.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use visavis::clock::Clock;

use crate::{
    crash::server::{Data, Server},
    nodes::{Site, borrowed},
    support::{Cluster, Hands, Run as _, in_repository, left_out, program},
};

const HOUR: i64 = 3_600;

/// Hands in `folder`; `None`, and a loud word, where libfaketime is not installed.
fn hands(folder: &Path) -> Option<Hands> {
    let hands = Hands::new(folder);
    if hands.is_none() {
        left_out("clocks are set by libfaketime: apt-get install faketime");
    }
    hands
}

/// An app on a machine with this clock.
struct App<'a> {
    url: String,
    keys: String,
    clock: Option<&'a Hands>,
}

impl App<'_> {
    fn call(&self, arguments: &[&str]) -> Value {
        let mut command = program();
        command
            .arg("call")
            .args(arguments)
            .args(["--json", "--client", &self.keys, "--url", &self.url]);
        command.envs(self.clock.into_iter().flat_map(Hands::variables));
        let ran = command.ran();
        assert!(ran.code < 2, "{}", ran.err);
        ran.json()
    }

    /// The header Response-Time of a response.
    fn response_time(&self) -> time::OffsetDateTime {
        let mut command = program();
        command.args(["call", "test", "--client", &self.keys, "--url", &self.url]);
        let ran = command.envs(self.clock.into_iter().flat_map(Hands::variables)).ran();
        let line = ran.out.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("response-time").then_some(value.trim())
        });
        let form = "[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour \
                    sign:mandatory][offset_minute]";
        let form = time::format_description::parse_borrowed::<2>(form).unwrap();
        time::OffsetDateTime::parse(line.unwrap_or_else(|| panic!("{}", ran.out)), &form).unwrap()
    }

    fn enqueue(&self, count: usize) -> Vec<String> {
        let photo = in_repository("samples/obama-2012.jpg");
        let accepted = (0..count).map(|_| self.call(&["asynccompare", &photo, &photo]));
        let id = |accepted: Value| {
            assert_eq!(accepted["result"]["resultCode"], "PROCESSING", "{accepted}");
            accepted["transactionId"].as_str().unwrap().to_owned()
        };
        accepted.map(id).collect()
    }

    fn expect_verdicts(&self, ids: &[String], within: Duration) {
        let begun = Instant::now();
        for id in ids {
            loop {
                let answer = self.call(&["asynccheckresult", id]);
                if answer["result"]["resultCode"] != "PROCESSING" {
                    assert_eq!(answer["samePerson"], true, "{answer}");
                    break;
                }
                assert!(begun.elapsed() < within, "{id} waits for the clock");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

#[test]
fn on_sqlite_jobs_are_done_at_once_whatever_the_clock_of_the_machine_does() {
    let data = Data::new();
    let Some(clock) = hands(data.folder()) else { return };
    let keys = crate::serve::add(&data, "app", &["client", "add", "app"]);
    let variables = clock.variables();
    let server = Server::start_with(&data, &["--workers", "1"], &borrowed(&variables));
    let app = App { url: server.url(), keys, clock: Some(&clock) };
    for (before, after) in [(HOUR, 0), (0, HOUR), (HOUR, -HOUR)] {
        clock.set(before);
        let ids = app.enqueue(4);
        clock.set(after);
        app.expect_verdicts(&ids, Duration::from_secs(30));
        let shown = app.response_time() - Clock::System.now_utc();
        assert!((shown.whole_seconds() - after).abs() < 30, "{shown} instead of {after} s");
    }
    assert_eq!(server.terminate(), Some(0));
}

/// The clock of the database alone: those of the processes stay right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_jobs_are_done_at_once_whatever_the_clock_of_the_database_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clock) = hands(folder.path()) else { return };
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let cluster = Cluster::under(clock.variables());
    let url = cluster.url(&cluster.new_database().await);
    tokio::task::block_in_place(|| {
        let mut site = Site::on(vec![url]);
        site.keys = site.add_client("app", &[]);
        for (before, after) in [(HOUR, 0), (0, HOUR), (HOUR, -HOUR)] {
            clock.set(before);
            let front = site.front_end();
            let app = App { url: front.url(), keys: site.keys.clone(), clock: None };
            let ids = app.enqueue(3);
            clock.set(after);
            let workers = site.workers();
            app.expect_verdicts(&ids, Duration::from_secs(30));
            assert_eq!(workers.terminate(), Some(0));
            assert_eq!(front.terminate(), Some(0));
        }
    });
}

//! Several processes on shared databases, with the real models.

mod away;
mod ending;
mod failover;
mod poolers;
mod proxy;
mod shards;
mod sharing;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    crash::server::{Data, Server},
    support::{Ran, Run as _, cluster, in_repository, visavis},
};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A folder with the master key, databases, and the file of a client.
pub struct Site {
    pub data: Data,
    pub urls: Vec<String>,
    pub keys: String,
}

impl Site {
    pub async fn new() -> Self {
        let url = cluster().url(&cluster().new_database().await);
        let mut site = Self::on(vec![url]);
        site.keys = site.add_client("app", &[]);
        site
    }

    /// On these databases, without a client.
    pub fn on(urls: Vec<String>) -> Self {
        Self { data: Data::new(), urls, keys: String::new() }
    }

    /// Registers a client and returns the file with its keys.
    pub fn add_client(&self, name: &str, arguments: &[&str]) -> String {
        let keys = self.data.folder().join(format!("{name}.json")).display().to_string();
        let ran = self.run(&[&["client", "add", name, "--out", &keys], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        keys
    }

    /// Runs the program on this site's folder and databases.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = crate::support::with_models();
        command.args(arguments).arg("--data").arg(self.data.folder());
        command.env("VISAVIS_DATABASE_URLS", self.urls.join(" "));
        command.ran()
    }

    /// Leases that another process may inherit soon, little patience, and wake-ups or nothing.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let urls = self.urls.join(" ");
        let variables = [
            ("VISAVIS_DATABASE_URLS", urls.as_str()),
            ("VISAVIS_QUEUE_LEASE_MS", "3000"),
            ("VISAVIS_QUEUE_JOB_DEADLINE_MS", "2000"),
            ("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "1500"),
            ("VISAVIS_WORKER_POLL_MS", "3600000"),
        ];
        variables.map(|(name, value)| (name, value.to_owned())).into()
    }

    /// A process with front end and workers, and further variables.
    pub fn node(&self, further: &[(&'static str, &str)]) -> Server {
        let mut variables = self.variables();
        variables.push(("VISAVIS_WORKER_POLL_MS", "500".to_owned()));
        variables.extend(further.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Server::start_with(&self.data, &[], &borrowed(&variables))
    }

    /// One whose log goes to a file.
    pub fn logging_node(&self, log: &Path) -> Server {
        let mut variables = self.variables();
        variables.push(("VISAVIS_WORKER_POLL_MS", "500".to_owned()));
        let log = std::fs::File::create(log).unwrap();
        Server::start_logging(&self.data, log, &borrowed(&variables))
    }

    pub fn front_end(&self) -> Server {
        Server::start_with(&self.data, &["--workers", "0"], &borrowed(&self.variables()))
    }

    /// One that does not poll: it is notified of a job or it is not.
    pub fn workers(&self) -> Server {
        Server::start_workers(&self.data, &borrowed(&self.variables()))
    }

    /// Workers for some of the databases.
    pub fn workers_for(&self, shards: &str) -> Server {
        let mut variables = self.variables();
        variables.push(("VISAVIS_DATABASE_SHARDS", shards.to_owned()));
        Server::start_workers(&self.data, &borrowed(&variables))
    }

    pub fn compare(&self, node: &Server, biz_id: &str) -> Value {
        let sample = |name: &str| in_repository(&format!("samples/{name}"));
        let (one, other) = (sample("obama-2012.jpg"), sample("obama-2009.jpg"));
        self.call(node, &["compare", &one, &other, "--biz-id", biz_id])
    }

    pub fn call(&self, node: &Server, arguments: &[&str]) -> Value {
        call(&self.keys, node, arguments)
    }

    pub fn enqueue(&self, node: &Server, number: usize) -> String {
        enqueue(&self.keys, node, number)
    }

    pub fn expect_verdict(&self, node: &Server, id: &str) {
        expect_verdict(&self.keys, node, id);
    }
}

pub fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A signed call with the keys of this file, and the response.
pub fn call(keys: &str, node: &Server, arguments: &[&str]) -> Value {
    let ran = visavis(
        &[&["call"], arguments, &["--json", "--client", keys, "--url", &node.url()]].concat(),
    );
    assert!(ran.code < 2, "{}", ran.err);
    ran.json()
}

/// `asynccompare` of two photos of one person; returns the transaction id.
pub fn enqueue(keys: &str, node: &Server, number: usize) -> String {
    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    let (one, other) = (sample("obama-2012.jpg"), sample("obama-2009.jpg"));
    let biz_id = format!("pair-{number}");
    let accepted = call(keys, node, &["asynccompare", &one, &other, "--biz-id", biz_id.as_str()]);
    assert_eq!(accepted["result"]["resultCode"], "PROCESSING", "{accepted}");
    accepted["transactionId"].as_str().unwrap().to_owned()
}

/// Polls until the verdict exists.
pub fn expect_verdict(keys: &str, node: &Server, id: &str) {
    let begun = Instant::now();
    loop {
        let reported = call(keys, node, &["asynccheckresult", id]);
        if reported["result"]["resultCode"] != "PROCESSING" {
            assert_eq!(reported["samePerson"], true, "{reported}");
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{id} is never finished");
        std::thread::sleep(Duration::from_millis(100));
    }
}

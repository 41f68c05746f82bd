//! The whole program as an operator runs it: a server with the real models, a client registered
//! beside it, requests from the command line, and an orderly end.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use crate::support::{Ran, in_repository, visavis, with_models};

/// A running server; killed if a test ends without stopping it.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(data: &str) -> Self {
        let mut process = with_models()
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data", data])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("Visavis listens on ").unwrap().to_owned();
        Self { process, url }
    }

    /// Asks it to end, as a service manager does, and waits for its exit code.
    fn stop(mut self) -> i32 {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.process.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_is_started_called_and_stopped_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let keys = folder.path().join("app.json").display().to_string();
    let server = Server::start(&data);
    let second = Ran::from(
        with_models().args(["serve", "--listen", "127.0.0.1:0", "--data", &data]).output().unwrap(),
    );
    assert_eq!(second.code, 2);
    assert!(second.err.contains("another process serves"), "{}", second.err);

    let added = visavis(&["client", "add", "app", "--data", &data, "--out", &keys]);
    assert_eq!(added.code, 0, "{}", added.err);
    let call = |arguments: &[&str]| -> Ran {
        visavis(&[arguments, &["--client", &keys, "--url", &server.url]].concat())
    };
    let tested = call(&["call", "test"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    assert!(tested.out.contains("the answer's signature is valid"), "{}", tested.out);

    let sample = |name: &str| in_repository(&format!("samples/{name}"));
    let (one, other) = (sample("obama-2012.jpg"), sample("obama-2009.jpg"));
    let compared = call(&["call", "compare", &one, &other, "--json"]).json();
    assert_eq!(compared["samePerson"], true, "{compared}");
    let id = compared["transactionId"].as_str().unwrap();
    let checked = call(&["call", "asynccheckresult", id, "--json"]).json();
    assert_eq!(checked["score"], compared["score"]);
    let collins = sample("collins.jpg");
    let waited = call(&["call", "asynccompare", &one, &collins, "--wait", "--json"]).json();
    assert_eq!(waited["result"]["resultCode"], "SUCCESS", "{waited}");
    assert_eq!(waited["samePerson"], false, "{waited}");

    assert_eq!(visavis(&["client", "disable", "app", "--data", &data]).code, 0);
    let refused = call(&["call", "test", "--json"]);
    assert_eq!(
        (refused.code, &refused.json()["result"]["resultCode"]),
        (1, &"ACCESS_DENIED".into())
    );

    assert_eq!(server.stop(), 0);
}

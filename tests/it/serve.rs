//! The whole program as an operator runs it: a server with the real models, a client registered
//! beside it, requests from the command line, and an orderly end.

use crate::{
    crash::server::{Data, Server},
    support::{Ran, in_repository, visavis},
};

#[test]
fn a_server_is_started_called_and_stopped_from_the_command_line() {
    let folder = Data::new();
    let data = folder.folder().display().to_string();
    let keys = folder.folder().join("app.json").display().to_string();
    let server = Server::start(&folder);
    let url = server.url();
    let (code, complaint) = folder.serve_and_fail();
    assert_eq!(code, Some(2));
    assert!(complaint.contains("another process serves"), "{complaint}");

    let added = visavis(&["client", "add", "app", "--data", &data, "--out", &keys]);
    assert_eq!(added.code, 0, "{}", added.err);
    let call = |arguments: &[&str]| -> Ran {
        visavis(&[arguments, &["--client", &keys, "--url", &url]].concat())
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

    assert_eq!(server.terminate(), Some(0));
}

//! As a process serves it, with the real nets.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    crash::server::{Data, Server},
    nodes::Site,
    serve::{free_address, get},
    support::{models::sample, visavis},
};

/// One request to a server that runs; status and body.
fn exchange(address: &str, method: &str, path: &str, cookie: &str, body: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nX-Visavis-Console: 1\r\n\
         Cookie: {cookie}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn photos_are_compared_through_the_real_nets_by_whoever_has_the_token_of_the_command_line() {
    let data = Data::new();
    let admin = free_address().to_string();
    let server = Server::start_with(&data, &[], &[("VISAVIS_ADMIN_LISTEN", &admin)]);
    let folder = data.folder().display().to_string();
    let kept = std::fs::read_to_string(data.folder().join("console.token")).unwrap();
    let made = visavis(&["console", "token", "--data", &folder]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert_ne!(kept, std::fs::read_to_string(data.folder().join("console.token")).unwrap());
    let cookie = log_in(&admin, &made.out);

    let content = |name| STANDARD.encode(sample(name));
    let body = json!({ "face1": content("obama-2012"), "face2": content("obama-2009") });
    let compare = |body: &Value| -> Value {
        let (head, answer) =
            exchange(&admin, "POST", "/console/api/compare", &cookie, &body.to_string());
        assert!(head.starts_with("HTTP/1.1 200"), "{head}{answer}");
        serde_json::from_str(&answer).unwrap()
    };
    let same = compare(&body);
    assert_eq!(same["outcome"]["samePerson"], true, "{same}");
    assert_eq!(same["signatureValid"], true, "{same}");
    let face = &same["outcome"]["face1"];
    assert_eq!((&face["width"], &face["height"]), (&json!(512), &json!(640)), "{face}");
    let body = json!({ "face1": content("collins"), "face2": content("hopper") });
    assert_eq!(compare(&body)["outcome"]["samePerson"], false);
    let look = json!({ "content": content("hopper"), "document": true }).to_string();
    let (_, looked) = exchange(&admin, "POST", "/console/api/look", &cookie, &look);
    assert!(looked.contains(r#""quality":"PASS""#), "{looked}");
    assert!(get(admin.parse().unwrap(), "/health/ready").ends_with("ready\n"));
    assert_eq!(server.terminate(), Some(0));
}

/// Logs in with the token of a folder's console; the cookie.
fn log_in(admin: &str, token: &str) -> String {
    let token = json!({ "token": token.trim() }).to_string();
    let (head, _) = exchange(admin, "POST", "/console/api/login", "", &token);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_front_end_without_workers_shows_what_others_found_and_workers_alone_compare_nothing() {
    let site = Site::new().await;
    let [front, back] = [free_address().to_string(), free_address().to_string()];
    let patience = ("VISAVIS_HTTP_PATIENCE_MS", "30000");
    let shared = site.variables();
    let variables = |admin| {
        let shared = shared.iter().map(|(name, value)| (*name, value.as_str()));
        shared.chain([("VISAVIS_ADMIN_LISTEN", admin), patience]).collect::<Vec<_>>()
    };
    let front_end = Server::start_with(&site.data, &["--workers", "0"], &variables(&front));
    let workers = Server::start_workers(&site.data, &variables(&back));
    let token = site.run(&["console", "token"]).out;
    let body = json!({ "face1": STANDARD.encode(sample("obama-2012")), "face2": STANDARD.encode(sample("obama-2009")) });
    let body = body.to_string();

    let cookie = log_in(&front, &token);
    let (_, about) = exchange(&front, "GET", "/console/api/about", &cookie, "");
    assert!(about.contains(r#""frontEnd":true,"workers":false"#), "{about}");
    let (_, compared) = exchange(&front, "POST", "/console/api/compare", &cookie, &body);
    let compared: Value = serde_json::from_str(&compared).unwrap();
    assert_eq!(compared["outcome"]["samePerson"], true, "{compared}");
    assert_eq!(compared["outcome"]["face2"]["width"], 334, "{compared}");
    let id = compared["transactionId"].as_str().unwrap();

    let cookie = log_in(&back, &token);
    let (_, about) = exchange(&back, "GET", "/console/api/about", &cookie, "");
    assert!(about.contains(r#""frontEnd":false,"workers":true"#), "{about}");
    let (_, refused) = exchange(&back, "POST", "/console/api/compare", &cookie, &body);
    assert!(refused.contains("noFrontEnd"), "{refused}");
    let path = format!("/console/api/transactions/{id}");
    let (_, found) = exchange(&back, "GET", &path, &cookie, "");
    assert!(found.contains(r#""state":"done""#) && found.contains(r#""attempts":1"#), "{found}");
    assert_eq!((front_end.terminate(), workers.terminate()), (Some(0), Some(0)));
}

#[test]
fn the_console_can_be_left_out() {
    let data = Data::new();
    let admin = free_address();
    let listen = admin.to_string();
    let variables = [("VISAVIS_ADMIN_LISTEN", &*listen), ("VISAVIS_ADMIN_CONSOLE", "false")];
    let server = Server::start_with(&data, &[], &variables);
    assert!(get(admin, "/console/").starts_with("HTTP/1.1 404"));
    assert!(get(admin, "/metrics").starts_with("HTTP/1.1 200"));
    assert!(!data.folder().join("console.token").exists(), "nor is a token made");
    assert_eq!(server.terminate(), Some(0));
    let nowhere = visavis(&["console", "token", "--data", "/nowhere"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.err.contains("--data"), "{}", nowhere.err);
}

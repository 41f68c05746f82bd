//! As a process serves it, with the real nets.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    crash::server::{Data, Server},
    nodes::Site,
    serve::{free_address, get},
    support::{models::sample, visavis, with_models},
};

/// One request to a server that runs; status and body.
fn exchange(address: &str, method: &str, path: &str, cookie: &str, body: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: \
         http://{address}\r\nX-Visavis-Console: 1\r\n\
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
    let made = visavis(&["console", "token", "--data", &folder]);
    assert_eq!(made.code, 0, "{}", made.err);
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
    let patience = ("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "30000");
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

/// What `serve` writes to standard output and to the log until it has mentioned the console.
fn said_while_serving(mut command: Command, out: &Path) -> (String, String) {
    let log = out.with_extension("log");
    let file = |path| fs::File::create(path).unwrap();
    command.stdin(Stdio::null()).stdout(file(out)).stderr(file(&log));
    let mut child = command.spawn().unwrap();
    let read = || (fs::read_to_string(out).unwrap(), fs::read_to_string(&log).unwrap());
    let begun = Instant::now();
    let said = loop {
        let said = read();
        if format!("{}{}", said.0, said.1).contains("visavis console token") {
            break Some(said);
        }
        if child.try_wait().unwrap().is_some() || begun.elapsed() > Duration::from_mins(1) {
            break None;
        }
        sleep(Duration::from_millis(20));
    };
    // `script` hands it on to what runs in it.
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    child.wait().unwrap();
    said.unwrap_or_else(|| panic!("it says nothing of the console: {:?}", read()))
}

/// Whether there is a token in a text: the one line of 43 letters, by itself.
fn has_token(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("  ") && line.trim().len() == 43)
}

#[test]
fn a_token_is_printed_on_a_terminal_alone_and_is_in_no_journal() {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data", "data"];
    let prepared = |mut command: Command, folder: &Path| {
        command.current_dir(folder).env("VISAVIS_ADMIN_LISTEN", free_address().to_string());
        command
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command = prepared(with_models(), folder.path());
    command.args(serve);
    let (out, log) = said_while_serving(command, &folder.path().join("out"));
    assert!(out.starts_with("Visavis listens") && !has_token(&out), "{out}");
    assert!(log.contains("run `visavis console token`") && !has_token(&log), "{log}");
    assert!(!folder.path().join("data/console.token").exists(), "nor is one made");

    let folder = tempfile::tempdir().unwrap();
    let with = with_models();
    let mut command = Command::new("script");
    let line = format!("exec {} {}", with.get_program().display(), serve.join(" "));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    for (name, value) in with.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let command = prepared(command, folder.path());
    let (out, _) = said_while_serving(command, &folder.path().join("out"));
    assert!(has_token(&out), "{out}");
    assert!(folder.path().join("data/console.token").exists());
}

#[test]
fn no_app_gets_the_name_of_the_consoles_own_client() {
    let data = Data::new();
    let folder = data.folder().display().to_string();
    let refused = visavis(&["client", "add", "console", "--data", &folder]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{}", refused.err);
    assert!(refused.err.contains("another name"), "{}", refused.err);
    let listed = visavis(&["client", "list", "--json", "--data", &folder]).json();
    assert_eq!(listed, json!([]));
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

//! `visavis serve` as a process of its own, and an app that calls it over a socket.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use visavis::clock::Clock;
use visavis_signing::{Content, ServerKey, format_time, signature_header};

use crate::support::{Run as _, in_repository, with_models};

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(1);

/// A data folder for one test.
pub struct Data(TempDir);

impl Data {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn database(&self) -> PathBuf {
        self.folder().join("visavis.db")
    }

    /// What is on the disk at this instant, to be looked at without touching it.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(self.folder()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.folder().join(path.file_name().unwrap())).unwrap();
        }
        copy
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = with_models();
        command.args(arguments).arg("--data").arg(self.folder()).current_dir(self.folder());
        // Anyone who waits for the end of a lease waits too long for these tests.
        command.env("VISAVIS_QUEUE_LEASE_MS", "3600000");
        command.env("VISAVIS_ADMIN_LISTEN", "");
        command
    }

    fn serve(&self) -> Command {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Workers without a front end.
    fn work(&self) -> Command {
        let mut command = self.command(&["work", "--workers", "1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a server that is to give up by itself: exit code and complaint.
    pub fn serve_and_fail(&self) -> (Option<i32>, String) {
        self.serve_and_fail_with(&[])
    }

    /// The same with further variables.
    pub fn serve_and_fail_with(&self, variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut child = Killed(self.serve().envs(variables.iter().copied()).spawn().unwrap());
        let code = child.wait();
        let mut complaint = String::new();
        child.0.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        (code, complaint)
    }
}

/// Does not outlive the test.
struct Killed(Child);

impl Killed {
    /// The exit code; `None` when a signal ended it.
    fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that responds.
pub struct Server {
    child: Killed,
    scheme: String,
    address: String,
}

impl Server {
    pub fn start(data: &Data) -> Self {
        Self::start_with(data, &[], &[])
    }

    /// Starts with further arguments and variables.
    pub fn start_with(data: &Data, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = data.serve();
        let workers: &[&str] =
            if arguments.contains(&"--workers") { &[] } else { &["--workers", "2"] };
        command.args(workers).args(arguments);
        Self::spawn(command, variables)
    }

    /// Starts on the address that the variables set.
    pub fn start_on(data: &Data, listen: &str) -> Self {
        let mut command = data.command(&["serve", "--listen", listen, "--workers", "1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawn(command, &[])
    }

    /// Starts workers alone.
    pub fn start_workers(data: &Data, variables: &[(&str, &str)]) -> Self {
        Self::spawn(data.work(), variables)
    }

    /// Starts with its log going there.
    pub fn start_logging(data: &Data, log: impl Into<Stdio>, variables: &[(&str, &str)]) -> Self {
        let mut command = data.serve();
        command.args(["--workers", "1"]);
        Self::spawn_logging(command, log.into(), variables)
    }

    /// Starts one that may have so many files open.
    pub fn start_limited(data: &Data, files: u32, log: impl Into<Stdio>) -> Self {
        let (serve, mut command) = (data.serve(), Command::new("prlimit"));
        command.arg(format!("--nofile={files}:{files}")).arg(serve.get_program());
        command.args(serve.get_args()).args(["--workers", "1"]).current_dir(data.folder());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawn_logging(command, log.into(), &[])
    }

    fn spawn(command: Command, variables: &[(&str, &str)]) -> Self {
        Self::spawn_logging(command, Stdio::null(), variables)
    }

    fn spawn_logging(mut command: Command, log: Stdio, variables: &[(&str, &str)]) -> Self {
        command.envs(variables.iter().copied()).stderr(log);
        let mut child = Killed(command.spawn().unwrap());
        let output = child.0.stdout.take().unwrap();
        let (reported, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = reported.send(line);
        });
        let line = line.recv_timeout(PATIENCE).expect("the server says where it listens");
        let url = line.trim().strip_prefix("Visavis ").expect("it starts");
        let url = url.strip_prefix("listens on ").unwrap_or("nowhere://");
        let (scheme, address) = url.split_once("://").unwrap();
        Self { child, scheme: scheme.to_owned(), address: address.to_owned() }
    }

    /// The response to a request that no one has signed.
    pub fn get(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        std::io::read_to_string(stream).unwrap()
    }

    /// Its address, as a socket takes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Its address, as the command line takes it.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Whether it says that it is ready; `None` when it does not respond.
    pub fn ready(&self) -> Option<bool> {
        let mut socket = TcpStream::connect(&self.address).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /health/ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer.starts_with("HTTP/1.1 200"))
    }

    /// Waits until it ends by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait()
    }

    /// Whether it ends by itself within this time.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if self.child.0.try_wait().unwrap().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGKILL: the process runs no further.
    pub fn kill(mut self) {
        self.child.0.kill().unwrap();
        assert_eq!(self.child.wait(), None, "killed, not exited");
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait()
    }
}

/// A registered app.
pub struct App {
    client_id: String,
    key: ServerKey,
}

impl App {
    pub fn register(data: &Data) -> Self {
        let keys = data.command(&["client", "add", "app", "--out", "-"]).ran().json();
        let text = |name: &str| keys[name].as_str().unwrap();
        Self {
            client_id: text("clientId").to_owned(),
            key: ServerKey::from_text(text("merchantPrivateKey")).unwrap(),
        }
    }

    /// `asynccompare` of two of the sample photos; returns the acknowledged transaction id.
    pub fn enqueue(&self, server: &Server, pair: usize) -> String {
        const PHOTOS: [&str; 4] = ["obama-2009", "obama-2012", "collins", "hopper"];
        let photo = |n: usize| {
            let path = in_repository(&format!("samples/{}.jpg", PHOTOS[n % PHOTOS.len()]));
            json!({ "content": STANDARD.encode(fs::read(path).unwrap()) })
        };
        let biz_id = uuid::Uuid::new_v4().to_string();
        let body = json!({ "bizId": biz_id, "face1": photo(pair), "face2": photo(pair + 1) });
        let answer = self.call(server, "asynccompare", &body);
        assert_eq!(answer["result"]["resultCode"], "PROCESSING", "{answer}");
        answer["transactionId"].as_str().unwrap().to_owned()
    }

    /// `compare` of two files.
    pub fn compare(&self, server: &Server, probe: &[u8], reference: &[u8]) -> Value {
        let [face1, face2] =
            [probe, reference].map(|file| json!({ "content": STANDARD.encode(file) }));
        let biz_id = uuid::Uuid::new_v4().to_string();
        self.call(server, "compare", &json!({ "bizId": biz_id, "face1": face1, "face2": face2 }))
    }

    /// Asks until the transaction is finished, and that with a verdict.
    pub fn expect_verdict(&self, server: &Server, transaction_id: &str) {
        let begun = Instant::now();
        loop {
            let body = json!({ "transactionId": transaction_id });
            let answer = self.call(server, "asynccheckresult", &body);
            if answer["result"]["resultCode"] == "SUCCESS" {
                assert!(answer["samePerson"].is_boolean(), "{answer}");
                return;
            }
            assert_eq!(answer["result"]["resultCode"], "PROCESSING", "{answer}");
            assert!(begun.elapsed() < PATIENCE, "{transaction_id} is not finished");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The response about a transaction.
    pub fn result_code(&self, server: &Server, transaction_id: &str) -> String {
        let body = json!({ "transactionId": transaction_id });
        let answer = self.call(server, "asynccheckresult", &body);
        answer["result"]["resultCode"].as_str().unwrap().to_owned()
    }

    /// Asks until the transaction has come to any end.
    pub fn expect_end(&self, server: &Server, transaction_id: &str) {
        let begun = Instant::now();
        while self.result_code(server, transaction_id) == "PROCESSING" {
            assert!(begun.elapsed() < PATIENCE, "{transaction_id} is not finished");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// One signed request on a connection of its own.
    pub fn call(&self, server: &Server, endpoint: &'static str, body: &Value) -> Value {
        let raw = Raw { endpoint, body: body.to_string().into_bytes(), ..Raw::default() };
        let answer = self.send_raw(server, &raw);
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        serde_json::from_str(body).expect("an answer in JSON")
    }

    /// The same with any bytes, and the whole response.
    pub fn send_raw(&self, server: &Server, raw: &Raw) -> String {
        let uri = format!("/api/v1/zoloz/facecompare/{}", raw.endpoint);
        let time = format_time(Clock::System.now_utc());
        let content =
            Content { uri: &uri, client_id: &self.client_id, time: &time, body: &raw.body };
        let mut signature = signature_header(&self.key.sign(&content).unwrap());
        if raw.spoiled_signature {
            let (name, value) = signature.split_once("signature=").unwrap();
            signature = format!("{name}signature={}", value.replace(['Q', 'q', 'X', 'x'], "z"));
        }
        let more = raw.header.as_ref().map(|line| format!("{line}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {uri} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nClient-Id: \
             {}\r\nRequest-Time: {time}\r\n\
             Content-Type: application/json; charset=UTF-8\r\nSignature: \
             {signature}\r\n{more}Content-Length: {}\r\n\r\n",
            server.address,
            self.client_id,
            raw.body.len()
        );
        let mut socket = TcpStream::connect(&server.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&raw.body).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// A request as it goes over the wire.
#[derive(Default)]
pub struct Raw {
    pub endpoint: &'static str,
    pub body: Vec<u8>,
    /// A further line of the head.
    pub header: Option<String>,
    /// Signed by no one.
    pub spoiled_signature: bool,
}

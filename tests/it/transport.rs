//! TLS, both versions of HTTP, compression, and the limits on connections, on a real socket.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::HeaderMap,
};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use visavis::http::TlsFiles;

use crate::support::{
    Answer, CLIENT, IDLE_DEADLINE, Listening, Picture, Reply, SECRET, TestApp, mac, pair,
    server_key,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const BODY: &str = r#"{"title":"hello"}"#;
const RELOAD: Duration = Duration::from_millis(50);

/// Made for this test, for localhost.
pub fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Replaces both files, as a renewal does.
pub fn install(folder: &Path, made: &CertifiedKey<KeyPair>) -> TlsFiles {
    let files = TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        reload: RELOAD,
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

/// A client that trusts one certificate and offers these protocols.
pub fn client(made: &CertifiedKey<KeyPair>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// The certificate that the server shows now.
fn shown(server: &Listening, config: &Arc<ClientConfig>) -> Option<CertificateDer<'static>> {
    let socket = TcpStream::connect(server.address()).unwrap();
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::clone(config), name()).unwrap(), socket);
    stream.flush().ok()?;
    Some(stream.conn.peer_certificates()?.first()?.clone().into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_http_1_has_title_case_names() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let server = Listening::with(TestApp::new().await, |config| config.tls = Some(files));
    let config = client(&made, &[b"http/1.1"]);
    let request = server.head(TEST, BODY, &["Connection: close", "Content-Length: 17"]) + BODY;
    let answer = tokio::task::block_in_place(|| {
        let socket = TcpStream::connect(server.address()).unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), socket);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        String::from_utf8(answer).unwrap()
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let reply = Reply { head: head.to_owned(), body: body.to_owned() };
    assert!(reply.header("Signature").is_some() && reply.header("Response-Time").is_some());
    assert_eq!(reply.code(), "SUCCESS");
}

/// A connection that speaks HTTP/2.
pub async fn http2(
    server: &Listening,
    config: Arc<ClientConfig>,
) -> hyper::client::conn::http2::SendRequest<Body> {
    let socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let stream = tokio_rustls::TlsConnector::from(config).connect(name(), socket).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is preferred");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends over HTTP/2 and verifies.
async fn send_http2(
    sender: &mut hyper::client::conn::http2::SendRequest<Body>,
    mut request: axum::http::Request<Body>,
) -> Answer {
    let path = request.uri().path().to_owned();
    *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(Body::new(body), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap();
    let answer = Answer { headers: parts.headers, text, json };
    answer.verify(&path, CLIENT, server_key());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_carries_many_comparisons_at_once() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let app = TestApp::with(|config| config.gate.dedupe = false).await;
    let server = Listening::with(app, |config| config.tls = Some(files));
    let sender = http2(&server, client(&made, &[b"h2", b"http/1.1"])).await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (mut sender, request) = (sender.clone(), server.app.signed(COMPARE, &body));
            tokio::spawn(async move { send_http2(&mut sender, request).await })
        })
        .collect();
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!((answer.code(), &answer.json["samePerson"]), ("SUCCESS", &true.into()));
    }
}

/// A body that never comes.
struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A request that no one has signed, whose body never comes.
fn endless(server: &Listening, client_id: &str) -> axum::http::Request<Body> {
    axum::http::Request::post(format!("https://localhost{COMPARE}"))
        .header("Client-Id", client_id)
        .header("Request-Time", server.app.now())
        .header("Signature", format!("algorithm=RSA256, signature={}", "AAAA".repeat(86)))
        .body(Body::new(Endless))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_without_proof_keep_nobody_out_and_their_connection_is_closed() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let app = TestApp::with(|config| {
        config.gate.signature_failures = 3;
        config.gate.body_least_rate = 4_096;
        config.gate.body_deadline = Duration::from_mins(1);
    })
    .await;
    let server = Listening::with(app, |config| config.tls = Some(files));
    let mut crowd = http2(&server, client(&made, &[b"h2"])).await;
    let open: Vec<_> = (0..12).map(|_| crowd.send_request(endless(&server, CLIENT))).collect();
    let mut honest = http2(&server, client(&made, &[b"h2"])).await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let answer = send_http2(&mut honest, server.app.signed(COMPARE, &body)).await;
    assert_eq!(answer.code(), "SUCCESS");
    for response in open {
        response.await.unwrap();
    }
    let held_back = crowd.send_request(endless(&server, "nobody")).await.unwrap();
    let bytes = axum::body::to_bytes(Body::new(held_back.into_body()), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains("REQUEST_TRAFFIC_EXCEED_LIMIT"), "{text}");
    let begun = Instant::now();
    while !crowd.is_closed() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it was the last one");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_without_a_restart_and_half_a_renewal_is_not() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), certificate(), certificate());
    let files = install(folder.path(), &old);
    let server = Listening::with(TestApp::new().await, |config| config.tls = Some(files.clone()));
    let (trusts_old, trusts_new) = (client(&old, &[]), client(&new, &[]));
    let see = |config: &Arc<ClientConfig>| tokio::task::block_in_place(|| shown(&server, config));
    assert_eq!(see(&trusts_old).as_ref(), Some(old.cert.der()));

    std::fs::write(&files.certificate, new.cert.pem()).unwrap();
    tokio::time::sleep(RELOAD * 4).await;
    assert_eq!(see(&trusts_old).as_ref(), Some(old.cert.der()), "certificate without its key");

    install(folder.path(), &new);
    let begun = Instant::now();
    while see(&trusts_new).as_ref() != Some(new.cert.der()) {
        assert!(begun.elapsed() < Duration::from_secs(5), "the new certificate is never shown");
        tokio::time::sleep(RELOAD).await;
    }
}

#[tokio::test]
async fn files_that_are_no_certificate_are_refused_by_name() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let error = |files: &TlsFiles| files.load().unwrap_err().to_string();
    std::fs::write(&files.certificate, "hello").unwrap();
    assert!(error(&files).contains("cert.pem"), "{}", error(&files));
    std::fs::write(&files.certificate, certificate().cert.pem()).unwrap();
    assert!(error(&files).contains("does not belong to certificate"), "{}", error(&files));
    std::fs::remove_file(&files.key).unwrap();
    assert!(error(&files).contains("key.pem"), "{}", error(&files));
}

/// A body that came in chunks, put together.
fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = std::str::from_utf8(&body[..line]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[line + 2..line + 2 + length]);
        body = &body[line + 2 + length + 2..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_compressed_if_that_is_asked_for_and_worth_it() {
    let server = Listening::start(TestApp::new().await);
    let long = serde_json::json!({ "title": "hello ".repeat(1_000) }).to_string();
    let ask = |body: &str, extra: &[&str]| {
        let length = format!("Content-Length: {}", body.len());
        let lines: Vec<&str> =
            [length.as_str(), "Connection: close"].iter().chain(extra).copied().collect();
        let mut connection = server.connect();
        connection.send(server.head(TEST, body, &lines) + body);
        let answer = connection.read_to_end();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (Reply { head, body: String::new() }, answer[end + 4..].to_vec())
    };
    let (plain, body) = ask(&long, &[]);
    assert_eq!(plain.header("Content-Encoding"), None);
    assert!(body.len() > 12_000);
    for not_asked in ["identity", "br, deflate", "gzip;q=0, *;q=0"] {
        let (plain, _) = ask(&long, &[&format!("Accept-Encoding: {not_asked}")]);
        assert_eq!(plain.header("Content-Encoding"), None, "{not_asked}");
    }
    let (short, _) = ask(BODY, &["Accept-Encoding: gzip"]);
    assert_eq!(short.header("Content-Encoding"), None, "one packet in any case");
    let (packed, body) = ask(&long, &["Accept-Encoding: gzip, deflate"]);
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert!(body.len() < 1_500, "{}", body.len());

    // What was signed is what comes out.
    let mut text = String::new();
    let body = without_chunks(&body);
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    let mut headers = HeaderMap::new();
    for (name, shown) in [("signature", "Signature"), ("response-time", "Response-Time")] {
        headers.insert(name, packed.header(shown).unwrap().parse().unwrap());
    }
    let json = serde_json::from_str(&text).unwrap();
    Answer { headers, text, json }.verify(TEST, CLIENT, server_key());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_beyond_the_cap_takes_the_place_of_an_idle_one_and_of_no_busy_one() {
    let app = TestApp::new().await;
    let server = Listening::with(app, |config| config.max_connections = 2);
    let request = server.request(TEST, BODY);
    let mut idle: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for connection in &mut idle {
        connection.send(&request);
        assert_eq!(connection.read_reply().code(), "SUCCESS");
    }
    let mut third = server.connect();
    third.send(&request);
    assert_eq!(third.read_reply().code(), "SUCCESS");
    assert_eq!(idle[0].read_to_end(), b"", "it was idle for longest");
    let slow = pair(Picture::Slow(3_000), Picture::Person(1)).to_string();
    let slow = server.request(COMPARE, &slow);
    let busy = [&mut idle[1], &mut third];
    for connection in busy {
        connection.send(&slow);
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut fourth = server.connect();
    fourth.send(&request);
    assert_eq!(fourth.read_to_end(), b"", "closed unread when none ends in time");
    for connection in [&mut idle[1], &mut third] {
        assert_eq!(connection.read_reply().code(), "SUCCESS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_be_idle_longer_than_a_first_head_may_take_and_not_for_ever() {
    let app = TestApp::new().await;
    let server = Listening::with(app, |config| {
        config.head_deadline = Duration::from_millis(300);
        config.idle_deadline = Duration::from_millis(1_200);
    });
    let mut connection = server.connect();
    for _ in 0..2 {
        connection.send(server.request(TEST, BODY));
        assert_eq!(connection.read_reply().code(), "SUCCESS");
        std::thread::sleep(Duration::from_millis(700));
    }
    let begun = Instant::now();
    assert_eq!(connection.read_to_end(), b"");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_connection_ends_without_requests_and_not_while_an_answer_is_owed() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let server = Listening::with(TestApp::new().await, |config| {
        config.tls = Some(files);
        config.idle_deadline = Duration::from_millis(1_500);
    });
    let mut sender = http2(&server, client(&made, &[b"h2"])).await;
    let slow = pair(Picture::Slow(2_500), Picture::Person(1)).to_string();
    let answer = send_http2(&mut sender, server.app.signed(COMPARE, &slow)).await;
    assert_eq!(answer.code(), "SUCCESS", "longer than the connection may be idle");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(send_http2(&mut sender, server.app.signed(TEST, BODY)).await.code(), "SUCCESS");
    let begun = Instant::now();
    while !sender.is_closed() {
        assert!(begun.elapsed() < Duration::from_secs(10), "answering pings keeps it open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let server = Listening::start(TestApp::new().await);
    let body = serde_json::json!({ "title": "x".repeat(60_000) }).to_string();
    let request = server.request(TEST, &body);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut asked = 0;
    // Until everything between the two is full.
    while stream.write_all(request.as_bytes()).is_ok() {
        asked += 1;
        assert!(asked < 2_000, "the server answers without being read");
    }
    std::thread::sleep(IDLE_DEADLINE + Duration::from_secs(3));
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answers = Vec::new();
    let ended = stream.read_to_end(&mut answers);
    assert!(!ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "not cut off");
    // Each response holds the text twice.
    assert!(answers.len() < asked * 2 * body.len(), "{asked} asked, {} bytes", answers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_never_begun_is_cut_off() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let server = Listening::with(TestApp::new().await, |config| config.tls = Some(files));
    let begun = Instant::now();
    assert_eq!(server.connect().read_to_end(), b"");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_header_lines_are_not_read() {
    let server = Listening::start(TestApp::new().await);
    let lines: Vec<String> = (0..120).map(|i| format!("X-{i}: y")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut connection = server.connect();
    connection.send(server.head(TEST, BODY, &lines));
    let answer = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_long_is_not_read() {
    let server = Listening::start(TestApp::new().await);
    let answer = |length: usize| {
        let mut connection = server.connect();
        let long = format!("X: {}", "y".repeat(length));
        connection.send(server.head(TEST, BODY, &[&long, "Content-Length: 17"]) + BODY);
        connection.read_head()
    };
    assert!(answer(60_000).starts_with("HTTP/1.1 200"));
    assert!(answer(200_000).starts_with("HTTP/1.1 431"));
}

/// What the server allows its peer, by the number of the setting.
fn settings(server: &Listening, config: Arc<ClientConfig>) -> Vec<(u16, u32)> {
    const EMPTY: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let socket = TcpStream::connect(server.address()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), socket);
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &EMPTY[..]].concat()).unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "settings come first");
    let mut payload = vec![0; usize::from(head[2])];
    stream.read_exact(&mut payload).unwrap();
    let setting = |six: &[u8]| {
        let value = u32::from_be_bytes(six[2..].try_into().unwrap());
        (u16::from_be_bytes([six[0], six[1]]), value)
    };
    payload.chunks(6).map(setting).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_and_headers_are_capped_on_http_2() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let server = Listening::with(TestApp::new().await, |config| {
        config.tls = Some(files);
        config.max_streams = 7;
    });
    let config = client(&made, &[b"h2"]);
    let reported = tokio::task::block_in_place(|| settings(&server, Arc::clone(&config)));
    assert!(reported.contains(&(3, 7)), "SETTINGS_MAX_CONCURRENT_STREAMS: {reported:?}");
    assert!(reported.contains(&(6, 16 << 10)), "SETTINGS_MAX_HEADER_LIST_SIZE: {reported:?}");
    let mut sender = http2(&server, config).await;
    let mut request = server.app.signed(TEST, BODY);
    *request.uri_mut() = format!("https://localhost{TEST}").parse().unwrap();
    for i in 0..6 {
        let name: axum::http::HeaderName = format!("x-{i}").parse().unwrap();
        request.headers_mut().insert(name, "y".repeat(3_000).parse().unwrap());
    }
    let refused = sender.send_request(request).await.unwrap();
    assert_eq!(refused.status(), 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_for_load_tests_changes_nothing() {
    let server = Listening::start(TestApp::new().await);
    let mut connection = server.connect();
    let length = format!("Content-Length: {}", BODY.len());
    connection.send(server.head(TEST, BODY, &[&length, "loadTestMode: true"]) + BODY);
    assert_eq!(connection.read_reply().code(), "SUCCESS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_lower_case_names_and_chunks_signs_with_its_secret() {
    let server = Listening::start(TestApp::new().await);
    let time = server.app.now();
    let signature = mac(&SECRET, &format!("POST {TEST}\n{CLIENT}.{time}.{BODY}"));
    let mut connection = server.connect();
    connection.send(format!(
        "POST {TEST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
         application/json;charset=UTF-8\r\n\
         client-id: {CLIENT}\r\nrequest-time: {time}\r\nauth-type: AKSK\r\naccess-key: \
         AK{CLIENT}\r\n\
         x-request-id: 1\r\nsignature: {signature}\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{BODY}\r\n0\r\n\r\n",
        BODY.len()
    ));
    let reply = connection.read_reply();
    assert_eq!(reply.code(), "SUCCESS", "{}", reply.body);
    let content =
        format!("POST {TEST}\n{CLIENT}.{}.{}", reply.header("Response-Time").unwrap(), reply.body);
    assert_eq!(reply.header("Signature"), Some(mac(&SECRET, &content).as_str()));
}

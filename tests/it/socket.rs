//! What is on the wire, byte for byte, and what a slow or strange client gets.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Answer, CLIENT, Connection, Listening, Picture, Reply, TestApp, pair, server_key,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const BODY: &str = r#"{"title":"hello"}"#;

async fn listening() -> Listening {
    Listening::start(TestApp::new().await)
}

fn exchange(connection: &mut Connection, request: &str) -> Reply {
    connection.send(request);
    connection.read_reply()
}

/// Verifies a reply with an implementation that shares nothing with the server.
fn verify(reply: &Reply, path: &str) {
    let mut headers = axum::http::HeaderMap::new();
    for name in ["Signature", "Response-Time"] {
        let value = reply.header(name).unwrap().parse().unwrap();
        headers.insert(axum::http::HeaderName::try_from(name).unwrap(), value);
    }
    let answer = Answer { headers, text: reply.body.clone(), json: json!(null) };
    answer.verify(path, CLIENT, server_key());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_names_are_title_case_and_the_json_is_the_last_byte() {
    let server = listening().await;
    let mut connection = server.connect();
    let reply = exchange(&mut connection, &server.request(TEST, BODY));
    let mut names: Vec<&str> =
        reply.head.lines().skip(1).filter_map(|l| l.split(':').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Content-Length", "Content-Type", "Date", "Response-Time", "Signature"]);
    assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", reply.head);
    assert_eq!(reply.header("Content-Type"), Some("application/json; charset=UTF-8"));
    assert_eq!(reply.header("Response-Time"), Some("2026-01-01T00:00:00+0000"));
    assert!(reply.body.ends_with('}') && !reply.body.contains('\n'), "{:?}", reply.body);
    verify(&reply, TEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_before_it_sends_a_body_is_told_to_go_on() {
    let server = listening().await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let length = format!("Content-Length: {}", body.len());
    let mut connection = server.connect();
    connection.send(server.head(COMPARE, &body, &[&length, "Expect: 100-continue"]));
    assert!(connection.read_head().starts_with("HTTP/1.1 100 Continue"));
    let reply = exchange(&mut connection, &body);
    assert_eq!(reply.code(), "SUCCESS", "{}", reply.body);
    verify(&reply, COMPARE);
}

/// Some clients take the first response that they see for the final one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_have_no_interim_response_sent() {
    let app = TestApp::new().await;
    let server = Listening::with(app, |config| config.send_continue = false);
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let length = format!("Content-Length: {}", body.len());
    let mut connection = server.connect();
    for _ in 0..2 {
        connection.send(server.head(COMPARE, &body, &[&length, "Expect: 100-continue"]));
        // As such clients do, which wait for a second.
        std::thread::sleep(Duration::from_millis(300));
        let reply = exchange(&mut connection, &body);
        assert!(reply.head.starts_with("HTTP/1.1 200 OK"), "{}", reply.head);
        assert_eq!(reply.code(), "SUCCESS", "{}", reply.body);
        verify(&reply, COMPARE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_chunks_is_signed_as_if_it_were_whole() {
    let server = listening().await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let mut connection = server.connect();
    connection.send(server.head(COMPARE, &body, &["Transfer-Encoding: chunked"]));
    for chunk in body.as_bytes().chunks(37) {
        connection.send(format!("{:x}\r\n", chunk.len()));
        connection.send(chunk);
        connection.send("\r\n");
    }
    let reply = exchange(&mut connection, "0\r\n\r\n");
    assert_eq!(reply.code(), "SUCCESS", "{}", reply.body);
    verify(&reply, COMPARE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_one_request_after_the_other() {
    let server = listening().await;
    let mut connection = server.connect();
    let forged = server.request(TEST, BODY).replace("Request-Time: 2026", "Request-Time: 2025");
    for (request, code) in [
        (server.request(TEST, BODY), "SUCCESS"),
        (forged, "PARAM_ILLEGAL"),
        (server.request(TEST, "{}"), "SUCCESS"),
    ] {
        let reply = exchange(&mut connection, &request);
        assert_eq!(reply.code(), code, "{}", reply.body);
        verify(&reply, TEST);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_line_with_a_doubled_slash_is_routed() {
    let server = listening().await;
    let request = server.request(TEST, BODY).replacen(TEST, &format!("/{TEST}"), 1);
    let reply = exchange(&mut server.connect(), &request);
    assert_eq!(reply.code(), "SUCCESS", "{}", reply.body);
    verify(&reply, TEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_never_finished_is_cut_off() {
    let server = listening().await;
    let begun = Instant::now();
    let mut first = server.connect();
    first.send("POST /api/v1/zoloz/authentication/test HTTP/1.1\r\nHost: localhost\r\nX-Slow:");
    let mut second = server.connect();
    exchange(&mut second, &server.request(TEST, BODY));
    second.send("POST / HTTP/1.1\r\nHost:");
    for connection in [&mut first, &mut second] {
        let answer = connection.read_to_end();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_by_the_hundred_do_not_hinder_others_and_are_all_cut_off() {
    let server = listening().await;
    let mut slow: Vec<_> = (0..150).map(|_| server.connect()).collect();
    let mut dribbling: Vec<_> =
        (0..50).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let begun = Instant::now();
    for part in ["POST / HTTP/1.1\r\n", "X-Slow: ", "y", "y", "y"] {
        for stream in &mut dribbling {
            // On a busy machine they may have been cut off already.
            let _ = stream.write_all(part.as_bytes());
        }
        let reply = exchange(&mut server.connect(), &server.request(TEST, BODY));
        assert_eq!(reply.code(), "SUCCESS");
    }
    for connection in &mut slow {
        assert_eq!(connection.read_to_end(), b"");
    }
    for mut stream in dribbling {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(!ended.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "not cut off");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_the_limit_is_answered_whether_its_length_was_announced_or_not() {
    const LIMIT: usize = 1 << 20;
    let server = listening().await;
    let body = "x".repeat(LIMIT + LIMIT / 2);
    let announced = server.request(COMPARE, &body);
    let head = server.head(COMPARE, &body, &["Transfer-Encoding: chunked"]);
    let chunked = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for request in [announced, chunked] {
        let reply = exchange(&mut server.connect(), &request);
        assert_eq!(reply.code(), "UNABLE_GET_IMAGE", "{}", reply.body);
        assert!(reply.body.contains("more than 1048576 bytes"), "{}", reply.body);
        verify(&reply, COMPARE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_its_whole_body_first_still_reads_why_its_head_was_refused() {
    // More than the buffers of both ends hold, so a response that closes the connection under the
    // client while it is still sending would never be read.
    let app = TestApp::with(|config| {
        config.gate.body_limit = 40 << 20;
        config.gate.body_budget = 80 << 20;
    })
    .await;
    let server = Listening::start(app);
    let body = "x".repeat(24 << 20);
    let request = server.request(COMPARE, &body);
    let elsewhere = "/api/v1/zoloz/elsewhere";
    for (request, path, code) in [
        (request.replacen("-Time: 2026", "-Time: 2025", 1), COMPARE, "PARAM_ILLEGAL"),
        (request.replacen(COMPARE, elsewhere, 1), elsewhere, "NO_INTERFACE_DEF"),
    ] {
        let mut connection = server.connect();
        let reply = exchange(&mut connection, &request);
        assert_eq!(reply.code(), code, "{}", reply.body);
        verify(&reply, path);
        let next = exchange(&mut connection, &server.request(TEST, BODY));
        assert_eq!(next.code(), "SUCCESS", "the connection is still good");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_first_is_refused_before_it_sends_its_body() {
    let server = listening().await;
    let head = server.head(COMPARE, BODY, &["Content-Length: 17", "Expect: 100-continue"]);
    let mut connection = server.connect();
    connection.send(head.replacen("Request-Time: 2026", "Request-Time: 2025", 1));
    let reply = connection.read_reply();
    assert_eq!(reply.code(), "PARAM_ILLEGAL", "{}", reply.body);
    verify(&reply, COMPARE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_turned_away_and_the_next_client_is_served() {
    let server = listening().await;
    let mut outsider = server.connect();
    outsider.send("\x16\x03\x01\x02\x00\x01\x00 hello\r\n\r\n");
    let answer = outsider.read_to_end();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    let reply = exchange(&mut server.connect(), &server.request(TEST, BODY));
    assert_eq!(reply.code(), "SUCCESS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_endpoint_is_for_has_its_own_status() {
    let server = listening().await;
    let ask = |request: &str| {
        let mut connection = server.connect();
        connection.send(request);
        connection.read_head().lines().next().unwrap().to_owned()
    };
    let tunnel = ask("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(tunnel, "HTTP/1.1 405 Method Not Allowed", "this is no proxy");
    let health = ask("POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(health, "HTTP/1.1 405 Method Not Allowed");
    let all = ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(all, "HTTP/1.1 200 OK", "refused in JSON");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_without_tls_is_not_spoken() {
    let server = listening().await;
    let mut connection = server.connect();
    connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let answer = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_may_ask_by_the_whole_address_and_in_http_1_0() {
    let server = listening().await;
    for line in
        [format!("POST http://faces.example.com{TEST} HTTP/1.1"), format!("POST {TEST} HTTP/1.0")]
    {
        let request = server.request(TEST, BODY);
        let reply = exchange(
            &mut server.connect(),
            &request.replacen(&format!("POST {TEST} HTTP/1.1"), &line, 1),
        );
        assert_eq!(reply.code(), "SUCCESS", "{line}");
        verify(&reply, TEST);
    }
}

/// So that a proxy with open connections does not send the next request into a closed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_to_stop_ends_its_connections_with_the_next_response() {
    let app = TestApp::new().await;
    let state = app.state.clone();
    let server = Listening::start(app);
    let mut connection = server.connect();
    let reply = exchange(&mut connection, &server.request(TEST, BODY));
    assert_eq!(reply.header("Connection"), None);
    state.set_ready(false);
    let reply = exchange(&mut connection, &server.request(TEST, BODY));
    assert_eq!((reply.code().as_str(), reply.header("Connection")), ("SUCCESS", Some("close")));
    verify(&reply, TEST);
    assert_eq!(connection.read_to_end(), b"", "and it ends");
}

//! What has proven nothing costs its sender more than us, and never keeps a proven request out.

use std::{
    iter,
    num::NonZeroU32,
    thread,
    time::{Duration, Instant},
};

use axum::http::Request;
use serde_json::json;
use visavis::{
    clients::{ClientChange, PolicyChange},
    gate::ClientRate,
};

use crate::support::{CLIENT, Connection, Listening, Picture, TestApp, pair, stored};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";
const HELD_BACK: &str = "REQUEST_TRAFFIC_EXCEED_LIMIT";

/// The head of a request that no one has signed, with a well-formed signature.
fn forged_head(server: &Listening, path: &str, client_id: &str, extra: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nClient-Id: {client_id}\r\nRequest-Time: {}\r\n\
         Signature: algorithm=RSA256, signature={}\r\n{extra}\r\n\r\n",
        server.app.now(),
        "AAAA".repeat(86)
    )
}

/// What an unproven peer announces, it does not get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_bodies_and_open_ones_keep_nobody_out() {
    let app = TestApp::with(|config| config.gate.body_deadline = Duration::from_secs(20)).await;
    let server = Listening::start(app);
    let large = (1 << 20) - 1;
    let mut open = Vec::new();
    for n in 0..60 {
        let (extra, body) = match n % 3 {
            0 => (format!("Content-Length: {large}"), "{"),
            1 => ("Transfer-Encoding: chunked".to_owned(), "1\r\n{\r\n"),
            _ => (format!("Content-Length: {large}\r\nExpect: 100-continue"), ""),
        };
        let mut connection = server.connect();
        connection.send(forged_head(&server, COMPARE, CLIENT, &extra) + body);
        open.push(connection);
    }
    thread::sleep(Duration::from_millis(200));
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let mut honest = server.connect();
    honest.send(server.request(COMPARE, &body));
    let reply = honest.read_reply();
    assert_eq!(reply.code(), "SUCCESS", "{}", reply.body);
}

/// Sends most of a body with a wrong signature from each address, and keeps the connections open.
fn send_forged_bodies(
    server: &Listening,
    addresses: impl Iterator<Item = [u8; 4]>,
) -> Vec<Connection> {
    let send = |address| {
        let head = forged_head(server, COMPARE, CLIENT, "Content-Length: 90000");
        let mut connection = Connection::from(address, server.address());
        connection.send(head + &"x".repeat(80_000));
        connection
    };
    let open = addresses.map(send).collect();
    thread::sleep(Duration::from_millis(300));
    open
}

/// Bytes that have arrived without proof fill one share of the memory and no more, anyone who sends
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_fill_the_memory_for_bodies_of_the_others() {
    let app = TestApp::with(|config| {
        config.gate.body_limit = 100_000;
        config.gate.body_budget = 600_000;
        config.gate.body_deadline = Duration::from_secs(20);
        config.gate.body_least_rate = 4_096;
    })
    .await;
    let server = Listening::start(app);
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let request = server.request(COMPARE, &body);
    let _open = send_forged_bodies(&server, iter::repeat_n([127, 0, 0, 2], 12));
    let mut known = Connection::from([127, 0, 0, 3], server.address());
    known.send(&request);
    assert_eq!(
        known.read_reply().code(),
        "SUCCESS",
        "its turn comes, although they claim to be it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_addresses_that_claim_one_client_do_not_slow_down_the_one_that_proved_to_be_it() {
    let app = TestApp::with(|config| {
        config.gate.body_limit = 100_000;
        config.gate.body_budget = 2_400_000;
        config.gate.body_deadline = Duration::from_mins(1);
        config.gate.body_least_rate = 4_096;
    })
    .await;
    let server = Listening::start(app);
    let mut known = Connection::from([127, 0, 0, 3], server.address());
    known.send(server.request(TEST, "{}"));
    assert_eq!(known.read_reply().code(), "SUCCESS");
    let _open = send_forged_bodies(&server, (0..20).map(|n| [127, 0, 1, n]));
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(90_000));
    let begun = Instant::now();
    known.send(server.request(COMPARE, &body));
    assert_eq!(known.read_reply().code(), "INVALID_ARGUMENT");
    assert!(begun.elapsed() < Duration::from_secs(4), "it waits for none of them to be cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_is_cut_off_long_before_its_time_is_up() {
    let app = TestApp::with(|config| {
        config.gate.body_deadline = Duration::from_mins(1);
        config.gate.body_least_rate = 4_096;
        config.gate.signature_failures = 1;
    })
    .await;
    let server = Listening::start(app);
    let mut slow = server.connect();
    slow.send(forged_head(&server, COMPARE, CLIENT, "Content-Length: 1000000") + "{");
    let reply = slow.read_reply();
    assert_eq!(reply.code(), "PROCESS_TIMEOUT", "{}", reply.body);
    let mut next = server.connect();
    next.send(forged_head(&server, COMPARE, "nobody", "Content-Length: 0"));
    assert_eq!(next.read_reply().code(), HELD_BACK, "it counts as a failure of its address");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_cut_off_counts_as_a_failure_of_its_address() {
    let app = TestApp::with(|config| config.gate.signature_failures = 3).await;
    let server = Listening::start(app);
    for _ in 0..3 {
        let mut cut = server.connect();
        cut.send(forged_head(&server, COMPARE, CLIENT, "Content-Length: 1000") + "{");
        thread::sleep(Duration::from_millis(100));
    }
    let held_back = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        let mut next = server.connect();
        next.send(forged_head(&server, COMPARE, "nobody", "Content-Length: 0"));
        next.read_reply().code() == HELD_BACK
    });
    assert!(held_back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_back_address_is_refused_unread_and_its_connection_is_closed() {
    let app = TestApp::with(|config| {
        config.gate.signature_failures = 2;
        config.gate.body_deadline = Duration::from_secs(20);
    })
    .await;
    let server = Listening::start(app);
    for path in ["/", "/api/v1/zoloz/elsewhere"] {
        let mut stray = server.connect();
        stray.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(
            stray.read_reply().code(),
            "NO_INTERFACE_DEF",
            "every code that proves nothing counts"
        );
    }
    // No connection to the database is left, and the body never comes.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(server.app.db.readers.acquire().await.unwrap());
    }
    for client_id in ["nobody", ""] {
        let mut refused = server.connect();
        refused.send(forged_head(&server, COMPARE, client_id, "Content-Length: 1000000"));
        let reply = refused.read_reply();
        assert_eq!(reply.code(), HELD_BACK, "{}", reply.body);
        assert_eq!(reply.header("Connection"), Some("close"));
        assert_eq!(refused.read_to_end(), b"");
    }
    drop(held);
    let mut short = server.connect();
    let head = forged_head(&server, COMPARE, CLIENT, "Content-Length: 1000000");
    short.send(head.replace(&"AAAA".repeat(86), "AAAA"));
    assert_eq!(short.read_reply().code(), HELD_BACK, "no signature of this client has three bytes");
    let mut honest = server.connect();
    honest.send(server.request(TEST, "{}"));
    assert_eq!(
        honest.read_reply().code(),
        "SUCCESS",
        "proof beats address, also for the first request"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proven_request_is_served_behind_a_proxy_where_others_prove_nothing() {
    let app = TestApp::with(|config| config.gate.signature_failures = 3).await;
    let server = Listening::start(app);
    let mut first = server.connect();
    first.send(server.request(TEST, "{}"));
    assert_eq!(first.read_reply().code(), "SUCCESS");
    for n in 0..20 {
        let mut stray = server.connect();
        stray.send(format!("POST {TEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        let code = stray.read_reply().code().clone();
        assert_eq!(code, if n < 3 { "PARAM_MISSING" } else { HELD_BACK });
        let mut honest = server.connect();
        honest.send(server.request(TEST, &format!(r#"{{"n":{n}}}"#)));
        assert_eq!(honest.read_reply().code(), "SUCCESS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_pictures_takes_no_large_body() {
    let server = Listening::start(TestApp::new().await);
    let body = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(40_000));
    for path in [TEST, CHECK] {
        let mut connection = server.connect();
        connection.send(server.request(path, &body));
        let reply = connection.read_reply();
        assert_eq!(reply.code(), "PARAM_ILLEGAL", "{}", reply.body);
        assert!(reply.body.contains("more than 65536 bytes"), "{}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_hold_all_connections() {
    let app = TestApp::new().await;
    let server = Listening::with(app, |config| {
        config.max_connections = 20;
        config.max_connections_per_address = 15;
        config.head_deadline = Duration::from_secs(5);
        config.idle_deadline = Duration::from_mins(1);
    });
    let health = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut crowd: Vec<_> =
        (0..30).map(|n| Connection::from([127, 0, 0, 2 + n % 2], server.address())).collect();
    for connection in &mut crowd {
        connection.try_send(health);
    }
    for own in [4, 5, 6] {
        let mut honest = Connection::from([127, 0, 0, own], server.address());
        honest.send(server.request(TEST, "{}"));
        assert_eq!(honest.read_reply().code(), "SUCCESS", "the longest idle one made room");
    }
}

/// Health is asked for without a key, so it keeps no connection open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_health_keeps_no_connection_open() {
    let server = Listening::start(TestApp::new().await);
    let mut connection = server.connect();
    let health = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let ended = (0..20).any(|_| {
        connection.try_send(health);
        thread::sleep(Duration::from_millis(300));
        connection.is_closed()
    });
    assert!(ended);
}

#[tokio::test]
async fn repetitions_at_once_count_once_against_the_quota() {
    let app = TestApp::new().await;
    let policy = PolicyChange { daily_quota: Some(NonZeroU32::new(1)), ..Default::default() };
    app.change(ClientChange { policy, ..Default::default() }).await;
    let body = pair(Picture::Slow(200), Picture::Person(1)).to_string();
    let request = || app.send(app.signed(COMPARE, &body));
    let (one, two, three) = tokio::join!(request(), request(), request());
    assert_eq!([one.code(), two.code(), three.code()], ["SUCCESS"; 3], "{}", two.text);
    assert_eq!(
        (two.transaction_id(), three.transaction_id()),
        (one.transaction_id(), one.transaction_id())
    );
    assert_eq!(stored(&app).await.transactions, 1);
    app.clock.advance(1_000);
    let another = app.post("facecompare/compare", &json!({})).await;
    assert_eq!(another.code(), "INVALID_ARGUMENT", "what is no comparison is not counted");
    let another = app.send(app.signed(COMPARE, &body)).await;
    assert_eq!(another.code(), HELD_BACK, "the quota was used up once: {}", another.text);
}

/// What is cheap to find out is found out first.
#[tokio::test]
async fn a_request_over_several_limits_is_told_the_first_one_of_the_documented_order() {
    let policy = PolicyChange { daily_quota: Some(NonZeroU32::new(1)), ..Default::default() };
    let reported = async |jobs: u64, requests: u32| {
        let app = TestApp::with(|config| {
            config.gate.queue.jobs = jobs;
            let (per_second, burst) = (NonZeroU32::MIN, NonZeroU32::new(3).unwrap());
            config.gate.client_rate = Some(ClientRate { per_second, burst });
        })
        .await;
        app.change(ClientChange { policy, ..Default::default() }).await;
        let mut last = String::new();
        for n in 0..requests {
            let mut body = pair(Picture::Person(1), Picture::Person(1));
            body["bizId"] = json!(format!("{n}"));
            let endpoint = if n == 0 { "compare" } else { "asynccompare" };
            let answer = app.post(&format!("facecompare/{endpoint}"), &body).await;
            last = answer.message().to_owned();
        }
        last
    };
    assert_eq!(reported(9, 1).await, "success");
    assert!(reported(9, 2).await.contains("its 1 comparisons of today"));
    assert!(reported(0, 2).await.contains("the queue is full"), "the queue before the quota");
    assert!(
        reported(0, 4).await.contains("more than 1 requests per second, or more than 3 at once"),
        "the rate before both"
    );
}

#[tokio::test]
async fn a_request_that_names_no_client_costs_no_signature() {
    let app = TestApp::new().await;
    let request = Request::post(TEST).body(axum::body::Body::empty()).unwrap();
    let (one, _) = app.send_raw(request).await;
    let request = Request::post(TEST).body(axum::body::Body::empty()).unwrap();
    let (two, _) = app.send_raw(request).await;
    assert_eq!(one.text, two.text);
    assert_ne!(one.header("signature"), two.header("signature"), "random bytes, by nobody's key");
}

//! More than the service can take: a full queue, a full memory budget, too many who wait, and
//! bodies that take too long. Each is reported apart, nothing is stored, and the room comes back.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use axum::body::to_bytes;
use serde_json::json;
use tower::ServiceExt as _;
use visavis::{
    gate::ClientRate,
    http::{CompareBackend, gateway},
};

use crate::support::{
    AesKey, CLIENT, Connection, Listening, Picture, TestApp, add_client, pair, signed_as, stored,
};

const ASYNC: &str = "facecompare/asynccompare";
const COMPARE: &str = "facecompare/compare";
const COMPARE_PATH: &str = "/api/v1/zoloz/facecompare/compare";
const TEST: &str = "/api/v1/zoloz/authentication/test";
/// A response that refuses with a message.
macro_rules! refused {
    ($message:literal) => {
        concat!(
            r#"{"result":{"resultCode":"REQUEST_TRAFFIC_EXCEED_LIMIT","resultStatus":"F","#,
            r#""resultMessage":""#,
            $message,
            r#"; try again in a moment"}}"#
        )
    };
}

const QUEUE_FULL: &str = refused!("the queue is full, or the share of this client in it");
const WAITING: &str = refused!("too many comparisons are waiting, or too many of this client");
const NO_MEMORY: &str = refused!("the server has no memory free for this request");
const NO_CONNECTION: &str = refused!("the server has no database connection free");

#[tokio::test]
async fn a_full_queue_refuses_further_jobs_and_still_answers_the_rest() {
    let app = TestApp::with(|config| config.gate.queue.jobs = 2).await;
    let mut accepted = Vec::new();
    for person in 1..=2 {
        let body = pair(Picture::Person(person), Picture::Person(1));
        accepted.push(app.post(ASYNC, &body).await.transaction_id());
    }
    let before = stored(&app).await;
    let refused = app.post(ASYNC, &pair(Picture::Person(3), Picture::Person(1))).await;
    assert_eq!(refused.text, QUEUE_FULL);
    assert_eq!(stored(&app).await, before);
    assert_eq!(app.check(&accepted[0]).await.code(), "PROCESSING");
    let compared = app.post(COMPARE, &pair(Picture::Person(1), Picture::Person(1))).await;
    assert_eq!(compared.code(), "SUCCESS", "compare needs no room in the queue");
    app.runner.run_until_idle().await;
    app.admission().set_depth(app.store.depth_by_client().await.unwrap());
    let after = app.post(ASYNC, &pair(Picture::Person(3), Picture::Person(1))).await;
    assert_eq!(after.code(), "PROCESSING");
}

#[tokio::test]
async fn a_queue_can_be_full_by_bytes() {
    let app = TestApp::with(|config| config.gate.queue.bytes = 12).await;
    let body = pair(Picture::Person(1), Picture::Person(1));
    assert_eq!(app.post(ASYNC, &body).await.code(), "PROCESSING");
    app.clock.advance(1_000);
    assert_eq!(app.post(ASYNC, &body).await.text, QUEUE_FULL);
}

#[tokio::test]
async fn a_comparison_that_outlasts_the_patience_is_told_and_not_stored() {
    let app = TestApp::with(|config| config.compare_timeout = Duration::from_millis(50)).await;
    let before = stored(&app).await;
    let answer = app.post(COMPARE, &pair(Picture::Slow(1_500), Picture::Person(1))).await;
    insta::assert_snapshot!(answer.text, @r#"{"result":{"resultCode":"PROCESS_TIMEOUT","resultStatus":"F","resultMessage":"the comparison took too long; try again or use asynccompare"}}"#);
    assert_eq!(stored(&app).await, before);
}

/// The response to a comparison that is signed now, for a task of its own.
fn compared(app: &TestApp, body: &str) -> impl Future<Output = String> + Send + 'static {
    let answer = app.router.clone().oneshot(app.signed(COMPARE_PATH, body));
    async {
        let bytes = to_bytes(answer.await.unwrap().into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

#[tokio::test]
async fn those_who_would_wait_too_long_are_refused_at_once() {
    let app = TestApp::new().await;
    let mut answers = Vec::new();
    // One for each thread, one for each of the eight places to wait, and two too many.
    let enough = app.pool.size() + 8;
    for _ in 0..enough + 2 {
        app.clock.advance(1_000);
        let body = pair(Picture::Slow(300), Picture::Person(1)).to_string();
        answers.push(tokio::spawn(compared(&app, &body)));
    }
    let mut refused = 0;
    for answer in answers {
        let text = answer.await.unwrap();
        refused += usize::from(text == WAITING);
        assert!(text == WAITING || text.contains("SUCCESS"), "{text}");
    }
    assert_eq!(refused, 2);
    assert_eq!(stored(&app).await.transactions, i64::try_from(enough).unwrap());
}

#[tokio::test]
async fn who_would_wait_too_long_is_refused_before_anybody_parses_the_request() {
    let app = TestApp::new().await;
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let done = app.send(app.signed(COMPARE_PATH, &body)).await;
    let repetition = app.signed(COMPARE_PATH, &body);
    let held: Vec<_> = std::iter::from_fn(|| app.pool.try_slot()).collect();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            app.clock.advance(1_000);
            tokio::spawn(compared(&app, &body))
        })
        .collect();
    let full = async {
        while app.post(COMPARE, &json!([])).await.text != WAITING {
            tokio::task::yield_now().await;
        }
    };
    let full = tokio::time::timeout(Duration::from_secs(20), full).await;
    full.expect("what is no request is refused too");
    app.clock.advance(1_000);
    let key = AesKey(vec![7; 16]);
    let refused = app.send(app.encrypted(COMPARE_PATH, &body, &key)).await;
    assert_eq!(refused.opened(&key).text, WAITING, "who encrypts is refused in secret");
    let again = app.send(repetition).await;
    assert_eq!(again.transaction_id(), done.transaction_id(), "what has an outcome needs no room");
    drop(held);
    for answer in waiting {
        let text = answer.await.unwrap();
        assert!(text.contains("SUCCESS"), "{text}");
    }
    assert_eq!(app.post(COMPARE, &json!([])).await.code(), "MSG_PARSE_ERROR");
}

/// Two threads, room for eight, and a client that always has 24 comparisons under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_many_comparisons_under_way_keeps_no_other_one_out() {
    let app = TestApp::new().await;
    add_client(&app.clients, OTHER, "other").await;
    let busy = Arc::new(AtomicUsize::new(0));
    let greedy: Vec<_> = (0..24)
        .map(|n| {
            let (router, busy) = (app.router.clone(), Arc::clone(&busy));
            let requests: Vec<_> = (0..60)
                .map(|m| {
                    let mut body = pair(Picture::Slow(60), Picture::Person(1));
                    body["bizId"] = json!(format!("{n}-{m}"));
                    app.signed(COMPARE_PATH, &body.to_string())
                })
                .collect();
            tokio::spawn(async move {
                for request in requests {
                    let answer = router.clone().oneshot(request).await.unwrap();
                    let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
                    if text.starts_with(WAITING.as_bytes()) {
                        busy.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        })
        .collect();
    for n in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut body = pair(Picture::Person(1), Picture::Person(1));
        body["bizId"] = json!(format!("other-{n}"));
        let request = signed_as(OTHER, COMPARE_PATH, &body.to_string(), &app.now());
        let (answer, _) = app.send_raw(request).await;
        assert_eq!(answer.code(), "SUCCESS", "request {n}: {}", answer.text);
    }
    assert!(busy.load(Ordering::SeqCst) > 20, "the greedy one is refused meanwhile");
    for one in greedy {
        one.abort();
    }
}

#[tokio::test]
async fn a_compare_that_would_be_a_job_is_refused_before_anybody_parses_it() {
    let mut app = TestApp::with(|config| config.gate.queue.jobs = 1).await;
    let mut state = app.state.clone();
    state.comparison = CompareBackend::Queued;
    app.router = gateway(state);
    let body = pair(Picture::Person(1), Picture::Person(1));
    assert_eq!(app.post(COMPARE, &json!([])).await.code(), "MSG_PARSE_ERROR");
    assert_eq!(app.post(ASYNC, &body).await.code(), "PROCESSING");
    assert_eq!(app.post(COMPARE, &json!([])).await.text, QUEUE_FULL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_bodies_share_one_memory_budget_and_give_it_back() {
    const THIRD: &str = "2188000000000003";
    let app = TestApp::with(|config| {
        config.gate.body_limit = 190_000;
        // Half of it for bodies that arrive: four of these, and no fifth one.
        config.gate.body_budget = 1_200_000;
        config.gate.body_deadline = Duration::from_secs(20);
    })
    .await;
    add_client(&app.clients, OTHER, "other").await;
    add_client(&app.clients, THIRD, "third").await;
    let server = Listening::start(app);
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(140_000));
    let from = |last: u8| Connection::from([127, 0, 0, last], server.address());
    let mut holders = Vec::new();
    for (last, client_id) in [(2, CLIENT), (3, CLIENT), (4, OTHER), (5, OTHER)] {
        let request = server.request_of(client_id, COMPARE_PATH, &body);
        let (begun, rest) = request.split_at(request.len() - 10);
        let mut holder = from(last);
        holder.send(begun);
        holders.push((holder, rest.to_owned()));
    }
    let request = server.request_of(THIRD, COMPARE_PATH, &body);
    // The holders are charged when their bytes have been read, which takes a moment.
    let refused = (0..200).any(|_| {
        thread::sleep(Duration::from_millis(20));
        let mut fifth = from(6);
        fifth.send(&request);
        let reply = fifth.read_reply();
        assert!(reply.body == NO_MEMORY || reply.code() == "INVALID_ARGUMENT", "{}", reply.body);
        reply.body == NO_MEMORY
    });
    assert!(refused, "five such bodies do not fit into the budget");
    for (mut holder, rest) in holders {
        holder.send(rest);
        assert_eq!(holder.read_reply().code(), "INVALID_ARGUMENT", "what is charged stays");
    }
    let mut after = from(6);
    after.send(&request);
    assert_eq!(after.read_reply().code(), "INVALID_ARGUMENT", "the budget was given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_in_time_is_told_so() {
    let app = TestApp::with(|config| config.gate.body_deadline = Duration::from_millis(200)).await;
    let server = Listening::start(app);
    let request = server.request(TEST, r#"{"title":"hello"}"#);
    let mut connection = server.connect();
    connection.send(&request[..request.len() - 1]);
    let reply = connection.read_reply();
    insta::assert_snapshot!(reply.body, @r#"{"result":{"resultCode":"PROCESS_TIMEOUT","resultStatus":"F","resultMessage":"the request body took too long to arrive; it may take 0.2 seconds"}}"#);
    assert!(reply.header("Signature").is_some());
}

#[tokio::test]
async fn a_database_that_is_only_busy_is_a_limit_and_not_an_error() {
    let app = TestApp::new().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(app.db.readers.acquire().await.unwrap());
    }
    let (answer, _) = app.send_raw(app.signed(TEST, "{}")).await;
    assert_eq!(answer.text, NO_CONNECTION, "no connection became free");
    held.clear();
    assert_eq!(app.send(app.signed(TEST, "{}")).await.code(), "SUCCESS");
}

/// Two clients on one queue of eight.
#[tokio::test]
async fn one_client_does_not_fill_the_queue_of_the_others() {
    let app = TestApp::with(|config| config.gate.queue.jobs = 8).await;
    add_client(&app.clients, OTHER, "other").await;
    let mut codes = Vec::new();
    for person in 1..=4 {
        codes.push(
            app.post(ASYNC, &pair(Picture::Person(person), Picture::Person(1)))
                .await
                .code()
                .to_owned(),
        );
    }
    let busy = "REQUEST_TRAFFIC_EXCEED_LIMIT";
    assert_eq!(codes, ["PROCESSING", "PROCESSING", busy, busy], "a quarter of eight");
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let request = signed_as(OTHER, "/api/v1/zoloz/facecompare/asynccompare", &body, &app.now());
    assert_eq!(app.send_raw(request).await.0.code(), "PROCESSING", "there is room for the other");
    app.clients.set_disabled(OTHER, true).await.unwrap();
}

#[tokio::test]
async fn a_client_alone_may_fill_the_whole_queue() {
    let app = TestApp::with(|config| config.gate.queue.jobs = 8).await;
    for person in 1..=8 {
        let body = pair(Picture::Person(person), Picture::Person(1));
        assert_eq!(app.post(ASYNC, &body).await.code(), "PROCESSING", "{person}");
    }
    let body = pair(Picture::Person(9), Picture::Person(1));
    assert_eq!(app.post(ASYNC, &body).await.text, QUEUE_FULL);
}

/// Another client than the one that every test has.
const OTHER: &str = "2188000000000002";

/// As good as never again within a test.
fn three_at_once() -> ClientRate {
    ClientRate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(3).unwrap() }
}

#[tokio::test]
async fn a_client_over_its_rate_is_refused_and_the_others_are_not() {
    let app = TestApp::with(|config| config.gate.client_rate = Some(three_at_once())).await;
    add_client(&app.clients, OTHER, "other").await;
    let test = |client: &str| signed_as(client, TEST, "{}", &app.now());
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(app.send(test(CLIENT)).await.code().to_owned());
    }
    let busy = "REQUEST_TRAFFIC_EXCEED_LIMIT";
    assert_eq!(codes, ["SUCCESS", "SUCCESS", "SUCCESS", busy, busy]);
    assert_eq!(app.send_raw(test(OTHER)).await.0.code(), "SUCCESS");
}

#[tokio::test]
async fn nobody_uses_up_the_rate_of_a_client_whose_key_they_do_not_have() {
    let app = TestApp::with(|config| config.gate.client_rate = Some(three_at_once())).await;
    for _ in 0..10 {
        let mut forged = app.signed(TEST, "{}");
        forged
            .headers_mut()
            .insert("signature", "algorithm=RSA256, signature=AAAA".parse().unwrap());
        assert_eq!(app.send(forged).await.code(), "SIGNATURE_INVALID");
    }
    assert_eq!(app.send(app.signed(TEST, "{}")).await.code(), "SUCCESS");
}

#[tokio::test]
async fn a_client_that_encrypts_is_told_of_its_rate_in_a_form_that_it_can_read() {
    let app = TestApp::with(|config| config.gate.client_rate = Some(three_at_once())).await;
    let key = AesKey(vec![1; 16]);
    let mut last = None;
    for _ in 0..4 {
        let (answer, _) = app.send_raw(app.encrypted(TEST, "{}", &key)).await;
        last = Some(answer.opened(&key));
    }
    assert_eq!(last.unwrap().code(), "REQUEST_TRAFFIC_EXCEED_LIMIT");
}

//! At which rate of false matches a decision turns: by client, by what the reference is a photo
//! of, and as it was when the request was accepted.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use image::imageops::{FilterType, resize};
use serde_json::{Value, json};
use visavis::{
    clients::{ClientChange, FmrChange},
    compare::{Decision, DecodeLimits, Fmr, FmrSettings, Outcome, Policy, RequestOptions},
    http::{CompareBackend, gateway},
};
use visavis_face::{
    Engine as _, Picture as Input, PictureKind,
    calibration::{Calibration, CalibrationTable, GroupTable, Population},
    decode::decode,
};

use crate::{
    crash::server::{Data, Server},
    nodes::{PATIENCE, Site, call},
    support::{
        Answer, CLIENT, FakeEngine, Picture, Ran, Run as _, TestApp, add_client, cluster,
        in_repository,
        models::{engine, pack},
        pair, signed_as, with_models,
    },
};

const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC_COMPARE: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";
/// A client beside the one of every test.
const OTHER: &str = "2188000000000002";

fn fmr(rate: f64) -> Fmr {
    Fmr::new(rate).unwrap()
}

/// Everyone at 1e-5, documents at 1e-4, those of one code at 1e-3.
async fn by_source() -> TestApp {
    TestApp::with(|config| {
        config.fmr = FmrSettings::new(fmr(1e-5), Some(fmr(1e-4)));
        config.fmr.add_source("00000001003", fmr(1e-3)).unwrap();
    })
    .await
}

async fn own(app: &TestApp, client_id: &str, rate: f64) {
    let change = ClientChange { fmr: Some(FmrChange::Own(fmr(rate))), ..Default::default() };
    app.clients.change(client_id, &change).await.unwrap();
}

/// A pair whose similarity is the one of score 80.
fn borderline(source: Option<&str>) -> Value {
    let mut body = pair(Picture::Borderline, Picture::Person(1));
    if let Some(source) = source {
        body["sourceOfFace2"] = json!(source);
    }
    body
}

/// Threshold and decision of a response.
fn decided(answer: &Answer) -> (f64, bool) {
    assert_eq!(answer.code(), "SUCCESS", "{}", answer.text);
    let (score, threshold) = (&answer.json["score"], &answer.json["threshold"]);
    let same = answer.json["samePerson"].as_bool().unwrap();
    assert_eq!(score.as_f64() >= threshold.as_f64(), same, "{}", answer.text);
    (threshold.as_f64().unwrap(), same)
}

async fn send(app: &TestApp, client_id: &str, path: &str, body: &Value) -> Answer {
    app.clock.advance(1_000);
    let (answer, status) =
        app.send_raw(signed_as(client_id, path, &body.to_string(), &app.now())).await;
    assert_eq!(status, 200, "{}", answer.text);
    answer
}

async fn compared(app: &TestApp, client_id: &str, source: Option<&str>) -> (f64, bool) {
    decided(&send(app, client_id, COMPARE, &borderline(source)).await)
}

async fn accepted(app: &TestApp, client_id: &str, source: Option<&str>) -> String {
    let answer = send(app, client_id, ASYNC_COMPARE, &borderline(source)).await;
    assert_eq!(answer.code(), "PROCESSING", "{}", answer.text);
    answer.transaction_id()
}

async fn reported(app: &TestApp, client_id: &str, id: &str) -> (f64, bool) {
    decided(&send(app, client_id, CHECK, &json!({ "transactionId": id })).await)
}

#[tokio::test]
async fn one_pair_is_a_match_for_one_client_and_none_for_another() {
    let app = TestApp::new().await;
    add_client(&app.clients, OTHER, "careful").await;
    own(&app, CLIENT, 1e-2).await;
    own(&app, OTHER, 1e-6).await;
    assert_eq!(compared(&app, CLIENT, None).await, (50.0, true));
    assert_eq!(compared(&app, OTHER, None).await, (90.0, false));
    let (one, other) = (accepted(&app, CLIENT, None).await, accepted(&app, OTHER, None).await);
    app.runner.run_until_idle().await;
    assert_eq!(reported(&app, CLIENT, &one).await, (50.0, true));
    assert_eq!(reported(&app, OTHER, &other).await, (90.0, false));
}

#[tokio::test]
async fn documents_have_a_rate_of_their_own_and_those_of_a_code_another() {
    let app = by_source().await;
    for (source, threshold) in [
        (None, 80.0),
        (Some(""), 80.0),
        (Some("selfie"), 80.0),
        (Some("00000001007"), 70.0),
        (Some(" 00000001003 "), 60.0),
    ] {
        assert_eq!(compared(&app, CLIENT, source).await, (threshold, true), "{source:?}");
        let id = accepted(&app, CLIENT, source).await;
        app.runner.run_until_idle().await;
        assert_eq!(reported(&app, CLIENT, &id).await, (threshold, true), "{source:?}");
    }
}

#[tokio::test]
async fn what_a_client_has_of_its_own_goes_before_what_is_configured() {
    let app = by_source().await;
    let (document, passport) = (Some("00000001007"), Some("00000001003"));
    own(&app, CLIENT, 1e-6).await;
    for source in [None, document, passport] {
        assert_eq!(compared(&app, CLIENT, source).await, (90.0, false), "{source:?}");
    }
    let documents = Some(FmrChange::Own(fmr(1e-2)));
    app.change(ClientChange { document_fmr: documents, ..Default::default() }).await;
    for (source, decided) in
        [(None, (90.0, false)), (document, (50.0, true)), (passport, (50.0, true))]
    {
        assert_eq!(compared(&app, CLIENT, source).await, decided, "{source:?}");
    }
    app.change(ClientChange { fmr: Some(FmrChange::Default), ..Default::default() }).await;
    assert_eq!(compared(&app, CLIENT, None).await, (80.0, true));
    assert_eq!(compared(&app, CLIENT, passport).await, (50.0, true));
    app.change(ClientChange { document_fmr: Some(FmrChange::Default), ..Default::default() }).await;
    assert_eq!(compared(&app, CLIENT, passport).await, (60.0, true));
}

#[tokio::test]
async fn a_change_counts_for_later_requests_and_not_for_jobs_that_wait() {
    let app = TestApp::new().await;
    let first = accepted(&app, CLIENT, None).await;
    own(&app, CLIENT, 1e-6).await;
    let second = accepted(&app, CLIENT, None).await;
    own(&app, CLIENT, 1e-2).await;
    app.runner.run_until_idle().await;
    assert_eq!(reported(&app, CLIENT, &first).await, (80.0, true));
    assert_eq!(reported(&app, CLIENT, &second).await, (90.0, false));
    assert_eq!(compared(&app, CLIENT, None).await, (50.0, true));
}

#[tokio::test]
async fn a_repetition_of_a_request_is_told_what_the_first_one_was() {
    let app = TestApp::new().await;
    let body = borderline(None);
    let first = app.post("facecompare/compare", &body).await;
    own(&app, CLIENT, 1e-6).await;
    let again = app.post("facecompare/compare", &body).await;
    assert_eq!(again.transaction_id(), first.transaction_id(), "the same signed request");
    assert_eq!((decided(&first), decided(&again)), ((80.0, true), (80.0, true)));
}

#[tokio::test]
async fn compare_through_the_queue_is_decided_as_it_was_accepted() {
    let mut app = TestApp::with(|config| config.compare_timeout = Duration::from_millis(300)).await;
    let mut state = app.state.clone();
    state.comparison = CompareBackend::Queued;
    let room = state.shards.iter().next().unwrap().waiting.clone();
    let served = tokio::spawn(room.serve(app.store.clone()));
    app.router = gateway(state);
    own(&app, CLIENT, 1e-6).await;
    let later = app.post("facecompare/compare", &borderline(None)).await;
    assert_eq!(later.code(), "PROCESSING", "{}", later.text);
    own(&app, CLIENT, 1e-2).await;
    app.runner.run_until_idle().await;
    assert_eq!(reported(&app, CLIENT, &later.transaction_id()).await, (90.0, false));
    served.abort();
}

#[tokio::test]
async fn a_job_that_an_earlier_version_accepted_is_decided_at_the_default() {
    let app = TestApp::new().await;
    own(&app, CLIENT, 1e-6).await;
    let id = accepted(&app, CLIENT, None).await;
    let stored: String =
        sqlx::query_scalar("SELECT options FROM job").fetch_one(&app.db.writer).await.unwrap();
    let mut options: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(options["fmr"], 1e-6);
    options.as_object_mut().unwrap().remove("fmr");
    let update = sqlx::query("UPDATE job SET options = $1").bind(options.to_string());
    update.execute(&app.db.writer).await.unwrap();
    app.runner.run_until_idle().await;
    assert_eq!(reported(&app, CLIENT, &id).await, (80.0, true));
}

#[tokio::test]
async fn a_threshold_between_two_hundredths_is_printed_as_the_least_score_of_a_match() {
    let app = TestApp::new().await;
    // 30 + 10 · 4.5157… = 75.1570, which is not the nearest hundredth below.
    own(&app, CLIENT, 3.049_9e-5).await;
    let (threshold, same) = compared(&app, CLIENT, None).await;
    assert!(same && (threshold - 75.16).abs() < 1e-9, "{threshold}");
    let exact = fmr(3.049_9e-5).threshold();
    assert!(exact < threshold && threshold - exact < 0.01, "{exact}");
}

#[test]
fn a_rate_that_the_table_does_not_reach_is_continued_for_a_request_as_it_is_for_everybody() {
    let within = GroupTable { knots: vec![(0.3, 1e-2), (0.45, 1e-3)], ..Default::default() };
    let knots = vec![(0.25, 1e-2), (0.5, 1e-5)];
    let table = CalibrationTable { knots, within_group: Some(within), ..Default::default() };
    let calibration = Calibration::new(&table, Population::WithinGroup).unwrap();
    let policy = |rate| Policy::new(calibration.clone(), "fake", fmr(rate));
    let compared = || {
        let bytes = [Picture::Borderline, Picture::Person(1)].map(Picture::bytes);
        let [one, other] =
            bytes.each_ref().map(|bytes| Input { bytes, hint: None, kind: PictureKind::Selfie });
        FakeEngine.compare(&one, &other).unwrap()
    };
    for (rate, decision) in [
        (1e-2, Decision::Match),
        (1e-3, Decision::Match),
        (1e-4, Decision::NonMatch),
        (1e-6, Decision::NonMatch),
    ] {
        let of_request = policy(1e-5).decide(compared(), &at(Some(fmr(rate))));
        assert_eq!(of_request, policy(rate).decide(compared(), &at(None)), "{rate}");
        let Outcome::Compared(verdict) = of_request else { panic!("{rate}") };
        assert_eq!(verdict.decision, decision, "{rate}");
    }
}

fn at(fmr: Option<Fmr>) -> RequestOptions {
    RequestOptions { fmr, ..RequestOptions::default() }
}

/// Two photos of one person of which the second has lost so much that their score lies between 70
/// and 80.
fn doubtful(folder: &Path) -> (String, String) {
    let reference = in_repository("samples/obama-2012.jpg");
    let bytes = std::fs::read(in_repository("samples/obama-2009.jpg")).unwrap();
    let photo = decode(&bytes, &DecodeLimits::default()).unwrap();
    let (width, height) = photo.dimensions();
    let mut engine = engine();
    let policy = Policy::new(
        Calibration::new(&pack().calibration.unwrap(), Population::Mixed).unwrap(),
        &pack().name,
        fmr(1e-4),
    );
    let path = folder.join("doubtful.png");
    let is_doubtful = |columns: &u32| {
        let small = resize(&photo, *columns, *columns * height / width, FilterType::Triangle);
        resize(&small, width, height, FilterType::Triangle).save(&path).unwrap();
        let [one, other] =
            [reference.as_str().as_ref(), path.as_path()].map(|p| std::fs::read(p).unwrap());
        let [one, other] =
            [&one, &other].map(|bytes| Input { bytes, hint: None, kind: PictureKind::Selfie });
        match policy.decide(engine.compare(&one, &other).unwrap(), &at(None)) {
            Outcome::Compared(verdict) => verdict.same_person() && verdict.score.value() < 79.0,
            Outcome::Refused { .. } => false,
        }
    };
    (28..60).find(is_doubtful).expect("one of the sizes is doubtful");
    (reference, path.display().to_string())
}

/// Threshold and decision of a call.
fn printed(answer: &Value) -> (f64, bool) {
    let score = answer["score"].as_f64().unwrap_or_else(|| panic!("{answer}"));
    assert!((70.0..80.0).contains(&score), "the pair is a doubtful one: {answer}");
    (answer["threshold"].as_f64().unwrap(), answer["samePerson"].as_bool().unwrap())
}

#[test]
fn one_server_with_real_nets_decides_one_pair_by_client_by_document_and_by_what_was_changed() {
    let data = Data::new();
    let folder = data.folder().display().to_string();
    let variables = [
        ("VISAVIS_COMPARE_DOCUMENT_FMR", "1e-4"),
        ("VISAVIS_COMPARE_FMR_BY_SOURCE", "00000001003=1e-3"),
    ];
    let run = |arguments: &[&str]| -> Ran {
        let arguments = [arguments, &["--data", &folder]].concat();
        with_models().args(arguments).envs(variables).ran()
    };
    let keys = |name: &str, more: &[&str]| {
        let file = data.folder().join(format!("{name}.json")).display().to_string();
        let added = run(&[&["client", "add", name, "--out", &file], more].concat());
        assert_eq!(added.code, 0, "{}", added.err);
        file
    };
    let lenient = keys("lenient", &["--fmr", "1e-2"]);
    let careful = keys("careful", &["--fmr", "1e-6", "--document-fmr", "1e-5"]);
    let plain = keys("plain", &[]);
    let (one, other) = doubtful(data.folder());
    let server = Server::start_with(&data, &[], &variables);
    let compare = |keys: &str, more: &[&str]| {
        printed(&call(keys, &server, &[&["compare", &one, &other], more].concat()))
    };
    assert_eq!(compare(&lenient, &[]), (50.0, true));
    assert_eq!(compare(&careful, &[]), (90.0, false));
    assert_eq!(compare(&plain, &[]), (80.0, false));
    let (document, passport) =
        (["--source-of-face2", "00000001007"], ["--source-of-face2", "00000001003"]);
    assert_eq!(compare(&plain, &document), (70.0, true));
    assert_eq!(compare(&plain, &passport), (60.0, true));
    assert_eq!(compare(&careful, &passport), (80.0, false));
    assert_eq!(compare(&lenient, &passport), (50.0, true));
    let waited = ["asynccompare", &one, &other, "--wait", "--source-of-face2", "00000001007"];
    assert_eq!(printed(&call(&plain, &server, &waited)), (70.0, true));

    assert_eq!(run(&["client", "set", "careful", "--fmr", "1e-3"]).code, 0);
    assert_eq!(compare(&careful, &[]), (60.0, true), "at once, in a server that runs");
    let checked = run(&["check", "--json"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let findings = checked.json();
    let thresholds = findings.as_array().unwrap().iter().filter(|f| f["what"] == "threshold");
    let reported: Vec<_> = thresholds.map(|f| f["detail"].as_str().unwrap()).collect();
    for (detail, begins) in reported.iter().zip([
        "documents: 70 for a false match rate of 1e-4; false match rate 1.0e-4 among all, ",
        "documents 00000001003: 60 for a false match rate of 1e-3; false match rate 1.0e-3 among \
         all, ",
        "client lenient: 50 for a false match rate of 1e-2; false match rate 1.0e-2 among all, ",
        "client careful: 60 for a false match rate of 1e-3; ",
        "documents of client careful: 80 for a false match rate of 1e-5; ",
    ]) {
        assert!(detail.starts_with(begins) && detail.contains("people of one sex"), "{detail}");
    }
    assert_eq!(reported.len(), 5, "{reported:#?}");
    assert_eq!(server.terminate(), Some(0));
}

/// Asks until there is an outcome.
fn finished(keys: &str, node: &Server, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let reported = call(keys, node, &["asynccheckresult", id]);
        if reported["result"]["resultCode"] != "PROCESSING" {
            return reported;
        }
        assert!(begun.elapsed() < PATIENCE, "{id} is not finished");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_other_settings_decide_as_the_front_end_accepted() {
    let url = cluster().url(&cluster().new_database().await);
    let site = Site::on(vec![url]);
    tokio::task::block_in_place(|| {
        let lenient = site.add_client("lenient", &["--fmr", "1e-2"]);
        let careful = site.add_client("careful", &["--fmr", "1e-6"]);
        let (one, other) = doubtful(site.data.folder());
        let front = site.front_end();
        let accepted = |keys: &str, endpoint: &str| {
            let answer = call(keys, &front, &[endpoint, &one, &other]);
            assert_eq!(answer["result"]["resultCode"], "PROCESSING", "{answer}");
            answer["transactionId"].as_str().unwrap().to_owned()
        };
        let ids = [
            (&lenient, accepted(&lenient, "asynccompare"), (50.0, true)),
            (&careful, accepted(&careful, "asynccompare"), (90.0, false)),
            (&careful, accepted(&careful, "compare"), (90.0, false)),
        ];
        for name in ["lenient", "careful"] {
            assert_eq!(site.run(&["client", "set", name, "--fmr", "1e-4"]).code, 0);
        }
        let mut variables = site.variables();
        variables.push(("VISAVIS_COMPARE_FMR", "1e-3".to_owned()));
        let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let workers = Server::start_workers(&site.data, &variables);
        for (keys, id, decided) in &ids {
            assert_eq!(printed(&finished(keys, &front, id)), *decided);
        }
        let compared = call(&careful, &front, &["compare", &one, &other]);
        assert_eq!(printed(&compared), (70.0, true), "through the queue, at the new rate");
        assert_eq!((front.terminate(), workers.terminate()), (Some(0), Some(0)));
    });
}

//! What a server reports on its admin address after it has done something, and the trace
//! that leads from a request to its comparison.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{
    crash::server::{Data, Server},
    serve::{add, call, free_address, get},
    support::{Picture, TestApp, in_repository, models::pack, pair},
};

fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("{series} is not in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn serve(data: &Data) -> (Server, SocketAddr) {
    let admin = free_address();
    let listen = admin.to_string();
    let variables = [
        ("VISAVIS_ADMIN_LISTEN", listen.as_str()),
        ("VISAVIS_QUEUE_MAX_JOBS", "1"),
        ("VISAVIS_QUALITY_DOCUMENT_SHARPNESS_FAIL_BELOW", "1000"),
    ];
    (Server::start_with(data, &[], &variables), admin)
}

#[test]
fn requests_stages_outcomes_jobs_and_the_store_are_counted() {
    let data = Data::new();
    let keys = add(&data, "app", &["client", "add", "app"]);
    let (server, admin) = serve(&data);
    let url = server.url();
    let photo = |name: &str| in_repository(&format!("samples/{name}.jpg"));
    let (one, other) = (photo("obama-2012"), photo("obama-2009"));
    let compare = |one: &str, other: &str| call(&url, &keys, &["compare", one, other, "--json"]);
    assert_eq!(compare(&one, &other).code, 0);
    let not = data.folder().join("not.jpg").display().to_string();
    std::fs::write(&not, b"\xFF\xD8\xFF\xE0 no picture").unwrap();
    assert_ne!(compare(&one, &not).code, 0);
    let blurred = ["--source-of-face2", "00000001003", "--json", "--wait"];
    let queued =
        call(&url, &keys, &[&["asynccompare", &one, &photo("collins")], &blurred[..]].concat());
    assert_eq!(queued.code, 0, "{}{}", queued.out, queued.err);
    assert_eq!(queued.json()["face2ImageQualityReasons"][0], "BLURRED", "{}", queued.out);
    // The gauges of the store are read once a second.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let metrics = get(admin, "/metrics");
    let id = serde_json::from_str::<Value>(&std::fs::read_to_string(&keys).unwrap()).unwrap();
    let id = id["clientId"].as_str().unwrap();
    let requests = |endpoint: &str, code: &str| {
        let series = format!(
            "visavis_requests_total{{endpoint=\"{endpoint}\",client=\"{id}\",code=\"{code}\"}}"
        );
        value(&metrics, &series)
    };
    for (found, expected) in [
        (requests("compare", "SUCCESS"), 1.0),
        (requests("compare", "UNABLE_GET_IMAGE"), 1.0),
        (requests("asynccompare", "PROCESSING"), 1.0),
        (value(&metrics, "visavis_comparisons_total{outcome=\"match\"}"), 1.0),
        (value(&metrics, "visavis_comparisons_total{outcome=\"non_match\"}"), 1.0),
        (value(&metrics, "visavis_comparisons_total{outcome=\"refused\"}"), 1.0),
        (value(&metrics, "visavis_pictures_refused_total{reason=\"damaged\"}"), 1.0),
        (value(&metrics, "visavis_quality_failures_total{reason=\"BLURRED\"}"), 1.0),
        (value(&metrics, "visavis_jobs_completed_total"), 1.0),
        (value(&metrics, "visavis_score_count"), 2.0),
        (value(&metrics, "visavis_stage_seconds_count{stage=\"embed\"}"), 4.0),
        (value(&metrics, "visavis_request_seconds_count{endpoint=\"compare\"}"), 2.0),
        (value(&metrics, "visavis_compute_threads"), 2.0),
        (value(&metrics, "visavis_compute_busy"), 0.0),
        (value(&metrics, "visavis_queue_jobs{shard=\"0\"}"), 0.0),
        (value(&metrics, "visavis_queue_oldest_seconds{shard=\"0\"}"), 0.0),
    ] {
        assert!((found - expected).abs() < f64::EPSILON, "{found} {expected}\n{metrics}");
    }
    assert!(value(&metrics, "visavis_database_bytes{shard=\"0\"}") > 0.0);
    let info = metrics.lines().find(|line| line.starts_with("visavis_info{")).unwrap();
    let name = pack().name;
    let (named, table) = (format!("pack=\"{name}\""), format!("calibration=\"{name}-"));
    assert!(info.contains(&named) && info.contains(&table), "{info}");
    assert_eq!(server.terminate(), Some(0));
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn a_trace_goes_with_the_job_and_a_forged_one_is_replaced() {
    let app = TestApp::new().await;
    let body = pair(Picture::Person(1), Picture::Person(2)).to_string();
    let path = "/api/v1/zoloz/facecompare/asynccompare";
    for (sent, kept) in
        [(format!("00-{TRACE}-b7ad6b7169203331-01"), true), ("nonsense".to_owned(), false)]
    {
        app.clock.advance(1_000);
        let mut request = app.signed(path, &body);
        request.headers_mut().insert("traceparent", sent.parse().unwrap());
        assert_eq!(app.send(request).await.code(), "PROCESSING");
        let lease =
            app.store.claim(1, "test", std::time::Duration::from_secs(9)).await.unwrap().remove(0);
        let trace = lease.job.options.trace.unwrap();
        assert_eq!(format!("{:032x}", trace.trace_id()) == TRACE, kept);
        assert_ne!(trace.span_id(), 0xb7ad_6b71_6920_3331, "a span of its own");
    }
}

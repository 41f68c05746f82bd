//! Spans at a collector: from the request of a caller who traces, through the queue, to the stages
//! of the comparison. In programs that were built with the feature `otlp`.

use crate::{
    crash::server::{Data, Server},
    serve::{add, call},
    support::in_repository,
};

/// A program without the feature says so instead of losing spans in silence.
#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_without_the_export_refuses_to_start_with_it() {
    let data = Data::new();
    let variables = [("VISAVIS_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")];
    let (code, complaint) = data.serve_and_fail_with(&variables);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("--features otlp"), "{complaint}");
    let keys = add(&data, "app", &["client", "add", "app"]);
    let server = Server::start(&data);
    let photo = in_repository("samples/hopper.jpg");
    assert_eq!(call(&server.url(), &keys, &["compare", &photo, &photo]).code, 0);
}

#[cfg(feature = "otlp")]
mod exported {
    use std::{
        collections::BTreeMap,
        io::{Read as _, Write as _},
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
    };

    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
    };
    use prost::Message as _;

    use super::*;

    /// Takes what is exported and responds as a collector does.
    fn collector() -> (String, Arc<Mutex<Vec<Span>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut bytes) = (stream.unwrap(), Vec::new());
                let mut part = [0; 8_192];
                let body = loop {
                    let read = stream.read(&mut part).unwrap();
                    assert_ne!(read, 0, "cut off");
                    bytes.extend_from_slice(&part[..read]);
                    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .unwrap();
                    if bytes.len() >= end + 4 + length.parse::<usize>().unwrap() {
                        break &bytes[end + 4..];
                    }
                };
                let reported = ExportTraceServiceRequest::decode(body).unwrap();
                let reported = reported
                    .resource_spans
                    .into_iter()
                    .flat_map(|r| r.scope_spans)
                    .flat_map(|s| s.spans);
                kept.lock().unwrap().extend(reported);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        });
        (url, spans)
    }

    #[test]
    fn a_job_is_followed_from_its_request_to_its_stages() {
        let (url, spans) = collector();
        let data = Data::new();
        let keys = add(&data, "app", &["client", "add", "app"]);
        let server = Server::start_with(&data, &[], &[("VISAVIS_TRACES_ENDPOINT", &url)]);
        let photo = in_repository("samples/hopper.jpg");
        let asked = ["asynccompare", &photo, &photo, "--wait", "--biz-id", "jane-doe"];
        assert_eq!(call(&server.url(), &keys, &asked).code, 0);
        // Whatever waits is sent at the end.
        assert_eq!(server.terminate(), Some(0));
        let spans = spans.lock().unwrap();
        let is_of = |span: &&Span, endpoint: &str| {
            span.name == "http.request" && format!("{:?}", span.attributes).contains(endpoint)
        };
        // The later ones ask for the outcome of a job that still runs.
        let processing = spans.iter().filter(|span| is_of(span, "PROCESSING"));
        let request = processing.min_by_key(|span| span.start_time_unix_nano).unwrap();
        let of_it: Vec<_> = spans.iter().filter(|span| span.trace_id == request.trace_id).collect();
        let children = |of: &Span| -> BTreeMap<&str, usize> {
            let mut names = BTreeMap::new();
            for span in of_it.iter().filter(|span| span.parent_span_id == of.span_id) {
                *names.entry(span.name.as_str()).or_default() += 1;
            }
            names
        };
        let of_request = children(request);
        assert_eq!((of_request["worker.job"], of_request.contains_key("db.statement")), (1, true));
        let job = of_it.iter().find(|span| span.name == "worker.job").unwrap();
        let of_job = children(job);
        assert_eq!((of_job["face.compare"], of_job["queue.wait"]), (1, 1));
        let comparison = of_it.iter().find(|span| span.name == "face.compare").unwrap();
        assert_eq!(children(comparison), BTreeMap::from([("face.stage", 12)]));
        for stage in ["decode", "detect", "landmarks", "align", "quality", "embed"] {
            let of_stage = of_it.iter().filter(|span| {
                span.name == "face.stage" && format!("{:?}", span.attributes).contains(stage)
            });
            assert_eq!(of_stage.count(), 2, "{stage}");
        }
        assert!(
            !spans.iter().any(|span| span.name == "db.statement" && span.parent_span_id.is_empty())
        );
        for span in of_it.iter().filter(|span| span.parent_span_id == comparison.span_id) {
            let within = comparison.start_time_unix_nano.saturating_sub(1_000_000)
                ..=comparison.end_time_unix_nano + 1_000_000;
            assert!(within.contains(&span.start_time_unix_nano), "{span:?}");
            assert!(within.contains(&span.end_time_unix_nano), "{span:?}");
        }
        assert!(!format!("{spans:?}").contains("jane-doe"), "nothing personal");
    }
}

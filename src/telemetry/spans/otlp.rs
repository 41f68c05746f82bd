//! The export, by the libraries of OpenTelemetry: in batches, from a thread of their own.

use std::{
    borrow::Cow,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use axum::body::Bytes;
use http::{Request, Response};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _},
};

use super::{Role, Span};
use crate::outgoing;

static PROCESSOR: OnceLock<BatchSpanProcessor> = OnceLock::new();

/// How long a batch may take to be sent.
const PATIENCE: Duration = Duration::from_secs(5);
const AT_THE_END: Duration = Duration::from_secs(3);

pub(super) fn is_started() -> bool {
    PROCESSOR.get().is_some()
}

pub(super) fn start(endpoint: &str) -> Result<(), String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_endpoint(endpoint)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|e| format!("traces.endpoint: {e}"))?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let service = Resource::builder().with_service_name("visavis").with_attribute(version);
    processor.set_resource(&service.build());
    // An error means that it was started before.
    let _ = PROCESSOR.set(processor);
    Ok(())
}

pub(super) fn tell(span: Span) {
    if let Some(processor) = PROCESSOR.get() {
        processor.on_end(data(span));
    }
}

pub(super) fn finish() {
    if let Some(processor) = PROCESSOR.get() {
        // What could not be sent is lost; the log of the libraries says so.
        let _ = processor.shutdown_with_timeout(AT_THE_END);
    }
}

#[expect(clippy::disallowed_methods, reason = "spans are dated more finely than in milliseconds")]
fn data(span: Span) -> SpanData {
    let end_time = SystemTime::now() - span.ago;
    let attributes = span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let (trace_id, span_id) = (TraceId::from(span.trace_id), SpanId::from(span.span_id));
    SpanData {
        span_context: SpanContext::new(
            trace_id,
            span_id,
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: SpanId::from(span.parent_id),
        parent_span_is_remote: span.role != Role::Internal,
        span_kind: match span.role {
            Role::Server => SpanKind::Server,
            Role::Consumer => SpanKind::Consumer,
            Role::Internal => SpanKind::Internal,
        },
        name: Cow::Borrowed(span.name),
        start_time: end_time - span.took,
        end_time,
        attributes: attributes.collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("visavis").build(),
    }
}

/// The HTTP client that the rest of the program has.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = outgoing::agent(None).timeout_global(Some(PATIENCE));
        Self(config.http_status_as_error(false).build().into())
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    /// Called on the exporter's own thread, so it may block.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = answer.into_parts();
        Ok(Response::from_parts(parts, Bytes::from(body.read_to_vec()?)))
    }
}

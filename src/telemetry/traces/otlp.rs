//! The export: the layer of `tracing-opentelemetry`, and a processor whose thread sends batches.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use axum::body::Bytes;
use http::{Request, Response};
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt as _, TraceFlags,
        TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanProcessor},
};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::Past;
use crate::{compare::TraceContext, outgoing};

static STARTED: OnceLock<(SdkTracerProvider, SdkTracer)> = OnceLock::new();

/// Time for sending a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Spans that are exported; the others are only for the log.
const EXPORTED: [&str; 4] = ["http.request", "worker.job", "face.compare", "db.statement"];
const PROVEN: &str = "proven";

pub(super) fn exporter(endpoint: &str) -> Result<SpanExporter, String> {
    SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_endpoint(endpoint)
        .with_timeout(SEND_TIMEOUT)
        .build()
        .map_err(|e| format!("traces.endpoint: {e}"))
}

/// # Errors
/// As [`check`](super::check).
pub(in crate::telemetry) fn layer<S>(endpoint: &str) -> Result<impl Layer<S> + use<S>, String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let exporter = exporter(endpoint)?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("visavis").with_attribute(version);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_span_processor(Processor(BatchSpanProcessor::builder(exporter).build()))
        .build();
    let tracer = provider.tracer("visavis");
    let (_, tracer) = STARTED.get_or_init(|| (provider, tracer));
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer.clone())
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    Ok(layer.with_filter(filter_fn(|span| span.is_span() && EXPORTED.contains(&span.name()))))
}

/// `None` if traces are not exported.
pub(super) fn continue_trace(span: &Span, parent: Option<TraceContext>) -> Option<TraceContext> {
    STARTED.get()?;
    if let Some(parent) = parent {
        let sampled = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let remote = SpanContext::new(
            parent.trace_id().into(),
            parent.span_id().into(),
            sampled,
            true,
            TraceState::default(),
        );
        // An error means that this span is not exported.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    TraceContext::from_ids(
        u128::from_be_bytes(own.trace_id().to_bytes()),
        u64::from_be_bytes(own.span_id().to_bytes()),
        own.is_sampled(),
    )
}

pub(super) fn set_proven(span: &Span) {
    span.set_attribute(PROVEN, true);
}

#[expect(clippy::disallowed_methods, reason = "spans are dated more finely than in milliseconds")]
pub(super) fn record_past(past: Past<'_>) {
    let Some((_, tracer)) = STARTED.get() else { return };
    let end = SystemTime::now() - past.ago;
    let attributes = past.attributes.iter().map(|(name, value)| KeyValue::new(*name, *value));
    let builder = SpanBuilder::from_name(past.name)
        .with_start_time(end - past.took)
        .with_attributes(attributes);
    let mut span = tracer.build_with_context(builder, &Span::current().context());
    span.end_with_timestamp(end);
}

pub(super) fn finish() {
    if let Some((provider, _)) = STARTED.get() {
        // Spans that cannot be sent are lost, which the libraries log.
        let _ = provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
    }
}

/// Exports spans of authenticated requests and of jobs.
#[derive(Debug)]
struct Processor(BatchSpanProcessor);

impl SpanProcessor for Processor {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        let is_root = span.parent_span_id == opentelemetry::trace::SpanId::INVALID;
        match &*span.name {
            // Unproven requests do not fill the exporter's queue.
            "http.request" => {
                let before = span.attributes.len();
                span.attributes.retain(|attribute| attribute.key.as_str() != PROVEN);
                if span.attributes.len() == before {
                    return;
                }
                span.span_kind = SpanKind::Server;
            }
            "worker.job" => span.span_kind = SpanKind::Consumer,
            // Statements of background tasks, one after the other.
            _ if is_root => return,
            _ => {}
        }
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// The HTTP client of the program.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = outgoing::agent(None).timeout_global(Some(SEND_TIMEOUT));
        Self(config.http_status_as_error(false).build().into())
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    /// Called on the exporter's own thread, so it may block.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let response = self.0.run(Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = response.into_parts();
        Ok(Response::from_parts(parts, Bytes::from(body.read_to_vec()?)))
    }
}

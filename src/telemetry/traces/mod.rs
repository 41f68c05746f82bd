//! Traces: the spans of `tracing`, exported by OTLP in programs that were built with the feature `otlp`.
//!
//! Every span has the level `ERROR`, so that no `log.level` takes its fields off the lines of the log.

use std::time::Duration;

use tracing::Span;

use crate::compare::TraceContext;

#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "otlp")]
pub(super) use otlp::layer;

/// Work that is over, as a child of a span.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// How long ago it ended.
    pub ago: Duration,
    /// What else is to be known of it: names and values, nothing personal.
    pub attributes: &'a [(&'static str, &'static str)],
}

/// Whether spans can be exported to this address of OTLP over HTTP, such as `http://collector:4318/v1/traces`. Sends nothing.
///
/// # Errors
/// A sentence when the address cannot be used, or the program was built without the export.
pub fn check(endpoint: &str) -> Result<(), String> {
    #[cfg(feature = "otlp")]
    return otlp::exporter(endpoint).map(drop);
    #[cfg(not(feature = "otlp"))]
    Err(format!(
        "traces.endpoint is {endpoint}, but this program was built without --features otlp"
    ))
}

/// Makes `span` a part of `parent`, or of a trace of its own, and returns its place in the trace. To be called before the span
/// is entered.
pub fn continue_trace(span: &Span, parent: Option<TraceContext>) -> TraceContext {
    #[cfg(feature = "otlp")]
    if let Some(own) = otlp::continue_trace(span, parent) {
        return own;
    }
    let _ = span;
    parent.map_or_else(TraceContext::new, TraceContext::child)
}

/// Exports the span of a request; those that proved nothing are not exported.
pub fn set_proven(span: &Span) {
    #[cfg(feature = "otlp")]
    otlp::set_proven(span);
    #[cfg(not(feature = "otlp"))]
    let _ = span;
}

/// Adds a child to the current span.
pub fn record_past(past: Past<'_>) {
    #[cfg(feature = "otlp")]
    otlp::record_past(past);
    #[cfg(not(feature = "otlp"))]
    let _ = past;
}

/// Exports what is left; waits for some seconds at most.
pub fn finish() {
    #[cfg(feature = "otlp")]
    otlp::finish();
}

//! Traces: the spans of `tracing`, exported over OTLP if built with the feature `otlp`.
//!
//! Every span has the level `ERROR`, so that no `log.level` takes its fields off the lines of the
//! log.

use std::time::Duration;

use tracing::Span;

use crate::compare::TraceContext;

#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "otlp")]
pub(super) use otlp::layer;

/// Finished work, as a child of a span.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "read by the exporter"))]
pub(crate) struct Past<'a> {
    /// What was done.
    pub(crate) name: &'static str,
    /// How long it took.
    pub(crate) took: Duration,
    /// How long ago it ended.
    pub(crate) ago: Duration,
    /// Further attributes: names and values, no personal data.
    pub(crate) attributes: &'a [(&'static str, &'static str)],
}

/// Whether spans can be exported to this address of OTLP over HTTP, such as
/// `http://collector:4318/v1/traces`. Sends nothing.
///
/// # Errors
/// When the address cannot be used, or the program was built without the export.
pub(crate) fn check(endpoint: &str) -> Result<(), String> {
    #[cfg(feature = "otlp")]
    return otlp::exporter(endpoint).map(drop);
    #[cfg(not(feature = "otlp"))]
    Err(format!(
        "traces.endpoint is {endpoint}, but this program was built without --features otlp"
    ))
}

/// Makes `span` a child of `parent`, or the root of a trace, and returns its context. To be called
/// before the span is entered.
pub(crate) fn continue_trace(span: &Span, parent: Option<TraceContext>) -> TraceContext {
    #[cfg(feature = "otlp")]
    if let Some(own) = otlp::continue_trace(span, parent) {
        return own;
    }
    let _ = span;
    parent.map_or_else(TraceContext::new, TraceContext::child)
}

/// Marks the span of an authenticated request; others are not exported.
pub(crate) fn set_proven(span: &Span) {
    #[cfg(feature = "otlp")]
    otlp::set_proven(span);
    #[cfg(not(feature = "otlp"))]
    let _ = span;
}

/// Adds a child to the current span.
pub(crate) fn record_past(past: Past<'_>) {
    #[cfg(feature = "otlp")]
    otlp::record_past(past);
    #[cfg(not(feature = "otlp"))]
    let _ = past;
}

/// Exports the remaining spans; waits some seconds at most.
pub fn finish() {
    #[cfg(feature = "otlp")]
    otlp::finish();
}

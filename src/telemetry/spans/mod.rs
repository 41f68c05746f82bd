//! Spans: what a request was made of, for whoever collects traces. They are told when they are over, with the ids
//! that went through the queue, and exported by OTLP in programs that were built with the feature `otlp`.

use std::time::Duration;

#[cfg(feature = "otlp")]
mod otlp;

/// Whose work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A request was answered.
    Server,
    /// A job was waiting and then taken.
    Consumer,
    /// A part of something greater.
    Internal,
}

/// A stretch of work that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What was done.
    pub name: &'static str,
    /// Whose work it was.
    pub role: Role,
    /// The trace it belongs to, 16 bytes.
    pub trace_id: u128,
    /// Its own id, 8 bytes.
    pub span_id: u64,
    /// That of what it is a part of; 0 if of nothing.
    pub parent_id: u64,
    /// How long it took.
    pub took: Duration,
    /// How long ago it was over.
    pub ago: Duration,
    /// What else is to be known of it; nothing that is personal.
    pub attributes: Vec<(&'static str, String)>,
}

/// Hands a span to the exporter, if there is one. Never waits: when too many are told they are dropped.
pub fn tell(span: Span) {
    #[cfg(feature = "otlp")]
    otlp::tell(span);
    #[cfg(not(feature = "otlp"))]
    drop(span);
}

/// Whether spans go anywhere, so that nobody makes them for nothing.
pub fn are_wanted() -> bool {
    #[cfg(feature = "otlp")]
    return otlp::is_started();
    #[cfg(not(feature = "otlp"))]
    false
}

/// Begins to export to an address of OTLP over HTTP, such as `http://collector:4318/v1/traces`.
///
/// # Errors
/// A sentence when the program was built without it, or the address cannot be used.
pub fn start(endpoint: &str) -> Result<(), String> {
    #[cfg(feature = "otlp")]
    return otlp::start(endpoint);
    #[cfg(not(feature = "otlp"))]
    Err(format!(
        "traces.endpoint is {endpoint}, but this program was built without --features otlp"
    ))
}

/// Exports what is left; waits for some seconds at most.
pub fn finish() {
    #[cfg(feature = "otlp")]
    otlp::finish();
}

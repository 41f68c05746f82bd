//! The format of log lines: logfmt or JSON, with the fields of all enclosing spans.

use tracing::Subscriber;
use tracing_subscriber::{Layer, fmt::MakeWriter, registry::LookupSpan};

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `key=value`, quoted where there are blanks.
    Logfmt,
    /// One JSON object.
    Json,
}

/// The layer that writes the log. `colours` are for terminals and only for [`Format::Logfmt`].
pub fn layer<S, W>(format: Format, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        Format::Logfmt => Box::new(
            tracing_logfmt::builder()
                .with_span_name(false)
                .with_span_path(false)
                .with_ansi_color(colours)
                .layer()
                .with_writer(writer),
        ),
        Format::Json => Box::new(
            json_subscriber::layer()
                .flatten_event(true)
                .flatten_span_list_on_top_level(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_writer(writer),
        ),
    }
}

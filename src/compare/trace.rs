//! W3C Trace Context: the name under which a caller finds its request again in the logs and traces
//! of all who had a part in it. Stored with the job, so that it leads from the request to the
//! comparison.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A trace, and the span in it that the request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of the form 00-TRACE-SPAN-FLAGS")]
pub struct NoTraceContext;

impl TraceContext {
    /// A trace of its own, for a request that came with none.
    pub(crate) fn new() -> Self {
        let (trace_id, span_id) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        Self { trace_id: trace_id.as_u128(), span_id: span_id.as_u64_pair().0, sampled: true }
    }

    /// With these ids; `None` if one of them is 0.
    #[cfg(feature = "otlp")]
    pub(crate) fn from_ids(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled })
    }

    /// The same trace, with a new span of this process.
    #[must_use]
    pub(crate) fn child(self) -> Self {
        Self { span_id: uuid::Uuid::new_v4().as_u64_pair().0, ..self }
    }

    /// The trace, 16 bytes.
    pub fn trace_id(self) -> u128 {
        self.trace_id
    }

    /// The span, 8 bytes.
    pub fn span_id(self) -> u64 {
        self.span_id
    }

    /// Whether the caller records it.
    #[cfg(any(feature = "otlp", test))]
    pub(crate) fn is_sampled(self) -> bool {
        self.sampled
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// Strict in what comes first, as the recommendation demands; a later version may have more
    /// parts.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let part = |from: usize, to: usize| {
            let digits = text.get(from..to).ok_or(NoTraceContext)?;
            let is_lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            digits.bytes().all(is_lower_hex).then_some(digits).ok_or(NoTraceContext)
        };
        let number = |digits: &str| u128::from_str_radix(digits, 16).map_err(|_| NoTraceContext);
        let dashes = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        let version = part(0, 2)?;
        let ends = match (version, text.as_bytes().get(55)) {
            ("ff", _) => false,
            ("00", more) => more.is_none(),
            (_, more) => more.is_none_or(|next| *next == b'-'),
        };
        let (trace_id, flags) = (number(part(3, 35)?)?, number(part(53, 55)?)?);
        let span_id = u64::from_str_radix(part(36, 52)?, 16).map_err(|_| NoTraceContext)?;
        if !dashes || !ends || trace_id == 0 || span_id == 0 {
            return Err(NoTraceContext);
        }
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

impl From<TraceContext> for String {
    fn from(trace: TraceContext) -> Self {
        trace.to_string()
    }
}

impl TryFrom<String> for TraceContext {
    type Error = NoTraceContext;

    fn try_from(text: String) -> Result<Self, NoTraceContext> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        let trace: TraceContext = TEXT.parse().unwrap();
        assert!(trace.is_sampled());
        assert_eq!(trace.to_string(), TEXT);
        let child = trace.child();
        assert_eq!(child.trace_id(), trace.trace_id());
        assert_ne!(child.span_id(), trace.span_id());
        let made = TraceContext::new();
        assert_eq!(made.to_string().parse(), Ok(made));
    }

    #[test]
    fn a_later_version_may_have_more_and_nothing_else_is_taken() {
        assert!(TEXT.replacen("00", "cc", 1).parse::<TraceContext>().is_ok());
        assert!(format!("{}-more", TEXT.replacen("00", "cc", 1)).parse::<TraceContext>().is_ok());
        for wrong in [
            "",
            "00",
            &format!("{TEXT}-more"),
            &TEXT.replacen("00", "ff", 1),
            &TEXT.to_uppercase(),
            &TEXT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &TEXT.replace("b7ad6b7169203331", &"0".repeat(16)),
            &TEXT.replace('-', "_"),
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(NoTraceContext), "{wrong}");
        }
    }
}

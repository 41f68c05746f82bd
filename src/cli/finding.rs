//! The findings of `visavis check`.

use anyhow::Result;

/// One line of its output.
#[derive(serde::Serialize)]
pub(super) struct Finding {
    what: &'static str,
    pub(super) ok: bool,
    /// Works, but should be changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warning: bool,
    detail: String,
}

impl Finding {
    /// `Err` prevents a start.
    pub(super) fn new(what: &'static str, result: Result<String>) -> Self {
        let (ok, detail) = match result {
            Ok(detail) => (true, detail),
            Err(error) => (false, format!("{error:#}")),
        };
        Self { what, ok, warning: false, detail }
    }

    /// Does not prevent a start, but should be changed.
    pub(super) fn warning(what: &'static str, detail: String) -> Self {
        Self { what, ok: true, warning: true, detail }
    }

    /// The finding as text.
    pub(super) fn line(&self) -> String {
        let label = match (self.ok, self.warning) {
            (false, _) => "FAIL",
            (true, true) => "WARN",
            (true, false) => "ok",
        };
        format!("{label:<4} {}: {}", self.what, self.detail)
    }
}

//! What `visavis check` finds.

use anyhow::Result;

/// One of its lines.
#[derive(serde::Serialize)]
pub(super) struct Finding {
    what: &'static str,
    pub(super) ok: bool,
    /// Not wrong, and better otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warning: bool,
    detail: String,
}

impl Finding {
    /// `Err` is what prevents a start.
    pub(super) fn new(what: &'static str, result: Result<String>) -> Self {
        let (ok, detail) = match result {
            Ok(detail) => (true, detail),
            Err(error) => (false, format!("{error:#}")),
        };
        Self { what, ok, warning: false, detail }
    }

    /// What a start works with, though it should be changed.
    pub(super) fn warning(what: &'static str, detail: String) -> Self {
        Self { what, ok: true, warning: true, detail }
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let label = match (self.ok, self.warning) {
            (false, _) => "FAIL",
            (true, true) => "WARN",
            (true, false) => "ok",
        };
        format!("{label:<4} {}: {}", self.what, self.detail)
    }
}

//! Which entries of the audit are listed, and how they are shown to operators.

use std::{collections::HashMap, fmt, fmt::Write as _, str::FromStr};

use serde::Serialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::audit::AuditEntry;
use crate::{clock::UnixMillis, csv};

/// Entries that match all of the given values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// The Client-Id of the client that was changed, or whose transactions were erased.
    pub client_id: Option<String>,
    /// The first time, milliseconds since the epoch.
    pub since: Option<UnixMillis>,
    /// The end, which is not included.
    pub until: Option<UnixMillis>,
    /// What was done, such as `client add`.
    pub act: Option<String>,
    /// How the name of the actor begins.
    pub who: Option<String>,
}

/// The place of an entry in the list of all databases: newest first, then by database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor {
    pub(super) at: UnixMillis,
    pub(super) shard: u32,
    pub(super) id: i64,
}

/// A part of the list.
#[derive(Debug)]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins, if there may be one.
    pub(crate) next: Option<AuditCursor>,
}

impl AuditCursor {
    /// The highest time of entries of a database after this place, and the id below which those of
    /// just that time are.
    pub(super) fn end_in(self, shard: u32) -> (UnixMillis, i64) {
        let below = match shard.cmp(&self.shard) {
            std::cmp::Ordering::Less => i64::MIN,
            std::cmp::Ordering::Equal => self.id,
            std::cmp::Ordering::Greater => i64::MAX,
        };
        (self.at, below)
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at, self.shard, self.id)
    }
}

impl FromStr for AuditCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(());
        let (at, shard, id) = (part()?, part()?, part()?);
        let number = |text: &str| text.parse().map_err(|_| ());
        let cursor =
            Self { at: number(at)?, shard: shard.parse().map_err(|_| ())?, id: number(id)? };
        if parts.next().is_none() { Ok(cursor) } else { Err(()) }
    }
}

/// An entry with its time and details in readable form, and the name of its client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownEntry<'a> {
    /// RFC 3339, UTC.
    pub(crate) time: String,
    #[serde(flatten)]
    pub(crate) entry: &'a AuditEntry,
    /// The name of the client in `subject`, if it is registered.
    pub(crate) client_name: Option<&'a str>,
    /// What was changed; replaces the text of the entry.
    pub(crate) detail: Value,
}

impl<'a> ShownEntry<'a> {
    /// `names`: the names of the clients, by Client-Id.
    pub(crate) fn new(entry: &'a AuditEntry, names: &'a HashMap<String, String>) -> Self {
        let client_id = entry.subject.strip_prefix("client ").unwrap_or(&entry.subject);
        Self {
            time: iso_time(entry.at),
            entry,
            client_name: names.get(client_id).map(String::as_str),
            detail: readable(&entry.detail),
        }
    }

    /// The details in one line: `fmr=0.0001 extras=true`.
    pub(crate) fn detail_text(&self) -> String {
        let mut text = String::new();
        write_detail(&mut text, &self.detail);
        text
    }
}

/// RFC 3339 in UTC, as `2026-01-31T12:00:00.123Z`.
pub(crate) fn iso_time(at: UnixMillis) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| at.to_string())
}

/// The details as a value. Earlier versions stored the policy of a client as JSON in a text.
fn readable(detail: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(detail) else { return detail.into() };
    if let Some(policy) = value.get_mut("terms")
        && let Some(parsed) = policy.as_str().and_then(|text| serde_json::from_str(text).ok())
    {
        *policy = parsed;
    }
    value
}

fn write_detail(text: &mut String, value: &Value) {
    let Value::Object(fields) = value else {
        text.push_str(value.as_str().unwrap_or(&value.to_string()));
        return;
    };
    for (name, value) in fields {
        if value.is_object() {
            write_detail(text, value);
        } else if !value.is_null() {
            let separator = if text.is_empty() { "" } else { " " };
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // Into a string nothing fails.
            let _ = write!(text, "{separator}{name}={value}");
        }
    }
}

/// The entries as CSV (RFC 4180) with a line of names.
pub(crate) fn audit_csv(entries: &[ShownEntry<'_>]) -> String {
    let mut table = "time,at,who,from,proof,act,subject,client,outcome,detail\r\n".to_owned();
    for shown in entries {
        let entry = shown.entry;
        let (at, detail) = (entry.at.to_string(), shown.detail_text());
        table.push_str(&csv::line([
            &shown.time,
            &at,
            &entry.actor,
            entry.from.as_deref().unwrap_or_default(),
            entry.proof.as_deref().unwrap_or_default(),
            &entry.act,
            &entry.subject,
            shown.client_name.unwrap_or_default(),
            entry.outcome.as_deref().unwrap_or_default(),
            &detail,
        ]));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_this_and_of_earlier_versions_are_readable() {
        for detail in [
            r#"{"name":"app","fmr":null,"terms":{"ratePerS":5}}"#,
            r#"{"name":"app","fmr":null,"terms":"{\"ratePerS\":5}"}"#,
        ] {
            let value = readable(detail);
            assert_eq!(value["terms"]["ratePerS"], 5, "{detail}");
            let mut text = String::new();
            write_detail(&mut text, &value);
            assert_eq!(text, "name=app ratePerS=5");
        }
        assert_eq!(readable("no JSON"), "no JSON");
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = AuditCursor { at: -1, shard: 2, id: 3 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.-2.3", "a.b.c"] {
            assert_eq!(wrong.parse::<AuditCursor>(), Err(()), "{wrong}");
        }
        assert_eq!(cursor.end_in(1), (-1, i64::MIN));
        assert_eq!(cursor.end_in(2), (-1, 3));
        assert_eq!(cursor.end_in(3), (-1, i64::MAX));
    }

    #[test]
    fn a_time_is_shown_with_its_zone() {
        assert_eq!(iso_time(1_767_225_600_000), "2026-01-01T00:00:00Z");
    }
}

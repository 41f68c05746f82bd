//! The audit of clients, keys and transactions, as `visavis audit` lists it.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{
    Shared,
    api::{JsonBody, NoStoreJson},
    error::ConsoleError,
};
use crate::{
    clients::{AuditEntry, AuditFilter, AuditPage, ShownEntry, audit_csv},
    clock::UnixMillis,
};

/// Entries of one page.
const PAGE_ENTRIES: u32 = 50;
/// Entries of one file.
const CSV_ENTRIES: u32 = 10_000;

/// Which entries are asked for; empty fields are no condition.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct AuditForm {
    /// Name or Client-Id.
    client: String,
    act: String,
    /// How the name of the actor begins.
    who: String,
    since: Option<UnixMillis>,
    /// Not included.
    until: Option<UnixMillis>,
    /// `next` of the page before.
    after: Option<String>,
    /// Whether all entries come as CSV.
    csv: bool,
}

/// A page of the audit, or a file with more of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedAudit {
    entries: Vec<PageEntry>,
    /// Where the next page begins, if there may be one.
    next: Option<String>,
    csv: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageEntry {
    #[serde(flatten)]
    entry: AuditEntry,
    client_name: Option<String>,
    /// The details in one line.
    detail: String,
}

pub(super) async fn audit(
    State(console): State<Shared>,
    JsonBody(form): JsonBody<AuditForm>,
) -> Result<NoStoreJson<ListedAudit>, ConsoleError> {
    let clients = &console.parts.clients;
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let client_id = match given(&form.client) {
        None => None,
        Some(name) => Some(clients.audited_client_id(&name).await?),
    };
    let (act, who, since, until) = (given(&form.act), given(&form.who), form.since, form.until);
    let filter = AuditFilter { client_id, since, until, act, who };
    let after = form.after.map(|after| after.parse().map_err(|()| ConsoleError::Malformed));
    let limit = if form.csv { CSV_ENTRIES } else { PAGE_ENTRIES };
    let AuditPage { entries, next } = clients.audit(&filter, after.transpose()?, limit).await?;
    let names = clients.names().await?;
    let shown: Vec<_> = entries.iter().map(|entry| ShownEntry::new(entry, &names)).collect();
    if form.csv {
        let csv = Some(audit_csv(&shown));
        return Ok(NoStoreJson(ListedAudit { entries: Vec::new(), next: None, csv }));
    }
    let entry = |shown: &ShownEntry<'_>| PageEntry {
        entry: shown.entry.clone(),
        client_name: shown.client_name.map(str::to_owned),
        detail: shown.detail_text(),
    };
    let (entries, next) = (shown.iter().map(entry).collect(), next.map(|next| next.to_string()));
    Ok(NoStoreJson(ListedAudit { entries, next, csv: None }))
}

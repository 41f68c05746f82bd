//! The transactions of all clients: a list with filters, and one of them.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use axum::{
    Extension,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    Shared,
    access::Login,
    api::{JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    compare::ShownOutcome,
    error::ConsoleError,
};
use crate::{
    clients::iso_time,
    clock::UnixMillis,
    compare::{BizId, Outcome, Place, TransactionId, Verdict},
    csv,
    queue::{History, LISTED_AT_ONCE, Shard, ShardLookup, TransactionState},
};

/// Rows of a page.
const PAGE_ROWS: usize = 50;
/// Rows of a CSV file.
const CSV_ROWS: usize = 10_000;
/// The first line of that file.
const HEADS: &str = "transaction,accepted,ended,clientId,client,state,resultCode,verdict,score\r\n";
/// Statements of one request: with few rows that match, a page may come out short, and the next one
/// goes on from there.
const MAX_STATEMENTS: usize = 20;

/// Which transactions are listed: those that match all of the given values. It comes in a body,
/// because proxies log addresses, and a tracing id may be personal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Filter {
    /// A Client-Id.
    client: Option<String>,
    biz_id: Option<String>,
    /// Accepted at this time or later.
    since: Option<UnixMillis>,
    /// Accepted before this time.
    until: Option<UnixMillis>,
    code: Option<ResultCode>,
    verdict: Option<ShownVerdict>,
    /// Compared, with this score or a higher one.
    score_from: Option<f64>,
    /// Compared, with this score or a lower one.
    score_to: Option<f64>,
    /// Where an earlier page ended.
    before: Option<String>,
}

/// The result code that the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ResultCode {
    Success,
    UnableGetImage,
    SystemError,
    Processing,
}

/// What a comparison showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ShownVerdict {
    Same,
    Different,
    /// A photo fails the quality check.
    Unreliable,
}

/// A transaction in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    transaction_id: TransactionId,
    client_id: String,
    client_name: Option<String>,
    state: &'static str,
    code: ResultCode,
    verdict: Option<ShownVerdict>,
    score: Option<f64>,
    created_at: UnixMillis,
    finished_at: Option<UnixMillis>,
}

/// A page of the list, the newest transaction first.
#[derive(Debug, Serialize)]
pub(super) struct ListPage {
    transactions: Vec<Listed>,
    /// Where the next page begins; `null` at the end.
    next: Option<Place>,
}

pub(super) async fn list(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    JsonBody(filter): JsonBody<Filter>,
) -> Result<NoStoreJson<ListPage>, ConsoleError> {
    audit(login.name(), &AuditEvent::TransactionsListed);
    Ok(NoStoreJson(filter.page(&console, PAGE_ROWS).await?))
}

/// The list for spreadsheets.
#[derive(Serialize)]
pub(super) struct Csv {
    csv: String,
}

/// The list as a table for spreadsheets, up to [`CSV_ROWS`].
pub(super) async fn export(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    JsonBody(filter): JsonBody<Filter>,
) -> Result<NoStoreJson<Csv>, ConsoleError> {
    audit(login.name(), &AuditEvent::TransactionsExported);
    let page = filter.page(&console, CSV_ROWS).await?;
    let mut csv = HEADS.to_owned();
    for row in &page.transactions {
        csv.push_str(&row.csv_line());
    }
    Ok(NoStoreJson(Csv { csv }))
}

impl Filter {
    async fn page(&self, console: &Shared, rows: usize) -> Result<ListPage, ConsoleError> {
        let biz_id = match &self.biz_id {
            Some(text) => Some(BizId::new(text).ok_or(ConsoleError::Malformed)?),
            None => None,
        };
        let range = self.range()?;
        let names = console.parts.clients.names().await?;
        let shards = console.parts.app.shards.iter();
        let mut shards: Vec<_> =
            shards.map(|shard| Newest::before(shard, range.clone(), biz_id.as_ref())).collect();
        let mut transactions = Vec::new();
        let mut next = None;
        let mut statements = 0;
        loop {
            for shard in shards.iter_mut().filter(|shard| shard.needs_rows()) {
                if statements == MAX_STATEMENTS {
                    return Ok(ListPage { transactions, next });
                }
                statements += 1;
                shard.fetch().await?;
            }
            let newest = shards.iter_mut().max_by_key(|shard| shard.place());
            let Some((id, history)) = newest.and_then(|shard| shard.rows.pop_front()) else {
                return Ok(ListPage { transactions, next: None });
            };
            next = Some(id.place());
            let listed = Listed::new(id, &history, &names);
            if self.matches(&listed) {
                transactions.push(listed);
            }
            if transactions.len() == rows {
                return Ok(ListPage { transactions, next });
            }
        }
    }

    fn range(&self) -> Result<Range<Place>, ConsoleError> {
        let time = |millis: UnixMillis| {
            time_of(millis).map(Place::start_of).map_err(|_| ConsoleError::Malformed)
        };
        let start = time(self.since.unwrap_or_default())?;
        let end = self.until.map_or_else(|| Ok(Place::end()), time)?;
        let Some(before) = &self.before else { return Ok(start..end) };
        let before = Place::parse(before).ok_or(ConsoleError::Malformed)?;
        Ok(start..end.min(before))
    }

    fn matches(&self, listed: &Listed) -> bool {
        let Self { client, code, verdict, score_from, score_to, .. } = self;
        client.as_ref().is_none_or(|id| *id == listed.client_id)
            && code.is_none_or(|code| code == listed.code)
            && verdict.is_none_or(|verdict| Some(verdict) == listed.verdict)
            && score_from.is_none_or(|from| listed.score.is_some_and(|score| score >= from))
            && score_to.is_none_or(|to| listed.score.is_some_and(|score| score <= to))
    }
}

/// The transactions of a database in a range, from the newest on.
struct Newest<'a> {
    shard: &'a Shard,
    range: Range<Place>,
    biz_id: Option<&'a BizId>,
    rows: VecDeque<(TransactionId, History)>,
    has_more: bool,
}

impl<'a> Newest<'a> {
    fn before(shard: &'a Shard, range: Range<Place>, biz_id: Option<&'a BizId>) -> Self {
        Self { shard, range, biz_id, rows: VecDeque::new(), has_more: true }
    }

    fn needs_rows(&self) -> bool {
        self.rows.is_empty() && self.has_more
    }

    async fn fetch(&mut self) -> Result<(), ConsoleError> {
        let Self { shard, range, biz_id, .. } = self;
        let rows = shard.store.list(shard.number, &range.start..&range.end, *biz_id).await?;
        self.has_more = rows.len() == usize::from(LISTED_AT_ONCE);
        if let Some((last, _)) = rows.last() {
            self.range.end = last.place();
        }
        self.rows = rows.into();
        Ok(())
    }

    /// The place of its next row.
    fn place(&self) -> Option<Place> {
        self.rows.front().map(|(id, _)| id.place())
    }
}

impl Listed {
    fn new(
        transaction_id: TransactionId,
        history: &History,
        names: &HashMap<String, String>,
    ) -> Self {
        let (code, verdict, score) = match &history.state {
            TransactionState::Processing => (ResultCode::Processing, None, None),
            TransactionState::Dead => (ResultCode::SystemError, None, None),
            TransactionState::Done(outcome) => match outcome.as_ref() {
                Outcome::Refused { .. } => (ResultCode::UnableGetImage, None, None),
                Outcome::Compared(verdict) => {
                    let score = verdict.score.value();
                    (ResultCode::Success, Some(ShownVerdict::of(verdict)), Some(score))
                }
            },
        };
        Self {
            transaction_id,
            client_id: history.client_id.clone(),
            client_name: names.get(&history.client_id).cloned(),
            state: state(history),
            code,
            verdict,
            score,
            created_at: history.created_at,
            finished_at: history.finished_at,
        }
    }

    /// Its line of the file.
    fn csv_line(&self) -> String {
        csv::line([
            self.transaction_id.as_str(),
            &iso_time(self.created_at),
            &self.finished_at.map(iso_time).unwrap_or_default(),
            &self.client_id,
            self.client_name.as_deref().unwrap_or_default(),
            self.state,
            &word(&self.code),
            &self.verdict.as_ref().map(word).unwrap_or_default(),
            &self.score.map(|score| score.to_string()).unwrap_or_default(),
        ])
    }
}

impl ShownVerdict {
    fn of(verdict: &Verdict) -> Self {
        match (verdict.unreliable(), verdict.same_person()) {
            (Some(_), _) => Self::Unreliable,
            (None, true) => Self::Same,
            (None, false) => Self::Different,
        }
    }
}

/// A value in the word that JSON has for it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn time_of(millis: UnixMillis) -> Result<OffsetDateTime, time::error::ComponentRange> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
}

fn state(history: &History) -> &'static str {
    match &history.state {
        TransactionState::Processing if history.running => "running",
        TransactionState::Processing => "queued",
        TransactionState::Dead => "dead",
        TransactionState::Done(_) => "done",
    }
}

/// A transaction, as the page shows it: without pictures and without the tracing id of the client.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownTransaction {
    transaction_id: String,
    client_id: String,
    client_name: Option<String>,
    shard: u32,
    state: &'static str,
    attempts: u32,
    created_at: UnixMillis,
    started_at: Option<UnixMillis>,
    finished_at: Option<UnixMillis>,
    outcome: Option<ShownOutcome>,
}

pub(super) async fn transaction(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<ShownTransaction>, ConsoleError> {
    let id = TransactionId::parse(id.trim()).ok_or(ConsoleError::UnknownTransaction)?;
    let shard = match console.parts.app.shards.find(id.shard()) {
        ShardLookup::Here(shard) => shard,
        ShardLookup::Elsewhere => return Err(ConsoleError::OtherDatabase),
        ShardLookup::Unknown => return Err(ConsoleError::UnknownTransaction),
    };
    let history = shard.store.history(&id).await?.ok_or(ConsoleError::UnknownTransaction)?;
    audit(login.name(), &AuditEvent::TransactionRead { transaction: id.as_str() });
    let names = console.parts.clients.names().await?;
    let outcome = match &history.state {
        TransactionState::Done(outcome) => Some(outcome.as_ref()),
        TransactionState::Processing | TransactionState::Dead => None,
    };
    let (kind, limits) = (history.reference_kind, &console.parts.limits);
    Ok(NoStoreJson(ShownTransaction {
        transaction_id: id.to_string(),
        client_name: names.get(&history.client_id).cloned(),
        shard: shard.number,
        state: state(&history),
        outcome: outcome.map(|outcome| ShownOutcome::new(outcome, kind, limits)),
        attempts: history.attempts,
        created_at: history.created_at,
        started_at: history.started_at,
        finished_at: history.finished_at,
        client_id: history.client_id,
    }))
}

//! A ledger that the database itself writes, not the code under test: triggers append every change
//! of a job with the process that made it. The process that receives acknowledgements stores them.

mod postgres;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

pub use postgres::{PostgresBooks, remove_token_check};
pub use sqlite::SqliteBooks;

/// A change of a job, in the order of its changes.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub job_id: i64,
    pub transaction_id: String,
    /// The process whose session made the change.
    pub process: i64,
    /// -1 for a new job.
    pub old_state: i64,
    /// -1 for a deleted job.
    pub new_state: i64,
    pub old_attempt: i64,
    pub new_attempt: i64,
    pub old_token: i64,
    pub new_token: i64,
}

impl<'r, R: Row> FromRow<'r, R> for Entry
where
    &'static str: ColumnIndex<R>,
    i64: Type<R::Database> + Decode<'r, R::Database>,
    String: Type<R::Database> + Decode<'r, R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            job_id: row.try_get("job_id")?,
            transaction_id: row.try_get("transaction_id")?,
            process: row.try_get("process")?,
            old_state: row.try_get("old_state")?,
            new_state: row.try_get("new_state")?,
            old_attempt: row.try_get("old_attempt")?,
            new_attempt: row.try_get("new_attempt")?,
            old_token: row.try_get("old_token")?,
            new_token: row.try_get("new_token")?,
        })
    }
}

/// Acknowledgements as they were heard: number of the request, transaction id.
pub type Acknowledged = BTreeMap<u64, String>;

/// The audit of a run. The first part must be 0 throughout.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Acknowledged, and not done with an outcome.
    pub lost: u64,
    /// One request, more than one job.
    pub stored_twice: u64,
    /// Jobs ended more than once, or changed after their end.
    pub finished_twice: u64,
    /// Changes by a process that does not hold the job.
    pub stale: u64,
    /// Claims that did not raise the token by one.
    pub unfenced: u64,
    /// Pairs of pictures in the database.
    pub pictures: u64,
    /// Jobs not at their end three leases after the last disturbance.
    pub late: u64,
    /// What processes heard from the store and must not hear: see [`crate::roles`].
    pub complaints: Vec<String>,

    pub jobs: u64,
    pub claims: u64,
    /// Claims of a job that another process was working on.
    pub takeovers: u64,
}

impl Audit {
    /// Reads all changes, in their order for each job.
    pub fn of(entries: &[Entry], acknowledged: &Acknowledged, requests: u64) -> Self {
        let mut audit = Self::default();
        let mut done = BTreeSet::new();
        for history in entries.chunk_by(|a, b| a.job_id == b.job_id) {
            audit.jobs += 1;
            audit.read(history);
            if let Some(last) = history.last().filter(|last| last.new_state == DONE) {
                done.insert(last.transaction_id.as_str());
            }
        }
        let lost = acknowledged.values().filter(|id| !done.contains(id.as_str()));
        audit.lost = count(lost);
        audit.stored_twice = audit.jobs.saturating_sub(requests);
        audit
    }

    fn read(&mut self, history: &[Entry]) {
        let (mut holder, mut ends) = (None, 0);
        for entry in history.iter().filter(|entry| entry.old_state != ABSENT) {
            if ENDED.contains(&entry.old_state) {
                self.finished_twice += 1;
            }
            if entry.new_attempt > entry.old_attempt {
                self.claims += 1;
                self.unfenced += u64::from(entry.new_token != entry.old_token + 1);
                self.takeovers += u64::from(entry.old_state == RUNNING);
                holder = Some(entry.process);
            } else if holder != Some(entry.process) {
                self.stale += 1;
            }
            ends += u64::from(ENDED.contains(&entry.new_state));
        }
        self.finished_twice += u64::from(ends > 1);
    }

    /// What must be 0, by name.
    pub fn wrongs(&self) -> [(&'static str, u64); 8] {
        [
            ("acknowledged and lost", self.lost),
            ("stored twice", self.stored_twice),
            ("finished twice", self.finished_twice),
            ("stale writes accepted", self.stale),
            ("claims without a new token", self.unfenced),
            ("payload rows left", self.pictures),
            ("not terminal within three leases", self.late),
            ("wrong responses of the store", count(&self.complaints)),
        ]
    }

    /// Everything that went wrong, in one line each.
    pub fn failures(&self) -> Vec<String> {
        let wrong = self.wrongs().into_iter().filter(|(_, count)| *count > 0);
        wrong
            .map(|(name, count)| format!("{name}: {count}"))
            .chain(self.complaints.iter().take(10).cloned())
            .collect()
    }
}

const ABSENT: i64 = -1;
const RUNNING: i64 = 1;
const DONE: i64 = 2;
/// Done, dead, and gone.
const ENDED: [i64; 3] = [DONE, 3, ABSENT];

fn count<T>(of: impl IntoIterator<Item = T>) -> u64 {
    u64::try_from(of.into_iter().count()).unwrap_or(u64::MAX)
}

/// The audit itself is tried on histories that were made up.
pub fn every_wrong_is_seen_in_a_made_up_history() -> Vec<String> {
    let stored =
        Entry { transaction_id: "G1".to_owned(), job_id: 1, old_state: ABSENT, ..Entry::default() };
    let claim = |process, token| Entry {
        process,
        old_state: i64::from(token > 1),
        new_state: RUNNING,
        old_attempt: token - 1,
        new_attempt: token,
        old_token: token - 1,
        new_token: token,
        ..stored.clone()
    };
    let change =
        |process, old_state, new_state| Entry { process, old_state, new_state, ..stored.clone() };
    let good = vec![stored.clone(), claim(1, 1), claim(2, 2), change(2, 1, DONE)];
    let with = |more: &[Entry]| [good.as_slice(), more].concat();
    let other = Entry { job_id: 2, transaction_id: "G2".to_owned(), ..stored.clone() };
    let stale_end = [stored.clone(), claim(1, 1), claim(2, 2), change(1, 1, DONE)];
    let stale_renewal = [&good[..3], &[change(1, 1, 1)], &good[3..]].concat();
    let unfenced = Entry { new_token: 1, ..claim(2, 2) };
    let cases: [(&str, Vec<Entry>, [u64; 5]); 9] = [
        ("nothing wrong", good.clone(), [0, 0, 0, 0, 0]),
        ("never stored", Vec::new(), [1, 0, 0, 0, 0]),
        ("never finished", good[..3].to_vec(), [1, 0, 0, 0, 0]),
        ("given up", [&good[..3], &[change(2, 1, 3)]].concat(), [1, 0, 0, 0, 0]),
        ("stored twice", with(&[other]), [0, 1, 0, 0, 0]),
        ("changed after its end", with(&[change(2, DONE, DONE)]), [0, 0, 2, 0, 0]),
        ("ended by the wrong one", stale_end.to_vec(), [0, 0, 0, 1, 0]),
        ("renewed by the wrong one", stale_renewal, [0, 0, 0, 1, 0]),
        (
            "no new token",
            vec![stored.clone(), claim(1, 1), unfenced, change(2, 1, DONE)],
            [0, 0, 0, 0, 1],
        ),
    ];
    let acknowledged = Acknowledged::from([(1, "G1".to_owned())]);
    let mut failures = Vec::new();
    for (name, history, expected) in cases {
        let audit = Audit::of(&history, &acknowledged, 1);
        let found =
            [audit.lost, audit.stored_twice, audit.finished_twice, audit.stale, audit.unfenced];
        if found != expected {
            failures.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }
    failures
}

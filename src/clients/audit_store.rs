//! The stored audit: adding events, reading them, verifying the chain.

use sqlx::Error;

use super::{
    audit::{ActOutcome, AuditEntry},
    audit_filter::AuditFilter,
    chain::{AuditBreak, AuditEnd, Beginning, Followed, Head, Link},
    error::ClientError,
    store::ClientStore,
};
use crate::{
    clock::UnixMillis,
    db::{Attempt, Row, Statement, Transaction},
    sealing::{MasterKey, SealError},
};

/// Entries read by one statement.
const BATCH: i64 = 1_000;
const LINKS: &str = "\
    SELECT id, number, digest, at, actor, address, proof, act, subject, outcome, detail FROM audit
    WHERE id > $1 ORDER BY id LIMIT $2";

/// Entries by the column that an index has first; `at + 0` keeps the index on the time from being
/// used.
macro_rules! entries {
    ($first:literal) => {
        entries!($first, "at")
    };
    ($first:literal, $at:literal) => {
        concat!(
            "SELECT id, at, actor, address, proof, act, subject, outcome, detail FROM audit
             WHERE ",
            $first,
            " AND ",
            $at,
            " >= $1 AND ",
            $at,
            r#" <= $2 AND (at < $2 OR id < $3)
                 AND ($4 IS NULL OR subject IN ($4, 'client ' || $4))
                 AND ($5 IS NULL OR act = $5)
                 AND ($6 IS NULL OR (actor COLLATE "C" >= $6 AND actor COLLATE "C" < $7))
             ORDER BY "#,
            $at,
            " DESC, id DESC LIMIT $8"
        )
    };
}

impl ClientStore {
    /// Records an audit event that is not a change of a client.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn record_audit_event(
        &self,
        act: &'static str,
        subject: &str,
        outcome: ActOutcome,
        detail: &serde_json::Value,
    ) -> Result<(), ClientError> {
        let entry = self.audit_entry(act, subject, detail.to_string()).with_outcome(outcome);
        self.record(&entry).await
    }

    /// Records a change of a client that was not made: one that was made has its entry.
    pub(super) async fn record_unmade<T>(
        &self,
        (act, subject): (&str, &str),
        made: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let Err(error) = &made else { return made };
        let outcome = error.outcome();
        let detail = match outcome {
            ActOutcome::Refused => serde_json::json!({ "reason": error.to_string() }),
            _ => serde_json::json!({}),
        };
        let entry = self.audit_entry(act, subject, detail.to_string()).with_outcome(outcome);
        if let Err(error) = self.record(&entry).await {
            tracing::warn!(act, %error, "cannot write into the audit what was not done");
        }
        made
    }

    async fn record(&self, entry: &AuditEntry) -> Result<(), ClientError> {
        let noted = self.db.once("audit_note", |attempt| async move {
            let mut tx = attempt.begin().await?;
            append(&mut tx, entry, &self.key).await?;
            tx.commit().await
        });
        Ok(noted.await?)
    }

    /// Entries in this database with their ids, newest first: at most `limit`, none later than
    /// `end`, and of just that time only those with a lower id.
    pub(super) async fn list_audit(
        &self,
        filter: &AuditFilter,
        end: (UnixMillis, i64),
        limit: u32,
    ) -> Result<Vec<(i64, AuditEntry)>, Error> {
        // By the index of what is most selective.
        let entries = if filter.client_id.is_some() {
            self.db.read("audit_of_client", entries!("subject IN ($4, 'client ' || $4)"))
        } else if filter.who.is_some() {
            let begins =
                entries!(r#"actor COLLATE "C" >= $6 AND actor COLLATE "C" < $7"#, "at + 0");
            self.db.read("audit_of_actor", begins)
        } else if filter.act.is_some() {
            self.db.read("audit_of_act", entries!("act = $5"))
        } else {
            self.db.read("audit", entries!("at >= $1"))
        };
        // No text that begins with a name sorts after the name with the last character.
        let last = filter.who.as_ref().map(|who| format!("{who}\u{10FFFF}"));
        let entries = entries
            .bind(filter.since.unwrap_or(i64::MIN))
            .bind(end.0)
            .bind(end.1)
            .bind(filter.client_id.as_deref())
            .bind(filter.act.as_deref())
            .bind(filter.who.as_deref())
            .bind(last.as_deref())
            .bind(i64::from(limit));
        entries.all(|row| Ok((row.get("id")?, AuditEntry::read(row)?))).await
    }

    /// Begins the chain over what the audit has, if it has none.
    pub(super) async fn begin_chain(&self) -> Result<(), ClientError> {
        let begin = |attempt| self.try_to_begin(attempt);
        Ok(self.db.retrying("audit_begin", begin).await?)
    }

    /// Follows the audit of this database from its first entry to its head.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn verify_audit(&self) -> Result<Result<AuditEnd, AuditBreak>, ClientError> {
        let mut at = Followed::new();
        loop {
            let before = at.after;
            loop {
                let links = self.db.read("audit_links", LINKS).bind(at.after).bind(BATCH);
                let links = links.all(Link::read).await?;
                for link in &links {
                    if let Err(broken) = at.follow(link) {
                        return Ok(Err(broken));
                    }
                }
                if links.is_empty() {
                    break;
                }
            }
            // Read last: what is added meanwhile moves it on.
            let Some(head) = self.head().await? else { return Ok(Err(AuditBreak::NoHead)) };
            if head.number > at.number && at.after > before {
                continue;
            }
            return Ok(if head.number > at.number {
                Err(AuditBreak::EndsAfter(at.number))
            } else if head.digest != at.digest || !head.holds(&self.key) {
                Err(AuditBreak::Head(head.number))
            } else {
                Ok(AuditEnd { number: at.number, digest: hex::encode(&at.digest) })
            });
        }
    }

    /// Numbers and digests of the entries after the one with this number, for the log; without a
    /// number, of the last one alone.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn audit_ends(&self, after: Option<i64>) -> Result<Vec<AuditEnd>, ClientError> {
        let ends = if let Some(after) = after {
            let digests = self.db.read(
                "audit_digests",
                "SELECT number, digest FROM audit WHERE number > $1 AND digest IS NOT NULL
                 ORDER BY number LIMIT $2",
            );
            let digests = digests.bind(after).bind(BATCH);
            digests.all(|row| Ok((row.get("number")?, row.get("digest")?))).await?
        } else {
            let head = self.head().await?;
            head.map(|head| (head.number, head.digest)).into_iter().collect()
        };
        let end =
            |(number, digest): (i64, Vec<u8>)| AuditEnd { number, digest: hex::encode(&digest) };
        Ok(ends.into_iter().map(end).collect())
    }

    /// Computes the MAC of the head again under the current master key. With `dry` it only tries
    /// whether it holds with that key alone. One that holds under no key stays as it is.
    pub(super) async fn restamp_head(&self, dry: bool) -> Result<(), ClientError> {
        if !dry {
            let restamp = |attempt| self.try_to_restamp(attempt);
            return Ok(self.db.retrying("audit_restamp", restamp).await?);
        }
        let head = self.head().await?;
        let is_late = |head: Head| head.holds(&self.key) && !head.holds(&self.key.current());
        if head.is_some_and(is_late) { Err(SealError::DoesNotOpen.into()) } else { Ok(()) }
    }

    async fn head(&self) -> Result<Option<Head>, Error> {
        let head = self.db.read("audit_head", "SELECT number, digest, mac FROM audit_head");
        head.optional(Head::read).await
    }

    async fn try_to_begin(&self, attempt: Attempt) -> Result<(), Error> {
        let mut tx = attempt.begin().await?;
        if lock_head(&mut tx).await?.is_some() {
            return Ok(());
        }
        let (mut beginning, mut after) = (Beginning::new(), i64::MIN);
        loop {
            let links = tx.statement("audit_links_locked", LINKS).bind(after).bind(BATCH);
            let links = links.all(Link::read).await?;
            for link in &links {
                beginning.add(&link.entry);
            }
            match links.last() {
                Some(last) => after = last.id,
                None => break,
            }
        }
        let head = beginning.head(&self.key).map_err(failed)?;
        let insert = tx.statement(
            "audit_head_add",
            "INSERT INTO audit_head (one, number, digest, mac) VALUES (1, $1, $2, $3)
             ON CONFLICT (one) DO NOTHING",
        );
        head.bind_to(insert).run().await?;
        tx.commit().await
    }

    async fn try_to_restamp(&self, attempt: Attempt) -> Result<(), Error> {
        let mut tx = attempt.begin().await?;
        if let Some(head) = lock_head(&mut tx).await?.filter(|head| head.holds(&self.key)) {
            let head = Head::new(&self.key, head.number, head.digest).map_err(failed)?;
            write_head(&mut tx, &head).await?;
        }
        tx.commit().await
    }
}

impl AuditEntry {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            at: row.get("at")?,
            actor: row.get("actor")?,
            from: row.get("address")?,
            proof: row.get("proof")?,
            act: row.get("act")?,
            subject: row.get("subject")?,
            outcome: row.get("outcome")?,
            detail: row.get("detail")?,
        })
    }
}

impl Link {
    fn read(row: &Row) -> Result<Self, Error> {
        let entry = AuditEntry::read(row)?;
        Ok(Self {
            id: row.get("id")?,
            number: row.get("number")?,
            digest: row.get("digest")?,
            entry,
        })
    }
}

impl Head {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { number: row.get("number")?, digest: row.get("digest")?, mac: row.get("mac")? })
    }

    /// $1 to $3.
    fn bind_to<'a>(&'a self, statement: Statement<'a>) -> Statement<'a> {
        statement.bind(self.number).bind(self.digest.as_slice()).bind(self.mac.as_slice())
    }
}

/// Appends an entry to the audit. Without a chain it is stored unchained, which `visavis audit
/// verify` reports: failing the operator's change would be worse.
pub(crate) async fn append(
    tx: &mut Transaction,
    entry: &AuditEntry,
    key: &MasterKey,
) -> Result<(), Error> {
    let head = match lock_head(tx).await? {
        Some(head) => {
            let head = head.followed_by(key, entry).map_err(failed)?;
            write_head(tx, &head).await?;
            Some(head)
        }
        None => None,
    };
    let insert = tx.statement(
        "audit_add",
        "INSERT INTO audit
             (at, actor, address, proof, act, subject, outcome, detail, number, digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    );
    let insert = insert
        .bind(entry.at)
        .bind(entry.actor.as_str())
        .bind(entry.from.as_deref())
        .bind(entry.proof.as_deref())
        .bind(entry.act.as_str())
        .bind(entry.subject.as_str())
        .bind(entry.outcome.as_deref())
        .bind(entry.detail.as_str())
        .bind(head.as_ref().map(|head| head.number))
        .bind(head.as_ref().map(|head| head.digest.as_slice()));
    insert.run().await.map(drop)
}

/// Locks the head for the rest of the transaction: entries follow each other.
async fn lock_head(tx: &mut Transaction) -> Result<Option<Head>, Error> {
    let lock = tx.statement(
        "audit_head_lock",
        "UPDATE audit_head SET number = number RETURNING number, digest, mac",
    );
    lock.optional(Head::read).await
}

async fn write_head(tx: &mut Transaction, head: &Head) -> Result<(), Error> {
    let write = tx
        .statement("audit_head_write", "UPDATE audit_head SET number = $1, digest = $2, mac = $3");
    head.bind_to(write).run().await.map(drop)
}

fn failed(error: SealError) -> Error {
    Error::Encode(error.into())
}

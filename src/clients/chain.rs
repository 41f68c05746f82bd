//! The chain of the audit. Each entry has a digest over its content and the digest of the entry before it; the number
//! and the digest of the last one are the head, which has a MAC under a key derived from the master key.

use std::fmt;

use super::{
    audit::AuditEntry,
    error::ClientError,
    sql::{on, postgres_chain, sqlite_chain},
    store::ClientStore,
};
use crate::{
    db::Db,
    sealing::{MacInput, MasterKey, SealError},
};

const HEAD_LABEL: &str = "audit-head";
/// What stands before the first entry instead of a digest.
const BEGINNING: &[u8] = b"visavis audit";
/// The number of all entries that are older than the chain.
const EARLIER: i64 = 0;
/// Entries read by one statement.
pub(super) const BATCH: i64 = 1_000;

/// An entry as it is stored.
pub(super) struct Link {
    pub(super) id: i64,
    /// 1, 2, 3 …; none for entries that are older than the chain.
    pub(super) number: Option<i64>,
    pub(super) digest: Option<Vec<u8>>,
    pub(super) entry: AuditEntry,
}

/// Where the chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: i64,
    pub(super) digest: Vec<u8>,
    pub(super) mac: Vec<u8>,
}

impl Head {
    /// The head under the current key.
    pub(super) fn new(key: &MasterKey, number: i64, digest: Vec<u8>) -> Result<Self, SealError> {
        let mac = key.mac(HEAD_LABEL, &Self::input(number, &digest))?;
        Ok(Self { number, digest, mac })
    }

    /// The head after one more entry. One that somebody else has written goes on without a MAC that holds.
    pub(super) fn followed_by(
        &self,
        key: &MasterKey,
        entry: &AuditEntry,
    ) -> Result<Self, SealError> {
        let number = self.number + 1;
        let digest = digest(&self.digest, number, entry);
        if self.holds(key) {
            Self::new(key, number, digest)
        } else {
            Ok(Self { number, digest, mac: self.mac.clone() })
        }
    }

    /// Whether it is as Visavis stored it.
    pub(super) fn holds(&self, key: &MasterKey) -> bool {
        key.has_made(HEAD_LABEL, &Self::input(self.number, &self.digest), &self.mac)
    }

    fn input(number: i64, digest: &[u8]) -> MacInput {
        MacInput::default().field(&number.to_be_bytes()).field(digest)
    }
}

/// The digest of an entry. Not under a key: it stays the same when the master key is changed, so that what the log says
/// of it stays comparable.
fn digest(previous: &[u8], number: i64, entry: &AuditEntry) -> Vec<u8> {
    let AuditEntry { at, actor, act, subject, detail } = entry;
    let input = MacInput::default().field(previous).field(&number.to_be_bytes());
    let input = input.field(&at.to_be_bytes()).field(actor.as_bytes()).field(act.as_bytes());
    input.field(subject.as_bytes()).field(detail.as_bytes()).sha256()
}

/// The digest of what is older than the chain, entry by entry.
pub(super) struct Beginning(Vec<u8>);

impl Beginning {
    pub(super) fn new() -> Self {
        Self(BEGINNING.to_vec())
    }

    pub(super) fn add(&mut self, entry: &AuditEntry) {
        self.0 = digest(&self.0, EARLIER, entry);
    }

    /// The head of a chain without entries of its own.
    pub(super) fn head(self, key: &MasterKey) -> Result<Head, SealError> {
        Head::new(key, EARLIER, self.0)
    }
}

/// An audit that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEnd {
    /// How many entries the chain has; the number of the last one.
    pub number: i64,
    /// The digest of the last one, hexadecimal.
    pub digest: String,
}

/// What does not hold about an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditBreak {
    /// There is no head.
    NoHead,
    /// An entry does not follow from those before it.
    Entry(i64),
    /// Entries after this one are missing.
    EndsAfter(i64),
    /// The head is not one that Visavis has stored.
    Head(i64),
}

impl fmt::Display for AuditBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHead => f.write_str("the head of the audit is missing"),
            Self::Entry(number) => write!(
                f,
                "entry {number} does not follow from those before it: it or one before it was changed, added or removed"
            ),
            Self::EndsAfter(number) => write!(f, "entries after entry {number} were removed"),
            Self::Head(number) => {
                write!(f, "the head of the audit, at entry {number}, was changed")
            }
        }
    }
}

/// How far an audit was followed.
struct Followed {
    after: i64,
    number: i64,
    digest: Vec<u8>,
}

impl Followed {
    fn follow(&mut self, link: &Link) -> Result<(), AuditBreak> {
        self.after = link.id;
        if link.number.is_none() && self.number == EARLIER {
            self.digest = digest(&self.digest, EARLIER, &link.entry);
            return Ok(());
        }
        let next = self.number + 1;
        let digest = digest(&self.digest, next, &link.entry);
        if link.number != Some(next) || link.digest.as_ref() != Some(&digest) {
            return Err(AuditBreak::Entry(next));
        }
        (self.number, self.digest) = (next, digest);
        Ok(())
    }
}

impl ClientStore {
    /// Begins the chain over what the audit has, if it has none.
    pub(super) async fn begin_chain(&self) -> Result<(), ClientError> {
        Ok(on!(self, sqlite_chain, postgres_chain, writer, begin(&self.key))?)
    }

    /// Follows the audit of this database from its first entry to its head.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn verify_audit(&self) -> Result<Result<AuditEnd, AuditBreak>, ClientError> {
        let mut at = Followed { after: i64::MIN, number: EARLIER, digest: BEGINNING.to_vec() };
        loop {
            let before = at.after;
            loop {
                let links = on!(self, sqlite_chain, postgres_chain, readers, links(at.after))?;
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
            let Some(head) = on!(self, sqlite_chain, postgres_chain, readers, head())? else {
                return Ok(Err(AuditBreak::NoHead));
            };
            if head.number > at.number && at.after > before {
                continue;
            }
            return Ok(if head.number > at.number {
                Err(AuditBreak::EndsAfter(at.number))
            } else if head.digest != at.digest || !head.holds(&self.key) {
                Err(AuditBreak::Head(head.number))
            } else {
                Ok(AuditEnd { number: at.number, digest: hex(&at.digest) })
            });
        }
    }

    /// Numbers and digests of the entries after the one with this number, for the log; without a number, of the last
    /// one alone.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn audit_ends(&self, after: Option<i64>) -> Result<Vec<AuditEnd>, ClientError> {
        let ends = if let Some(after) = after {
            on!(self, sqlite_chain, postgres_chain, readers, digests(after))?
        } else {
            let head = on!(self, sqlite_chain, postgres_chain, readers, head())?;
            head.map(|head| (head.number, head.digest)).into_iter().collect()
        };
        let end = |(number, digest): (i64, Vec<u8>)| AuditEnd { number, digest: hex(&digest) };
        Ok(ends.into_iter().map(end).collect())
    }

    /// Computes the MAC of the head again under the current master key. With `dry` it only tries whether it holds with that
    /// key alone. One that holds under no key stays as it is.
    pub(super) async fn restamp_head(&self, dry: bool) -> Result<(), ClientError> {
        if !dry {
            return Ok(on!(self, sqlite_chain, postgres_chain, writer, restamp(&self.key))?);
        }
        let head = on!(self, sqlite_chain, postgres_chain, readers, head())?;
        let is_late = |head: Head| head.holds(&self.key) && !head.holds(&self.key.current());
        if head.is_some_and(is_late) { Err(SealError::DoesNotOpen.into()) } else { Ok(()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Into a string nothing fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! The chain of the audit. Each entry has a digest over its content and the digest of the entry
//! before it; the number and the digest of the last one are the head, which has a MAC under a key
//! derived from the master key.

use std::fmt;

use super::audit::AuditEntry;
use crate::sealing::{MacInput, MasterKey, SealError};

const HEAD_LABEL: &str = "audit-head";
/// What stands before the first entry instead of a digest.
const BEGINNING: &[u8] = b"visavis audit";
/// The number of all entries that are older than the chain.
const EARLIER: i64 = 0;

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

    /// The head after one more entry. A forged one goes on without a MAC that
    /// holds.
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

/// The digest of an entry. Not under a key: it stays the same when the master key is changed, so
/// that what the log says of it stays comparable.
fn digest(previous: &[u8], number: i64, entry: &AuditEntry) -> Vec<u8> {
    let AuditEntry { at, actor, from, proof, act, subject, outcome, detail } = entry;
    let input = MacInput::default().field(previous).field(&number.to_be_bytes());
    let input = input.field(&at.to_be_bytes()).field(actor.as_bytes()).field(act.as_bytes());
    let input = input.field(subject.as_bytes()).field(detail.as_bytes());
    let later = [from, proof, outcome];
    // Entries of versions without these columns were digested without them.
    if later.iter().all(|column| column.is_none()) {
        return input.sha256();
    }
    later.into_iter().fold(input, |input, column| input.nullable(column.as_deref())).sha256()
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
                "entry {number} does not follow from those before it: \
                 it or one before it was changed, added or removed"
            ),
            Self::EndsAfter(number) => write!(f, "entries after entry {number} were removed"),
            Self::Head(number) => {
                write!(f, "the head of the audit, at entry {number}, was changed")
            }
        }
    }
}

/// How far an audit was followed.
pub(super) struct Followed {
    /// The id of the last entry.
    pub(super) after: i64,
    pub(super) number: i64,
    pub(super) digest: Vec<u8>,
}

impl Followed {
    /// Before the first entry.
    pub(super) fn new() -> Self {
        Self { after: i64::MIN, number: EARLIER, digest: BEGINNING.to_vec() }
    }

    pub(super) fn follow(&mut self, link: &Link) -> Result<(), AuditBreak> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the version before address, proof and outcome computed.
    const EARLIER_DIGEST: &str = "07cc0dc6ce62eeb7bbd59b09aaf3cb4a3826aac274d9525f0f5cc9e752f41330";

    #[test]
    fn an_entry_of_an_earlier_version_keeps_its_digest_and_gets_nothing_added() {
        let text = |text: &str| text.to_owned();
        let entry = AuditEntry {
            at: 17,
            actor: text("jane"),
            from: None,
            proof: None,
            act: text("erase"),
            subject: text("all"),
            outcome: None,
            detail: text("{}"),
        };
        assert_eq!(hex::encode(digest(BEGINNING, 1, &entry)), EARLIER_DIGEST);
        for added in [
            AuditEntry { from: Some(text("")), ..entry.clone() },
            AuditEntry { proof: Some(text("")), ..entry.clone() },
            AuditEntry { outcome: Some(text("")), ..entry.clone() },
        ] {
            assert_ne!(hex::encode(digest(BEGINNING, 1, &added)), EARLIER_DIGEST);
        }
    }
}

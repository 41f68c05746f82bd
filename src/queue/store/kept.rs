//! Pictures that were stored a moment ago and may be worked on in this process: they stay in memory, so that they
//! need not be read back and opened.
//!
//! The database has them too, and whoever does not find them here reads them there. So nothing depends on what is
//! kept, and nothing has to be kept for long: what another process has claimed stays here until it is too old, or until
//! there is no room for what came later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::compare::{Request, TransactionId};

/// Requests by their transaction; clones share them, and the stores of all databases of a process may.
#[derive(Debug, Clone)]
pub struct Kept {
    most: u64,
    longest: Duration,
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    requests: HashMap<TransactionId, Request>,
    bytes: u64,
    /// In the order of their coming; those that were taken leave with the next one that comes.
    came: VecDeque<(Instant, TransactionId)>,
}

/// A request that is kept only if [`stays`](Self::stays) is called.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    kept: &'a Kept,
    id: &'a TransactionId,
    stays: bool,
}

impl Kept {
    /// Room for `most` bytes of pictures, for `longest` each.
    pub fn new(most: u64, longest: Duration) -> Self {
        Self { most, longest, all: Arc::default() }
    }

    /// Keeps a request whose job is about to be stored, if there can be room for it. Those that came first make room:
    /// whatever has waited here for long was taken elsewhere, or waits in a line in which reading is the least of it.
    pub(super) fn keep<'a>(&'a self, id: &'a TransactionId, request: &Request) -> Keeping<'a> {
        let (mut all, now) = (self.lock(), Instant::now());
        all.forget(now, self.longest);
        if request.bytes() <= self.most {
            while all.bytes + request.bytes() > self.most && all.drop_first() {}
            all.bytes += request.bytes();
            all.requests.insert(id.clone(), request.clone());
            all.came.push_back((now, id.clone()));
        }
        Keeping { kept: self, id, stays: false }
    }

    /// Takes it out if it is there.
    pub(super) fn take(&self, id: &TransactionId) -> Option<Request> {
        self.lock().take(id)
    }

    /// Drops those that have been here for too long at `now`.
    pub(super) fn forget(&self, now: Instant) {
        self.lock().forget(now, self.longest);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeping<'_> {
    /// The job is stored.
    pub(super) fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.kept.take(self.id);
        }
    }
}

impl All {
    fn take(&mut self, id: &TransactionId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        self.bytes -= request.bytes();
        Some(request)
    }

    /// Whether there was one.
    fn drop_first(&mut self) -> bool {
        let Some((_, id)) = self.came.pop_front() else { return false };
        self.take(&id);
        true
    }

    fn forget(&mut self, now: Instant, longest: Duration) {
        while let Some((came, id)) = self.came.front() {
            let is_old = now.saturating_duration_since(*came) >= longest;
            if !is_old && self.requests.contains_key(id) {
                return;
            }
            self.drop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::compare::{BizId, DecodeLimits, PictureData, RequestOptions};

    const MINUTE: Duration = Duration::from_mins(1);

    fn id() -> TransactionId {
        TransactionId::new(OffsetDateTime::UNIX_EPOCH, 0)
    }

    /// With two pictures of so many bytes.
    fn request(bytes: usize) -> Request {
        let mut picture = vec![0xFF, 0xD8, 0xFF];
        picture.resize(bytes, 0);
        let picture = PictureData::new(picture, &DecodeLimits::default()).unwrap();
        Request {
            biz_id: BizId::new("b").unwrap(),
            probe: picture.clone(),
            reference: picture,
            options: RequestOptions::default(),
        }
    }

    #[test]
    fn what_is_kept_is_taken_once() {
        let (kept, one, other) = (Kept::new(1_000, MINUTE), id(), id());
        kept.keep(&one, &request(100)).stays();
        kept.keep(&other, &request(200)).stays();
        assert_eq!(kept.take(&other), Some(request(200)));
        assert_eq!(kept.take(&other), None);
        assert_eq!(kept.take(&one), Some(request(100)));
    }

    #[test]
    fn what_was_not_stored_is_not_kept() {
        let (kept, one) = (Kept::new(1_000, MINUTE), id());
        drop(kept.keep(&one, &request(100)));
        assert_eq!((kept.take(&one), kept.lock().bytes), (None, 0));
    }

    #[test]
    fn what_came_first_makes_room() {
        let (kept, ids) = (Kept::new(1_000, MINUTE), [id(), id(), id(), id()]);
        for id in &ids[..3] {
            kept.keep(id, &request(200)).stays();
        }
        assert_eq!(kept.take(&ids[0]), None, "1,200 bytes where there is room for 1,000");
        assert_eq!(kept.take(&ids[1]), Some(request(200)));
        kept.keep(&ids[3], &request(501)).stays();
        assert_eq!(kept.take(&ids[3]), None, "more than there can be room for");
        assert_eq!(kept.take(&ids[2]), Some(request(200)), "and nobody made room for it");
        kept.keep(&ids[3], &request(500)).stays();
        assert!(kept.take(&ids[3]).is_some());
        assert!(kept.lock().came.len() < 3 && kept.lock().bytes == 0);
    }

    #[test]
    fn what_nobody_takes_is_dropped_in_time() {
        let (kept, one) = (Kept::new(1_000, MINUTE), id());
        kept.keep(&one, &request(100)).stays();
        kept.forget(Instant::now() + MINUTE / 2);
        assert_eq!(kept.lock().requests.len(), 1);
        kept.forget(Instant::now() + MINUTE);
        assert_eq!(kept.take(&one), None);
        assert!(kept.lock().came.is_empty() && kept.lock().bytes == 0);
    }
}

//! A cache of pictures that were stored a moment ago: a job that is claimed in the same process
//! need not read and open them again.
//!
//! The database has them too, and a claim that misses the cache reads them there. So nothing
//! depends on the cache: an entry that another process has claimed stays until it expires or makes
//! room for a later one.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::compare::{Request, TransactionId};

/// Requests by their transaction; clones share the cache, and so may the stores of all databases of
/// a process.
#[derive(Debug, Clone)]
pub struct PayloadCache {
    max_bytes: u64,
    max_age: Duration,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    requests: HashMap<TransactionId, Request>,
    bytes: u64,
    /// In the order of insertion; an entry that was taken is removed here with a later insertion.
    inserted: VecDeque<(Instant, TransactionId)>,
}

/// An entry that is removed again unless [`commit`](Self::commit) is called.
#[derive(Debug)]
pub(super) struct PendingEntry<'a> {
    cache: &'a PayloadCache,
    id: &'a TransactionId,
    is_committed: bool,
}

impl PayloadCache {
    /// Room for `max_bytes` of pictures, each for `max_age`.
    pub fn new(max_bytes: u64, max_age: Duration) -> Self {
        Self { max_bytes, max_age, entries: Arc::default() }
    }

    /// Inserts a request whose job is about to be stored, unless it is larger than the cache. The
    /// oldest entries make room: their jobs were claimed elsewhere, or wait so long that reading
    /// them again costs little beside it.
    pub(super) fn insert<'a>(
        &'a self,
        id: &'a TransactionId,
        request: &Request,
    ) -> PendingEntry<'a> {
        let (mut entries, now) = (self.lock(), Instant::now());
        entries.expire(now, self.max_age);
        if request.bytes() <= self.max_bytes {
            while entries.bytes + request.bytes() > self.max_bytes && entries.drop_oldest() {}
            entries.bytes += request.bytes();
            entries.requests.insert(id.clone(), request.clone());
            entries.inserted.push_back((now, id.clone()));
        }
        PendingEntry { cache: self, id, is_committed: false }
    }

    /// Removes and returns an entry.
    pub(super) fn take(&self, id: &TransactionId) -> Option<Request> {
        self.lock().take(id)
    }

    /// Drops the entries that are too old at `now`.
    pub(super) fn expire(&self, now: Instant) {
        self.lock().expire(now, self.max_age);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingEntry<'_> {
    /// The job is stored: the entry stays.
    pub(super) fn commit(mut self) {
        self.is_committed = true;
    }
}

impl Drop for PendingEntry<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            self.cache.take(self.id);
        }
    }
}

impl Entries {
    fn take(&mut self, id: &TransactionId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        self.bytes -= request.bytes();
        Some(request)
    }

    /// Drops the oldest entry; false if there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some((_, id)) = self.inserted.pop_front() else { return false };
        self.take(&id);
        true
    }

    fn expire(&mut self, now: Instant, max_age: Duration) {
        while let Some((inserted, id)) = self.inserted.front() {
            let is_old = now.saturating_duration_since(*inserted) >= max_age;
            if !is_old && self.requests.contains_key(id) {
                return;
            }
            self.drop_oldest();
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
    fn an_entry_is_taken_once() {
        let (cache, one, other) = (PayloadCache::new(1_000, MINUTE), id(), id());
        cache.insert(&one, &request(100)).commit();
        cache.insert(&other, &request(200)).commit();
        assert_eq!(cache.take(&other), Some(request(200)));
        assert_eq!(cache.take(&other), None);
        assert_eq!(cache.take(&one), Some(request(100)));
    }

    #[test]
    fn a_job_that_was_not_stored_is_not_cached() {
        let (cache, one) = (PayloadCache::new(1_000, MINUTE), id());
        drop(cache.insert(&one, &request(100)));
        assert_eq!((cache.take(&one), cache.lock().bytes), (None, 0));
    }

    #[test]
    fn the_oldest_entry_makes_room() {
        let (cache, ids) = (PayloadCache::new(1_000, MINUTE), [id(), id(), id(), id()]);
        for id in &ids[..3] {
            cache.insert(id, &request(200)).commit();
        }
        assert_eq!(cache.take(&ids[0]), None, "1,200 bytes where there is room for 1,000");
        assert_eq!(cache.take(&ids[1]), Some(request(200)));
        cache.insert(&ids[3], &request(501)).commit();
        assert_eq!(cache.take(&ids[3]), None, "more than there can be room for");
        assert_eq!(cache.take(&ids[2]), Some(request(200)), "and no other made room for it");
        cache.insert(&ids[3], &request(500)).commit();
        assert!(cache.take(&ids[3]).is_some());
        assert!(cache.lock().inserted.len() < 3 && cache.lock().bytes == 0);
    }

    #[test]
    fn an_entry_that_nobody_takes_expires() {
        let (cache, one) = (PayloadCache::new(1_000, MINUTE), id());
        cache.insert(&one, &request(100)).commit();
        cache.expire(Instant::now() + MINUTE / 2);
        assert_eq!(cache.lock().requests.len(), 1);
        cache.expire(Instant::now() + MINUTE);
        assert_eq!(cache.take(&one), None);
        assert!(cache.lock().inserted.is_empty() && cache.lock().bytes == 0);
    }
}

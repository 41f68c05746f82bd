//! Pictures that were stored a moment ago and will be worked on in this process: they stay in memory, so that they
//! need not be read back and opened.
//!
//! The database has them too, and whoever does not find them here reads them there. So nothing depends on what is
//! kept, and nothing has to be kept for long.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::compare::{Request, TransactionId};

/// A job that nobody here has taken by then was taken elsewhere, was erased, or waits in a line so long that reading its
/// pictures is the least of it.
const LONGEST: Duration = Duration::from_mins(1);

/// Requests by their transaction; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    limit: u64,
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    requests: HashMap<TransactionId, Request>,
    bytes: u64,
    /// In the order of their coming, those that were taken too.
    came: VecDeque<(Instant, TransactionId)>,
}

impl Kept {
    /// Room for `limit` bytes of pictures.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, all: Arc::default() }
    }

    /// Keeps it if there is room: what came earlier is worked on earlier.
    pub(super) fn keep(&self, id: &TransactionId, request: &Request) {
        let mut all = self.lock();
        all.forget(Instant::now());
        let bytes = all.bytes + request.bytes();
        if bytes <= self.limit {
            all.bytes = bytes;
            all.requests.insert(id.clone(), request.clone());
            all.came.push_back((Instant::now(), id.clone()));
        }
    }

    /// Takes it out if it is there.
    pub(super) fn take(&self, id: &TransactionId) -> Option<Request> {
        self.lock().take(id)
    }

    /// Drops those that came too long before `now`.
    pub(super) fn forget(&self, now: Instant) {
        self.lock().forget(now);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn take(&mut self, id: &TransactionId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        self.bytes -= request.bytes();
        Some(request)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((came, id)) = self.came.front() {
            let is_old = now.saturating_duration_since(*came) >= LONGEST;
            if !is_old && self.requests.contains_key(id) {
                return;
            }
            if let Some((_, id)) = self.came.pop_front() {
                drop(self.take(&id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::compare::{BizId, DecodeLimits, PictureData, RequestOptions};

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
        let (kept, one, other) = (Kept::new(1_000), id(), id());
        kept.keep(&one, &request(100));
        kept.keep(&other, &request(200));
        assert_eq!(kept.take(&other), Some(request(200)));
        assert_eq!(kept.take(&other), None);
        assert_eq!(kept.take(&one), Some(request(100)));
    }

    #[test]
    fn there_is_room_again_for_what_was_taken() {
        let (kept, one, other) = (Kept::new(1_000), id(), id());
        kept.keep(&one, &request(300));
        kept.keep(&other, &request(300));
        assert_eq!(kept.take(&other), None, "1,200 bytes where there is room for 1,000");
        assert!(kept.take(&one).is_some());
        kept.keep(&other, &request(500));
        assert!(kept.take(&other).is_some());
        assert!(kept.lock().came.len() < 3 && kept.lock().bytes == 0);
    }

    #[test]
    fn what_nobody_takes_is_dropped_after_a_minute() {
        let (kept, stays) = (Kept::new(1_000), id());
        kept.keep(&stays, &request(100));
        kept.forget(Instant::now() + LONGEST / 2);
        assert_eq!(kept.lock().requests.len(), 1);
        kept.forget(Instant::now() + LONGEST);
        assert_eq!(kept.take(&stays), None);
        assert!(kept.lock().came.is_empty() && kept.lock().bytes == 0);
    }
}

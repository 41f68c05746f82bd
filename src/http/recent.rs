//! Ring buffer of recent requests for the console's live view: endpoint, result code, time.
//! Nothing of it says who asked.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// After this many requests the oldest are forgotten.
const KEPT: usize = 1 << 15;

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// When the response was ready.
    pub(crate) at: Instant,
    /// The last part of the endpoint's path; `other` for what is none.
    pub(crate) endpoint: &'static str,
    /// The result code.
    pub(crate) code: &'static str,
    /// How long it took, without reading and writing the socket.
    pub(crate) elapsed: Duration,
}

/// The last of them, oldest first.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<Answered>>);

impl Recent {
    /// How far back they go at most.
    pub(crate) const WINDOW: Duration = Duration::from_mins(2);

    /// Takes note of one.
    pub(super) fn note(&self, path: &str, code: &'static str, elapsed: Duration) {
        let (endpoint, at) = (endpoint(path), Instant::now());
        let mut all = self.all();
        while all.len() >= KEPT || all.front().is_some_and(|old| at - old.at > Self::WINDOW) {
            all.pop_front();
        }
        all.push_back(Answered { at, endpoint, code, elapsed });
    }

    /// Those of the last two minutes; after very many requests, of less.
    pub(crate) fn look(&self) -> Vec<Answered> {
        let now = Instant::now();
        self.all().iter().filter(|answered| now - answered.at <= Self::WINDOW).copied().collect()
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Answered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last part of a path that is one of ours: names are few, whatever is asked for.
pub(super) fn endpoint(path: &str) -> &'static str {
    const ENDPOINTS: [&str; 5] = ["compare", "asynccompare", "asynccheckresult", "delete", "test"];
    let last = path.rsplit('/').next().unwrap_or_default();
    ENDPOINTS.into_iter().find(|endpoint| *endpoint == last).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_by_their_endpoint_and_the_oldest_go_first() {
        let recent = Recent::default();
        for path in ["/api/v1/zoloz/facecompare/compare", "/x/test", "/", "/secret/of/one"] {
            recent.note(path, "SUCCESS", Duration::from_millis(1));
        }
        let endpoints: Vec<_> = recent.look().iter().map(|a| a.endpoint).collect();
        assert_eq!(endpoints, ["compare", "test", "other", "other"]);
        for _ in 0..KEPT {
            recent.note("/test", "SUCCESS", Duration::ZERO);
        }
        let kept = recent.look();
        assert_eq!(kept.len(), KEPT);
        assert!(kept.iter().all(|answered| answered.endpoint == "test"));
    }
}

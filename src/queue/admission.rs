//! Admission to the queue by its last known depth, without a query for every request.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::job::{ClientDepth, Depth};

/// The last known depth of the queue plus the jobs that were accepted since; clones share it.
#[derive(Debug, Clone, Default)]
pub struct QueueAdmission(Arc<Mutex<Levels>>);

#[derive(Debug, Default)]
struct Levels {
    all: Level,
    clients: HashMap<String, Level>,
    /// Jobs of the last minutes by time of reading, oldest first.
    recent: VecDeque<(Instant, u64)>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Level {
    jobs: u64,
    bytes: u64,
}

/// How full the queue may get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueLimits {
    /// Jobs queued or running.
    pub jobs: u64,
    /// Bytes of their pictures.
    pub bytes: u64,
    /// The share of both that one client may have, from 0 to 1, if there are other clients.
    pub client_share: f64,
}

impl QueueAdmission {
    /// How far back readings are kept.
    const RECENT: Duration = Duration::from_mins(2);

    /// Replaces the known depth by that of the database.
    pub fn set_depth(&self, clients: Vec<ClientDepth>) {
        let level = |depth: Depth| Level { jobs: depth.jobs, bytes: depth.bytes };
        let all = level(clients.iter().map(|client| client.depth).sum());
        let clients = clients.into_iter().map(|c| (c.client_id, level(c.depth))).collect();
        let now = Instant::now();
        let mut levels = self.levels();
        levels.recent.retain(|(then, _)| now - *then <= Self::RECENT);
        levels.recent.push_back((now, all.jobs));
        (levels.all, levels.clients) = (all, clients);
    }

    /// The jobs at each reading of the last minutes, oldest first.
    pub(crate) fn recent(&self) -> Vec<(Instant, u64)> {
        self.levels().recent.iter().copied().collect()
    }

    /// Counts an accepted job until the next [`set_depth`](Self::set_depth).
    pub(crate) fn add(&self, client_id: &str, bytes: u64) {
        let mut levels = self.levels();
        levels.all.add(bytes);
        // Not by `entry`: nearly always the client is known, and its name need not be copied.
        match levels.clients.get_mut(client_id) {
            Some(level) => level.add(bytes),
            None => drop(levels.clients.insert(client_id.to_owned(), Level { jobs: 1, bytes })),
        }
    }

    /// Whether another job of this client fits; `alone` if there is no other client.
    pub(crate) fn has_room(&self, limits: QueueLimits, client_id: &str, alone: bool) -> bool {
        let levels = self.levels();
        let own = levels.clients.get(client_id).copied().unwrap_or_default();
        let share = if alone { 1.0 } else { limits.client_share };
        levels.all.is_below(limits, 1.0) && own.is_below(limits, share)
    }

    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Level {
    fn add(&mut self, bytes: u64) {
        self.jobs += 1;
        self.bytes += bytes;
    }

    fn is_below(self, limits: QueueLimits, share: f64) -> bool {
        (self.jobs as f64) < limits.jobs as f64 * share
            && (self.bytes as f64) < limits.bytes as f64 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { jobs: 8, bytes: 1_000, client_share: 0.25 };

    fn reading(parts: &[(&str, u64, u64)]) -> Vec<ClientDepth> {
        let one = |(client, jobs, bytes): &(&str, u64, u64)| ClientDepth {
            client_id: (*client).to_owned(),
            depth: Depth { jobs: *jobs, bytes: *bytes, oldest: None },
        };
        parts.iter().map(one).collect()
    }

    #[test]
    fn the_queue_is_full_by_count_or_by_bytes_until_the_depth_is_read_again() {
        let admission = QueueAdmission::default();
        admission.set_depth(reading(&[("a", 4, 10), ("b", 3, 10)]));
        assert!(admission.has_room(LIMITS, "c", false));
        admission.add("c", 10);
        assert!(!admission.has_room(LIMITS, "d", false));
        admission.set_depth(reading(&[("a", 1, 1_000)]));
        assert!(!admission.has_room(LIMITS, "d", false));
        admission.set_depth(Vec::new());
        assert!(admission.has_room(LIMITS, "d", false));
    }

    #[test]
    fn a_client_has_its_share_beside_other_clients_and_everything_alone() {
        let admission = QueueAdmission::default();
        admission.add("a", 10);
        assert!(admission.has_room(LIMITS, "a", false));
        admission.add("a", 10);
        assert!(!admission.has_room(LIMITS, "a", false), "two of eight are a quarter");
        assert!(admission.has_room(LIMITS, "a", true) && admission.has_room(LIMITS, "b", false));
        admission.add("b", 250);
        assert!(!admission.has_room(LIMITS, "b", false), "a quarter of the bytes");
    }
}

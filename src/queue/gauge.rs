//! How full the queue is, known without asking the database on every request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::job::Depth;

/// The last reading of the depth plus what was accepted since; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Levels>);

#[derive(Debug, Default)]
struct Levels {
    jobs: AtomicU64,
    bytes: AtomicU64,
}

/// How full the queue may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Jobs queued or running.
    pub jobs: u64,
    /// Bytes of their pictures.
    pub bytes: u64,
}

impl Gauge {
    /// Takes a reading.
    pub fn set(&self, depth: Depth) {
        self.0.jobs.store(depth.jobs, Ordering::Relaxed);
        self.0.bytes.store(depth.bytes, Ordering::Relaxed);
    }

    /// Counts an accepted job until the next reading.
    pub fn add(&self, bytes: u64) {
        self.0.jobs.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether another job fits.
    pub fn has_room(&self, limits: QueueLimits) -> bool {
        self.0.jobs.load(Ordering::Relaxed) < limits.jobs
            && self.0.bytes.load(Ordering::Relaxed) < limits.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_full_by_count_or_by_bytes_until_the_next_reading() {
        let gauge = Gauge::default();
        let limits = QueueLimits { jobs: 2, bytes: 100 };
        gauge.add(10);
        assert!(gauge.has_room(limits));
        gauge.add(10);
        assert!(!gauge.has_room(limits));
        gauge.set(Depth { jobs: 1, bytes: 100, oldest: None });
        assert!(!gauge.has_room(limits));
        gauge.set(Depth::default());
        assert!(gauge.has_room(limits));
    }
}

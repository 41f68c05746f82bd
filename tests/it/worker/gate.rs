//! The fake engine behind a gate, so that a test decides when a comparison ends.

use std::{
    collections::HashSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::sync::watch;
use visavis::worker::EngineFactory;
use visavis_face::{Comparison, Engine, FaceError, Picture};

use crate::support::FakeEngine;

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Stands before every engine of its factory; clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    seen: Mutex<Seen>,
    moved: Condvar,
    begun: watch::Sender<usize>,
}

/// What passed, and how the gate stands.
#[derive(Debug, Default)]
pub struct Seen {
    pub inside: usize,
    pub most_inside: usize,
    pub engines: usize,
    pub threads: HashSet<ThreadId>,
    closed: bool,
    failures: usize,
    no_engines: bool,
}

impl Gate {
    pub fn open() -> Self {
        let begun = watch::Sender::new(0);
        Self(Arc::new(Inner { seen: Mutex::default(), moved: Condvar::new(), begun }))
    }

    pub fn closed() -> Self {
        let gate = Self::open();
        gate.seen().closed = true;
        gate
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everyone passes from now on.
    pub fn unlock(&self) {
        self.seen().closed = false;
        self.0.moved.notify_all();
    }

    /// The next `count` comparisons fail.
    pub fn fail_next(&self, count: usize) {
        self.seen().failures = count;
    }

    /// Whether engines can be made.
    pub fn forbid_engines(&self, forbidden: bool) {
        self.seen().no_engines = forbidden;
    }

    /// Comparisons that were begun.
    pub fn begun(&self) -> usize {
        *self.0.begun.borrow()
    }

    /// Waits until that many comparisons were begun.
    pub async fn wait_for(&self, count: usize) {
        let mut begun = self.0.begun.subscribe();
        let reached = tokio::time::timeout(PATIENCE, begun.wait_for(|n| *n >= count)).await;
        assert!(reached.is_ok(), "only {} of {count} comparisons were begun", self.begun());
    }

    pub fn factory(&self) -> EngineFactory {
        let gate = self.clone();
        Arc::new(move || {
            let mut seen = gate.seen();
            if seen.no_engines {
                return Err(FaceError::Manifest("no engines today".to_owned()));
            }
            seen.engines += 1;
            drop(seen);
            Ok(Box::new(Gated { gate: gate.clone(), engine: FakeEngine }))
        })
    }

    fn enter(&self) -> Result<Inside<'_>, FaceError> {
        let mut seen = self.seen();
        seen.inside += 1;
        seen.most_inside = seen.most_inside.max(seen.inside);
        seen.threads.insert(thread::current().id());
        let inside = Inside(self);
        self.0.begun.send_modify(|n| *n += 1);
        if seen.failures > 0 {
            seen.failures -= 1;
            drop(seen);
            return Err(FaceError::Manifest("failing on purpose".to_owned()));
        }
        let waited = self.0.moved.wait_timeout_while(seen, PATIENCE, |seen| seen.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        Ok(inside)
    }
}

/// Counts itself out, also when the engine panics.
struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.seen().inside -= 1;
    }
}

struct Gated {
    gate: Gate,
    engine: FakeEngine,
}

impl Engine for Gated {
    fn compare(
        &mut self,
        probe: &Picture<'_>,
        reference: &Picture<'_>,
    ) -> Result<Comparison, FaceError> {
        let _inside = self.gate.enter()?;
        self.engine.compare(probe, reference)
    }
}

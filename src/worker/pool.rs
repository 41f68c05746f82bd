//! Compute threads, each with an engine of its own, and the slots that stand for them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::telling;
use crate::{
    compare::{Outcome, Policy, Request},
    face::{Engine, FaceError},
};

/// Makes an engine; called once per thread, and again after a panic.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine>, FaceError> + Send + Sync>;

/// The right to have one thread work, or to have one work while all others rest; given back when the work is done, not when its caller stops
/// waiting, so that a slow comparison is never joined by another one on the same thread.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl From<OwnedSemaphorePermit> for Slot {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

/// The engine could not compare: worth another try.
#[derive(Debug, thiserror::Error)]
pub enum PoolFailure {
    /// The pipeline failed.
    #[error(transparent)]
    Face(#[from] FaceError),
    /// The threads are gone: the process is stopping.
    #[error("the compute threads have stopped")]
    Stopped,
}

struct Task {
    request: Request,
    slot: Slot,
    reply: oneshot::Sender<Result<Outcome, PoolFailure>>,
}

/// The compute threads of this process; clones share them. They end with the last clone.
#[derive(Debug, Clone)]
pub struct ComputePool {
    tasks: mpsc::Sender<Task>,
    slots: Arc<Semaphore>,
    suspect: Arc<Semaphore>,
    busy: Arc<[Busy]>,
}

/// Since when a thread has been at its comparison; `None` when it has none.
#[derive(Debug, Default)]
struct Busy(Mutex<Option<Instant>>);

impl Busy {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ComputePool {
    /// Starts `threads` threads and returns when all of them have an engine.
    ///
    /// # Errors
    /// The first engine that cannot be made.
    pub fn start(
        threads: usize,
        factory: &EngineFactory,
        policy: &Arc<Policy>,
    ) -> Result<Self, FaceError> {
        let (tasks, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let (ready, readiness) = mpsc::channel();
        let busy: Arc<[Busy]> = (0..threads).map(|_| Busy::default()).collect();
        for i in 0..threads {
            let worker = Worker {
                factory: Arc::clone(factory),
                policy: Arc::clone(policy),
                queue: Arc::clone(&queue),
                busy: Arc::clone(&busy),
                number: i,
            };
            let ready = ready.clone();
            thread::Builder::new()
                .name(format!("compute-{i}"))
                .spawn(move || worker.run(&ready))
                .map_err(|e| {
                FaceError::Manifest(format!("a compute thread could not be started: {e}"))
            })?;
        }
        for opened in readiness.iter().take(threads) {
            opened?;
        }
        metrics::gauge!("visavis_compute_threads").set(threads as f64);
        let (slots, suspect) = (Semaphore::new(threads).into(), Semaphore::new(1).into());
        Ok(Self { tasks, slots, suspect, busy })
    }

    /// How many threads there are.
    pub fn size(&self) -> usize {
        self.busy.len()
    }

    /// How long the slowest comparison under way has taken so far.
    pub fn slowest(&self) -> Duration {
        let begun = self.busy.iter().filter_map(Busy::since);
        begun.map(|since| since.elapsed()).max().unwrap_or_default()
    }

    /// Waits for a free thread, first come, first served.
    ///
    /// # Errors
    /// [`PoolFailure::Stopped`].
    pub async fn slot(&self) -> Result<Slot, PoolFailure> {
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map(Slot::from)
            .map_err(|_| PoolFailure::Stopped)
    }

    /// Waits until all threads are free and keeps them: for a comparison that may take the process down,
    /// so that it takes no other one with it. Whoever asks later waits for this one.
    ///
    /// # Errors
    /// [`PoolFailure::Stopped`].
    pub async fn all_slots(&self) -> Result<Slot, PoolFailure> {
        let all = u32::try_from(self.size()).map_err(|_| PoolFailure::Stopped)?;
        Arc::clone(&self.slots)
            .acquire_many_owned(all)
            .await
            .map(Slot::from)
            .map_err(|_| PoolFailure::Stopped)
    }

    /// The right to be the one comparison of this process that may take it down; `None` while another has it.
    pub fn try_be_suspect(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.suspect).try_acquire_owned().ok()
    }

    /// A free thread if there is one right now.
    pub fn try_slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok().map(Slot::from)
    }

    /// Compares on the thread of `slot`. If the returned future is dropped before the thread began,
    /// the thread skips the request.
    ///
    /// # Errors
    /// [`PoolFailure`].
    pub async fn run(&self, slot: Slot, request: Request) -> Result<Outcome, PoolFailure> {
        let (reply, answer) = oneshot::channel();
        self.tasks.send(Task { request, slot, reply }).map_err(|_| PoolFailure::Stopped)?;
        answer.await.map_err(|_| PoolFailure::Stopped)?
    }
}

struct Worker {
    factory: EngineFactory,
    policy: Arc<Policy>,
    queue: Arc<Mutex<mpsc::Receiver<Task>>>,
    busy: Arc<[Busy]>,
    number: usize,
}

impl Worker {
    fn run(self, ready: &mpsc::Sender<Result<(), FaceError>>) {
        let mut engine = match (self.factory)() {
            Ok(engine) => {
                let _ = ready.send(Ok(()));
                Some(engine)
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Task { request, slot, reply }) = next else { return };
            if reply.is_closed() {
                continue;
            }
            self.busy[self.number].set(Some(Instant::now()));
            metrics::gauge!("visavis_compute_busy").increment(1.0);
            let compared = self.compare(&mut engine, &request);
            metrics::gauge!("visavis_compute_busy").decrement(1.0);
            self.busy[self.number].set(None);
            if let Ok(outcome) = &compared {
                telling::tell(outcome);
            }
            drop(request);
            drop(slot);
            let _ = reply.send(compared.map_err(PoolFailure::from));
        }
    }

    /// A panic costs the engine, whose state nobody can vouch for, and not the thread.
    fn compare(
        &self,
        engine: &mut Option<Box<dyn Engine>>,
        request: &Request,
    ) -> Result<Outcome, FaceError> {
        let mut current = match engine.take() {
            Some(engine) => engine,
            None => (self.factory)()?,
        };
        let (probe, reference) = request.pictures();
        let fmr = request.options.fmr;
        let compare = || Ok(self.policy.decide(current.compare(&probe, &reference)?, fmr));
        let compared = catch_unwind(AssertUnwindSafe(compare));
        let Ok(compared) = compared else {
            metrics::counter!("visavis_engine_restarts_total").increment(1);
            return Err(FaceError::Panicked);
        };
        *engine = Some(current);
        compared
    }
}

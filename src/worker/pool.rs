//! Compute threads, each with an engine of its own, and the slots that stand for them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    compare::{Outcome, Policy, Request},
    face::{Comparison, Engine, FaceError},
};

/// Makes an engine; called once per thread, and again after a panic.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine>, FaceError> + Send + Sync>;

/// The right to have one thread work; given back when the work is done, not when its caller stops
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
    size: usize,
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
        for i in 0..threads {
            let worker = Worker {
                factory: Arc::clone(factory),
                policy: Arc::clone(policy),
                queue: Arc::clone(&queue),
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
        Ok(Self { tasks, slots: Arc::new(Semaphore::new(threads)), size: threads })
    }

    /// How many threads there are.
    pub fn size(&self) -> usize {
        self.size
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
            let compared = self.compare(&mut engine, &request);
            drop(request);
            drop(slot);
            let _ = reply.send(compared.map(|c| self.policy.decide(c)).map_err(PoolFailure::from));
        }
    }

    /// A panic costs the engine, whose state nobody can vouch for, and not the thread.
    fn compare(
        &self,
        engine: &mut Option<Box<dyn Engine>>,
        request: &Request,
    ) -> Result<Comparison, FaceError> {
        let mut current = match engine.take() {
            Some(engine) => engine,
            None => (self.factory)()?,
        };
        let (probe, reference) = request.pictures();
        let compared = catch_unwind(AssertUnwindSafe(|| current.compare(&probe, &reference)));
        let Ok(compared) = compared else { return Err(FaceError::Panicked) };
        *engine = Some(current);
        compared
    }
}

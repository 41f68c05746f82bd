//! Compute threads, each with an engine of its own, and the slots that stand for them.

use std::{
    convert::Infallible,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::Span;
use visavis_face::{Comparison, Engine, FaceError, Picture, while_waiting};

use super::outcome_metrics;
use crate::{
    compare::{Inspection, Outcome, PictureData, PictureKind, Policy, Request},
    gate::{Full, Participant, Slot, Turns},
};

/// Makes an engine; called once per thread, and again after a panic.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine>, FaceError> + Send + Sync>;

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

/// Where the result of a task goes.
type Reply<T> = oneshot::Sender<Result<T, PoolFailure>>;

/// What a thread is to do.
enum Work {
    Compare(Request, Reply<Outcome>),
    Inspection(PictureData, PictureKind, Reply<Inspection>),
}

struct Task {
    work: Work,
    /// Given back when the work is done, not when its caller stops waiting, so that a slow
    /// comparison is never joined by another one on the same thread.
    slot: Slot,
    /// What the lines of the log and the trace are part of.
    span: Span,
}

/// The compute threads of this process; clones share them. They end with the last clone.
#[derive(Debug, Clone)]
pub struct ComputePool {
    threads: Arc<Threads>,
    turns: Turns,
    isolation: Arc<Semaphore>,
    busy: Arc<[Busy]>,
}

/// What stands for the threads: they end when there are no more tasks, and the owner that drops the
/// last of it waits for that.
#[derive(Debug)]
struct Threads {
    tasks: mpsc::Sender<Task>,
    /// Dropped after the former.
    _end: End,
}

/// Waits, when dropped, until all threads have ended. Nothing is ever sent: that no one could is
/// the message.
#[derive(Debug)]
struct End(Mutex<mpsc::Receiver<Infallible>>);

/// How long the end waits for threads: what they have to do is done by then, unless one never comes
/// back.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(3);

impl Drop for End {
    /// A process must not end while its threads give back what they have of a GPU: it would crash.
    fn drop(&mut self) {
        let ended = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PATIENCE_AT_THE_END) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("gave up waiting for a compute thread");
        }
    }
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
        let (alive, ended) = mpsc::channel();
        let running = Arc::new(Threads { tasks, _end: End(Mutex::new(ended)) });
        let busy: Arc<[Busy]> = (0..threads).map(|_| Busy::default()).collect();
        let worker = Worker {
            factory: Arc::clone(factory),
            policy: Arc::clone(policy),
            queue: Arc::new(Mutex::new(queue)),
            busy: Arc::clone(&busy),
            number: 0,
            alive,
        };
        start_all(worker, threads)?;
        metrics::gauge!("visavis_compute_threads").set(threads as f64);
        let (turns, isolation) = (Turns::new(threads), Semaphore::new(1).into());
        Ok(Self { threads: running, turns, isolation, busy })
    }

    /// Gives the jobs of the queue so many turns for one of a client that waits.
    pub(crate) fn set_queue_weight(&self, weight: NonZeroU32) {
        self.turns.set_queue_weight(weight);
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

    /// Waits for a thread for a job of the queue.
    ///
    /// # Errors
    /// [`PoolFailure::Stopped`].
    pub async fn slot(&self) -> Result<Slot, PoolFailure> {
        let slot = self.turns.take(&Participant::Queue, usize::MAX).await;
        slot.map_err(|Full| PoolFailure::Stopped)
    }

    /// Waits for a thread for a caller, in a waiting room of this size.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) async fn slot_for(
        &self,
        participant: &Participant,
        room: usize,
    ) -> Result<Slot, Full> {
        self.turns.take(participant, room).await
    }

    /// Whether [`slot_for`](Self::slot_for) would not be [`Full`] at once.
    pub(crate) fn has_room_for(&self, participant: &Participant, room: usize) -> bool {
        self.turns.has_room(participant, room)
    }

    /// Waits until all threads are free and keeps them: for a comparison that may take the process
    /// down, so that it takes no other one with it. Those that ask later wait for this one.
    ///
    /// # Errors
    /// [`PoolFailure::Stopped`].
    pub(crate) async fn all_slots(&self) -> Result<Slot, PoolFailure> {
        self.turns.take_all(&Participant::Queue).await.map_err(|Full| PoolFailure::Stopped)
    }

    /// The right to be the one comparison of this process that may take it down; `None` while
    /// another has it.
    pub(crate) fn try_isolate(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.isolation).try_acquire_owned().ok()
    }

    /// A thread for a job of the queue, if one is free and no caller waits for it.
    pub fn try_slot(&self) -> Option<Slot> {
        self.turns.try_take(&Participant::Queue)
    }

    /// Compares on the thread of `slot`. If the returned future is dropped before the thread began,
    /// the thread skips the request.
    ///
    /// # Errors
    /// [`PoolFailure`].
    pub async fn run(&self, slot: Slot, request: Request) -> Result<Outcome, PoolFailure> {
        self.attend(slot, |reply| Work::Compare(request, reply)).await
    }

    /// Looks at one picture, as [`run`](Self::run) compares two.
    ///
    /// # Errors
    /// [`PoolFailure`].
    pub(crate) async fn inspect(
        &self,
        slot: Slot,
        picture: PictureData,
        kind: PictureKind,
    ) -> Result<Inspection, PoolFailure> {
        self.attend(slot, |reply| Work::Inspection(picture, kind, reply)).await
    }

    async fn attend<T>(
        &self,
        slot: Slot,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, PoolFailure> {
        let (reply, answer) = oneshot::channel();
        let task = Task { work: work(reply), slot, span: Span::current() };
        self.threads.tasks.send(task).map_err(|_| PoolFailure::Stopped)?;
        answer.await.map_err(|_| PoolFailure::Stopped)?
    }
}

/// Starts so many threads that work like `worker`, and returns when all of them have an engine.
fn start_all(worker: Worker, threads: usize) -> Result<(), FaceError> {
    let (ready, readiness) = mpsc::channel();
    for number in 0..threads {
        let (worker, ready) = (Worker { number, ..worker.clone() }, ready.clone());
        thread::Builder::new()
            .name(format!("compute-{number}"))
            .spawn(move || worker.run(ready))
            .map_err(|e| {
            FaceError::Manifest(format!(
                "a compute thread could not be started: {e}"
            ))
        })?;
    }
    drop((worker, ready));
    let opened: Vec<()> = readiness.iter().collect::<Result<_, _>>()?;
    // One that panicked has said nothing.
    if opened.len() == threads { Ok(()) } else { Err(FaceError::Panicked) }
}

#[derive(Clone)]
struct Worker {
    factory: EngineFactory,
    policy: Arc<Policy>,
    queue: Arc<Mutex<mpsc::Receiver<Task>>>,
    busy: Arc<[Busy]>,
    number: usize,
    /// Dropped last: the factory before it may be the last to hold a GPU.
    #[expect(dead_code, reason = "nothing is ever sent; that it is gone is the message")]
    alive: mpsc::Sender<Infallible>,
}

impl Worker {
    fn run(self, ready: mpsc::Sender<Result<(), FaceError>>) {
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
        drop(ready);
        let (busy, number) = (Arc::clone(&self.busy), self.number);
        // It waits for other pictures then, and does not hang.
        while_waiting(move || busy[number].set(Some(Instant::now())));
        let policy = &self.policy;
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Task { work, slot, span }) = next else { return };
            let _request = span.enter();
            match work {
                Work::Compare(request, reply) => {
                    self.attend(&mut engine, slot, reply, move |engine| {
                        let _comparison = tracing::error_span!("face.compare").entered();
                        let begun = Instant::now();
                        let (probe, reference) = request.pictures();
                        let compared = engine.compare(&probe, &reference)?;
                        if let Comparison::Compared { times, .. } = &compared {
                            outcome_metrics::record_stages(times, begun);
                        }
                        let outcome = policy.decide(compared, &request.options);
                        outcome_metrics::count(&outcome);
                        Ok(outcome)
                    });
                }
                Work::Inspection(picture, kind, reply) => {
                    self.attend(&mut engine, slot, reply, move |engine| {
                        engine.inspect(&Picture { bytes: picture.as_bytes(), hint: None, kind })
                    });
                }
            }
        }
    }

    /// Does a piece of work, unless its caller has left. The pictures go with `work`, and
    /// the slot is free, before its result is sent.
    fn attend<T>(
        &self,
        engine: &mut Option<Box<dyn Engine>>,
        slot: Slot,
        reply: Reply<T>,
        work: impl FnOnce(&mut dyn Engine) -> Result<T, FaceError>,
    ) {
        if reply.is_closed() {
            return;
        }
        self.busy[self.number].set(Some(Instant::now()));
        metrics::gauge!("visavis_compute_busy").increment(1.0);
        let done = self.guarded(engine, work);
        metrics::gauge!("visavis_compute_busy").decrement(1.0);
        self.busy[self.number].set(None);
        drop(slot);
        let _ = reply.send(done.map_err(PoolFailure::from));
    }

    /// A panic costs the engine, whose state is unknown, and not the thread.
    fn guarded<T>(
        &self,
        engine: &mut Option<Box<dyn Engine>>,
        work: impl FnOnce(&mut dyn Engine) -> Result<T, FaceError>,
    ) -> Result<T, FaceError> {
        let taken = engine.take();
        let guarded = catch_unwind(AssertUnwindSafe(|| {
            let mut current = taken.map_or_else(|| (self.factory)(), Ok)?;
            let done = work(current.as_mut());
            *engine = Some(current);
            done
        }));
        guarded.unwrap_or_else(|_| {
            metrics::counter!("visavis_engine_restarts_total").increment(1);
            Err(FaceError::Panicked)
        })
    }
}

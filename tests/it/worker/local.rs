//! `compare` while the caller waits.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use visavis::{
    compare::{DecodeLimits, Outcome, PictureData, PictureKind, Refusal, Request, Side},
    gate::{Participant, Turns},
    worker::{CompareFailure, ComputePool, EngineFactory, LocalComparer},
};
use visavis_face::{Comparison, Engine, FaceError, Picture as FacePicture};

use super::gate::{Gate, PATIENCE};
use crate::{
    store::bench::pictures,
    support::{Picture, policy},
};

const SHORT: Duration = Duration::from_millis(30);

fn comparer(gate: &Gate, threads: usize, limit: usize) -> (LocalComparer, ComputePool) {
    let pool = ComputePool::start(threads, &gate.factory(), &policy()).unwrap();
    (LocalComparer::new(pool.clone(), limit), pool)
}

fn request(probe: Picture) -> Request {
    pictures(probe.bytes(), Picture::Person(1).bytes())
}

fn good() -> Request {
    request(Picture::Person(1))
}

/// Lets a comparison go as far as it gets by itself.
async fn waits(comparison: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *comparison).poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_pair_is_compared_while_the_caller_waits() {
    let (comparer, _pool) = comparer(&Gate::open(), 1, 1);
    let outcome = comparer.compare("a", good(), PATIENCE).await.unwrap();
    assert!(matches!(outcome, Outcome::Compared(verdict) if verdict.same_person()));
}

#[tokio::test]
async fn a_bad_picture_is_an_outcome_here_too() {
    let (comparer, _pool) = comparer(&Gate::open(), 1, 1);
    let outcome = comparer.compare("a", request(Picture::Nothing), PATIENCE).await.unwrap();
    assert_eq!(outcome, Outcome::Refused { side: Side::Probe, refusal: Refusal::NoFace });
}

fn picture(picture: Picture) -> PictureData {
    PictureData::new(picture.bytes(), &DecodeLimits::default()).unwrap()
}

#[tokio::test]
async fn one_picture_is_looked_at_by_itself_and_what_breaks_breaks_nothing_else() {
    let (comparer, _pool) = comparer(&Gate::open(), 1, 1);
    let look = |one| comparer.inspect(picture(one), PictureKind::Selfie, PATIENCE);
    assert_eq!(look(Picture::Person(1)).await.unwrap().unwrap().width, 640);
    assert_eq!(look(Picture::Nothing).await.unwrap(), Err(Refusal::NoFace));
    assert_eq!(look(Picture::Panics).await, Err(CompareFailure::Failed));
    assert!(look(Picture::Person(1)).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_look_waits_where_comparisons_wait_and_is_refused_when_they_are() {
    let gate = Gate::closed();
    let (comparer, _pool) = comparer(&gate, 1, 1);
    let mut running = Box::pin(comparer.compare("a", good(), PATIENCE));
    assert!(waits(&mut running).await);
    gate.wait_for(1).await;
    let mut waiting =
        Box::pin(comparer.inspect(picture(Picture::Person(1)), PictureKind::Selfie, PATIENCE));
    assert!(waits(&mut waiting).await);
    let refused =
        comparer.inspect(picture(Picture::Person(1)), PictureKind::Selfie, PATIENCE).await;
    assert_eq!(refused, Err(CompareFailure::Busy));
    gate.unlock();
    assert!(running.await.is_ok() && waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_breaks_is_a_failure_and_the_next_comparison_works() {
    let (comparer, _pool) = comparer(&Gate::open(), 1, 1);
    for breaking in [Picture::Broken, Picture::Panics, Picture::Panics] {
        let failed = comparer.compare("a", request(breaking), PATIENCE).await;
        assert_eq!(failed, Err(CompareFailure::Failed));
        assert!(comparer.compare("a", good(), PATIENCE).await.is_ok());
    }
}

#[tokio::test]
async fn beyond_its_limit_of_waiting_callers_it_is_busy() {
    let gate = Gate::closed();
    let (comparer, _pool) = comparer(&gate, 1, 2);
    let mut first = Box::pin(comparer.compare("a", good(), PATIENCE));
    assert!(waits(&mut first).await);
    let mut waiting = [1, 2].map(|_| Box::pin(comparer.compare("a", good(), PATIENCE)));
    for comparison in &mut waiting {
        assert!(waits(comparison).await);
    }
    assert_eq!(comparer.compare("a", good(), PATIENCE).await, Err(CompareFailure::Busy));
    gate.unlock();
    assert!(first.await.is_ok());
    for comparison in waiting {
        assert!(comparison.await.is_ok());
    }
    assert!(comparer.compare("a", good(), PATIENCE).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn a_caller_who_leaves_frees_the_place() {
    let gate = Gate::closed();
    let (comparer, _pool) = comparer(&gate, 1, 1);
    let mut first = Box::pin(comparer.compare("a", good(), PATIENCE));
    assert!(waits(&mut first).await);
    for _ in 0..5 {
        let mut leaving = Box::pin(comparer.compare("a", good(), PATIENCE));
        assert!(waits(&mut leaving).await);
    }
    gate.unlock();
    assert!(first.await.is_ok());
}

#[tokio::test]
async fn a_caller_whose_patience_ends_is_told_so() {
    let gate = Gate::closed();
    let (comparer, _pool) = comparer(&gate, 1, 1);
    let running = comparer.compare("a", good(), SHORT);
    let waiting = comparer.compare("a", good(), SHORT);
    let (running, waiting) = tokio::join!(running, waiting);
    assert_eq!(running, Err(CompareFailure::TimedOut));
    assert_eq!(waiting, Err(CompareFailure::TimedOut));
    gate.unlock();
    assert!(comparer.compare("a", good(), PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_thread_is_not_free_before_it_is_done() {
    let gate = Gate::closed();
    let (comparer, pool) = comparer(&gate, 1, 4);
    assert_eq!(comparer.compare("a", good(), SHORT).await, Err(CompareFailure::TimedOut));
    gate.wait_for(1).await;
    assert!(pool.try_slot().is_none());
    let mut next = Box::pin(comparer.compare("a", good(), PATIENCE));
    assert!(waits(&mut next).await);
    assert_eq!((gate.begun(), gate.seen().inside), (1, 1));
    gate.unlock();
    assert!(next.await.is_ok());
    assert_eq!(gate.seen().most_inside, 1);
}

#[tokio::test]
async fn nothing_is_compared_for_a_caller_who_left_before_it_began() {
    let gate = Gate::closed();
    let (_, pool) = comparer(&gate, 1, 4);
    let slot = pool.slot().await.unwrap();
    let mut running = Box::pin(pool.run(slot, good()));
    assert!(poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending())).await);
    gate.wait_for(1).await;
    // A second slot for the same thread, as if it had been given back too early.
    let spare = Turns::new(1);
    let slot = spare.try_take(&Participant::Queue).unwrap();
    let mut left = Box::pin(pool.run(slot, good()));
    assert!(poll_fn(|cx| Poll::Ready(left.as_mut().poll(cx).is_pending())).await);
    drop(left);
    gate.unlock();
    assert!(running.await.is_ok());
    let returned = tokio::time::timeout(PATIENCE, spare.take(&Participant::Queue, 1)).await;
    assert!(returned.is_ok(), "the slot comes back");
    assert_eq!(gate.begun(), 1);
}

/// Takes a while to be given back, as what is on a GPU does.
struct Slow(Box<dyn Engine>, Arc<AtomicUsize>);

impl Engine for Slow {
    fn compare(
        &mut self,
        probe: &FacePicture<'_>,
        reference: &FacePicture<'_>,
    ) -> Result<Comparison, FaceError> {
        self.0.compare(probe, reference)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        std::thread::sleep(SHORT);
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes slow engines, unless `spoil` says of the number of one that something else happens; and
/// how many were given back.
fn slow(
    gate: &Gate,
    spoil: impl Fn(usize) -> Result<(), FaceError> + Send + Sync + 'static,
) -> (EngineFactory, Arc<AtomicUsize>) {
    let (inner, made, given_back) = (gate.factory(), AtomicUsize::new(0), Arc::default());
    let counted = Arc::clone(&given_back);
    let factory = move || {
        spoil(made.fetch_add(1, Ordering::SeqCst))?;
        Ok(Box::new(Slow(inner()?, Arc::clone(&counted))) as Box<dyn Engine>)
    };
    (Arc::new(factory), given_back)
}

#[test]
fn a_pool_does_not_start_without_all_of_its_engines_and_gives_back_those_it_had() {
    let fails = |number| match number {
        2 => Err(FaceError::Manifest("the third one fails".to_owned())),
        5 => panic!("this panic is part of a test"),
        _ => Ok(()),
    };
    let (factory, given_back) = slow(&Gate::open(), fails);
    assert!(matches!(ComputePool::start(3, &factory, &policy()), Err(FaceError::Manifest(_))));
    assert_eq!(given_back.load(Ordering::SeqCst), 2);
    assert!(matches!(ComputePool::start(3, &factory, &policy()), Err(FaceError::Panicked)));
    assert_eq!(given_back.load(Ordering::SeqCst), 4);
    assert_eq!(ComputePool::start(3, &factory, &policy()).unwrap().size(), 3);
}

#[test]
fn whoever_drops_the_last_of_a_pool_has_waited_until_all_engines_are_given_back() {
    let (factory, given_back) = slow(&Gate::open(), |_| Ok(()));
    let pool = ComputePool::start(3, &factory, &policy()).unwrap();
    let clone = pool.clone();
    drop(pool);
    assert_eq!(given_back.load(Ordering::SeqCst), 0, "another one may have work for them");
    drop(clone);
    assert_eq!(given_back.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_comparison_that_never_ends_does_not_keep_its_pool_for_ever() {
    let gate = Gate::closed();
    let pool = ComputePool::start(1, &gate.factory(), &policy()).unwrap();
    let slot = pool.slot().await.unwrap();
    let mut stuck = Box::pin(pool.run(slot, good()));
    assert!(poll_fn(|cx| Poll::Ready(stuck.as_mut().poll(cx).is_pending())).await);
    drop(stuck);
    let (reported, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(pool);
        reported.send(())
    });
    assert!(dropped.recv_timeout(PATIENCE).is_ok());
    gate.unlock();
}

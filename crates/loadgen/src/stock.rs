//! Requests that are signed before they are due.

#[cfg(test)]
use std::cell::Cell;
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{client::SignedRequest, stop::Stop};

/// Bytes of bodies that are held ahead, without the photos that they share.
pub(super) const MOST_BYTES: usize = 256 << 20;
/// An older request is thrown away: servers refuse those whose Request-Time is past.
const FRESH: Duration = Duration::from_mins(1);
/// Interval between two checks for a request to stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A request that is ready to go.
pub(super) struct Signed {
    pub(super) request: SignedRequest,
    /// The pair that it is about.
    pub(super) pair: usize,
}

/// Signed requests, made by one thread and taken by the senders.
pub(super) struct Stock {
    state: Mutex<StockState>,
    /// For the signing thread: fewer are there than are wanted.
    room: Condvar,
    /// For a sender: there is one more. Each wakes one sender; with all of them awake for each
    /// request, hundreds of senders would take the processor from the service.
    made: Condvar,
    /// For `fill`: as many are there as are wanted.
    full: Condvar,
}

#[derive(Default)]
struct StockState {
    ready: VecDeque<(Signed, Instant)>,
    bytes: usize,
    most_bytes: usize,
    wanted: usize,
    closed: bool,
    failure: Option<anyhow::Error>,
    /// How often a sender or the signing thread was woken.
    #[cfg(test)]
    woken: Cell<usize>,
}

impl StockState {
    fn is_full(&self) -> bool {
        self.ready.len() >= self.wanted || (self.bytes >= self.most_bytes && !self.ready.is_empty())
    }

    fn pop(&mut self) -> Option<(Signed, Instant)> {
        let (signed, at) = self.ready.pop_front()?;
        self.bytes -= signed.request.body.own_len();
        Some((signed, at))
    }
}

/// Ends the signing thread when it goes out of scope, however that happens.
pub(super) struct Closing<'a>(pub(super) &'a Stock);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        for who in [&self.0.room, &self.0.made, &self.0.full] {
            who.notify_all();
        }
    }
}

impl Stock {
    /// An empty one, for about so many bytes of bodies.
    pub(super) fn new(most_bytes: usize) -> Self {
        let state = Mutex::new(StockState { most_bytes, ..StockState::default() });
        Self { state, room: Condvar::new(), made: Condvar::new(), full: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, StockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs as many as are wanted until the stock is closed: the work of a thread of its own.
    pub(super) fn sign(&self, mut make: impl FnMut() -> Result<Signed>) {
        // No thread waits for one that has ended, even by a failure or a panic.
        let _closing = Closing(self);
        loop {
            let mut state = self.state();
            while state.is_full() && !state.closed {
                state = wait(&self.room, state);
            }
            if state.closed {
                return;
            }
            drop(state);
            let made = make();
            let mut state = self.state();
            match made {
                Ok(signed) => {
                    state.bytes += signed.request.body.own_len();
                    state.ready.push_back((signed, Instant::now()));
                    self.made.notify_one();
                    if state.is_full() {
                        self.full.notify_all();
                    }
                }
                Err(failure) => {
                    state.failure = Some(failure);
                    return;
                }
            }
        }
    }

    /// Waits until `count` fresh ones are there or memory is used up, so that less is signed while
    /// others are measured. From then on `keep` are kept.
    pub(super) fn fill(&self, count: usize, keep: usize, stop: &Stop) -> Result<()> {
        let mut state = self.state();
        // What would be too old before it is taken.
        while state.ready.front().is_some_and(|(_, at)| at.elapsed() > FRESH / 2) {
            state.pop();
        }
        state.wanted = count.max(keep);
        self.room.notify_one();
        while !state.is_full() && !state.closed && !stop.is_requested() {
            let waited = self.full.wait_timeout(state, CHECK_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wanted = keep;
        state.failure.take().map_or(Ok(()), Err)
    }

    /// The next one, waited for if need be; `None` when there will be none.
    pub(super) fn take(&self) -> Option<Signed> {
        let mut state = self.state();
        loop {
            match state.pop() {
                Some((signed, at)) if at.elapsed() < FRESH => {
                    if !state.is_full() {
                        self.room.notify_one();
                    }
                    return Some(signed);
                }
                Some(_) => {}
                None if state.closed => return None,
                None => {
                    // The signing thread may sleep because enough were there that were too old.
                    state.wanted = state.wanted.max(1);
                    self.room.notify_one();
                    state = wait(&self.made, state);
                }
            }
        }
    }

    /// Why there were none.
    pub(super) fn check(&self) -> Result<()> {
        let failure = self.state().failure.take();
        failure.map_or(Ok(()), |failure| Err(anyhow!("a request could not be signed: {failure:#}")))
    }
}

fn wait<'a>(what: &Condvar, state: MutexGuard<'a, StockState>) -> MutexGuard<'a, StockState> {
    let state = what.wait(state).unwrap_or_else(PoisonError::into_inner);
    #[cfg(test)]
    state.woken.set(state.woken.get() + 1);
    state
}

#[cfg(test)]
pub(super) mod testing {
    use std::{sync::LazyLock, time::Duration};

    use super::*;
    use crate::{
        client::{ApiClient, Body},
        testing,
    };

    static CLIENT: LazyLock<ApiClient> =
        LazyLock::new(|| testing::client("http://127.0.0.1:1", Duration::from_secs(1)));

    /// A request with this body.
    pub(crate) fn signed(body: &str) -> Signed {
        signed_body(body.to_owned().into())
    }

    pub(super) fn signed_body(body: Body) -> Signed {
        Signed { request: CLIENT.sign("/", body).unwrap(), pair: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::{
        testing::{signed, signed_body},
        *,
    };
    use crate::client::Body;

    /// A stock that is filled by a thread of its own, and how many it has signed.
    fn with_stock(body: &str, test: impl FnOnce(&Stock, &AtomicUsize)) {
        let (stock, made) = (Stock::new(1_000), AtomicUsize::new(0));
        thread::scope(|scope| {
            let _closing = Closing(&stock);
            scope.spawn(|| {
                stock.sign(|| {
                    made.fetch_add(1, Ordering::SeqCst);
                    Ok(signed(body))
                });
            });
            test(&stock, &made);
        });
    }

    #[test]
    fn as_many_as_are_wanted_are_signed_ahead_and_no_more() {
        with_stock("{}", |stock, made| {
            stock.fill(7, 2, &Stop::default()).unwrap();
            assert_eq!(made.load(Ordering::SeqCst), 7);
            for _ in 0..5 {
                stock.take().unwrap();
            }
            assert_eq!(made.load(Ordering::SeqCst), 7, "two are kept and there are two");
            for _ in 0..5 {
                stock.take().unwrap();
            }
            assert!(made.load(Ordering::SeqCst) >= 10);
        });
    }

    #[test]
    fn memory_bounds_how_many_are_signed_ahead() {
        with_stock(&"x".repeat(300), |stock, made| {
            stock.fill(100, 1, &Stop::default()).unwrap();
            assert_eq!(made.load(Ordering::SeqCst), 4);
        });
    }

    #[test]
    fn photos_that_others_hold_too_count_for_nothing() {
        let (stock, photo) = (Stock::new(1_000), Arc::from("x".repeat(900)));
        let body = || Body::from("[".to_owned()).and_shared(&photo).and_shared(&photo).and("]");
        thread::scope(|scope| {
            let _closing = Closing(&stock);
            scope.spawn(|| stock.sign(|| Ok(signed_body(body()))));
            stock.fill(100, 1, &Stop::default()).unwrap();
            let taken = stock.take().unwrap();
            assert_eq!(taken.request.body.whole().len(), 1_802);
        });
        assert_eq!(stock.state().ready.len(), 99);
    }

    #[test]
    fn a_request_wakes_one_of_many_who_wait() {
        const SENDERS: usize = 50;
        let stock = Stock::new(1_000);
        thread::scope(|scope| {
            let _closing = Closing(&stock);
            scope.spawn(|| {
                stock.sign(|| {
                    thread::sleep(Duration::from_millis(1));
                    Ok(signed("{}"))
                });
            });
            thread::scope(|senders| {
                for _ in 0..SENDERS {
                    senders.spawn(|| stock.take().unwrap());
                }
            });
        });
        let woken = stock.state().woken.get();
        // A sender by each request, the signing thread by each sender that comes or goes.
        assert!(woken <= 4 * SENDERS, "{woken}");
    }

    #[test]
    fn nobody_waits_for_a_signing_thread_that_has_panicked() {
        let stock = Stock::new(1_000);
        thread::scope(|scope| {
            let signing = scope.spawn(|| stock.sign(|| panic!("signing")));
            assert!(stock.take().is_none());
            signing.join().unwrap_err();
        });
    }

    #[test]
    fn a_request_that_cannot_be_signed_ends_the_wait_with_its_reason() {
        let stock = Stock::new(1_000);
        thread::scope(|scope| {
            scope.spawn(|| stock.sign(|| Err(anyhow!("no key"))));
            let failed = stock.fill(1, 1, &Stop::default()).unwrap_err();
            assert_eq!(failed.to_string(), "no key");
            assert!(stock.take().is_none());
        });
    }
}

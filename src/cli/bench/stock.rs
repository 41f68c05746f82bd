//! Requests that are signed before they are due.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{super::wire_client::Prepared, stop::Stop};

/// Bytes of bodies that are held.
const MOST_BYTES: usize = 256 << 20;
/// An older request is thrown away: servers refuse those whose Request-Time is past.
const FRESH: Duration = Duration::from_mins(1);
/// How often whoever waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// A request that is ready to go.
pub(super) struct Signed {
    pub(super) request: Prepared,
    /// The pair that it is about.
    pub(super) pair: usize,
}

/// Signed requests, made by one thread and taken by the senders.
#[derive(Default)]
pub(super) struct Stock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<(Signed, Instant)>,
    bytes: usize,
    wanted: usize,
    closed: bool,
    failure: Option<anyhow::Error>,
}

impl State {
    fn is_full(&self) -> bool {
        self.ready.len() >= self.wanted || (self.bytes >= MOST_BYTES && !self.ready.is_empty())
    }

    fn is_over(&self) -> bool {
        self.closed || self.failure.is_some()
    }

    fn pop(&mut self) -> Option<(Signed, Instant)> {
        let (signed, at) = self.ready.pop_front()?;
        self.bytes -= signed.request.body.len();
        Some((signed, at))
    }
}

/// Ends the signing thread when it goes out of scope, however that happens.
pub(super) struct Closing<'a>(pub(super) &'a Stock);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}

impl Stock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Signs as many as are wanted until the stock is closed: the work of a thread of its own.
    pub(super) fn sign(&self, mut make: impl FnMut() -> Result<Signed>) {
        loop {
            let mut state = self.state();
            while state.is_full() && !state.is_over() {
                state = self.wait(state);
            }
            if state.is_over() {
                return;
            }
            drop(state);
            let made = make();
            let mut state = self.state();
            match made {
                Ok(signed) => {
                    state.bytes += signed.request.body.len();
                    state.ready.push_back((signed, Instant::now()));
                }
                Err(failure) => state.failure = Some(failure),
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits until `count` fresh ones are there or memory is used up, so that less is signed while others are
    /// measured. From then on `keep` are kept.
    pub(super) fn fill(&self, count: usize, keep: usize, stop: &Stop) -> Result<()> {
        let mut state = self.state();
        // What would be too old before it is taken.
        while state.ready.front().is_some_and(|(_, at)| at.elapsed() > FRESH / 2) {
            state.pop();
        }
        state.wanted = count.max(keep);
        self.changed.notify_all();
        while !state.is_full() && !state.is_over() && !stop.is_wished() {
            state = self.wait(state);
        }
        state.wanted = keep;
        state.failure.take().map_or(Ok(()), |failure| {
            state.closed = true;
            Err(failure)
        })
    }

    /// The next one, waited for if need be; `None` when there will be none.
    pub(super) fn take(&self) -> Option<Signed> {
        let mut state = self.state();
        loop {
            match state.pop() {
                Some((signed, at)) if at.elapsed() < FRESH => {
                    self.changed.notify_all();
                    return Some(signed);
                }
                Some(_) => {}
                None if state.is_over() => return None,
                None => {
                    // The signing thread may sleep because enough were there that were too old.
                    state.wanted = state.wanted.max(1);
                    self.changed.notify_all();
                    state = self.wait(state);
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

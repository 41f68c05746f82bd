//! The memory for decoded pixels: one budget for all engines of a process.
//!
//! Before an image is decoded, it takes a [`PixelLease`] for the maximum that decoding needs;
//! afterwards the lease is reduced to the decoded size. Leases are granted in the order of the
//! requests. No thread waits while it holds one: an image that needs more memory than is free
//! returns its pixels and its lease, waits for a larger one, and is decoded again. So there is no
//! deadlock.

use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::refusal::Refusal;

/// How often a waiting thread calls its callback.
const SIGN_OF_LIFE_INTERVAL: Duration = Duration::from_secs(1);

thread_local! {
    static SIGN_OF_LIFE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Calls `sign` every second while this thread waits for memory, so that a watchdog does not take
/// it for hung.
pub fn while_waiting(sign: impl Fn() + 'static) {
    SIGN_OF_LIFE.set(Some(Box::new(sign)));
}

/// A memory budget in bytes; clones share it.
#[derive(Debug, Clone)]
pub struct PixelMemory(Arc<PixelLedger>);

#[derive(Debug)]
struct PixelLedger {
    limit: u64,
    state: Mutex<LedgerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LedgerState {
    /// Bytes on lease.
    leased: u64,
    /// The ticket of the next request.
    next: u64,
    /// The ticket that is served next.
    serving: u64,
}

impl PixelLedger {
    fn state(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: u64) {
        self.state().leased -= bytes;
        self.changed.notify_all();
    }
}

impl PixelMemory {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(PixelLedger { limit, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Waits until all earlier requests have their leases and `bytes` bytes are free.
    ///
    /// # Errors
    /// [`Refusal::PixelMemory`], at once, if the whole budget is less.
    pub(super) fn lease(&self, bytes: u64) -> Result<PixelLease, Refusal> {
        let ledger = &self.0;
        if bytes > ledger.limit {
            return Err(Refusal::PixelMemory { bytes, limit: ledger.limit });
        }
        let mut state = ledger.state();
        let ticket = state.next;
        state.next += 1;
        while state.serving != ticket || state.leased + bytes > ledger.limit {
            let waited = ledger.changed.wait_timeout(state, SIGN_OF_LIFE_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            SIGN_OF_LIFE.with_borrow(|sign| sign.iter().for_each(|sign| sign()));
        }
        state.serving += 1;
        state.leased += bytes;
        drop(state);
        // The next one may fit too.
        ledger.changed.notify_all();
        Ok(PixelLease { ledger: Arc::clone(ledger), bytes })
    }
}

impl Default for PixelMemory {
    /// Without a limit: for one image at a time.
    fn default() -> Self {
        Self::new(u64::MAX / 2)
    }
}

/// A share of the budget; given back when dropped, also by a panic.
#[derive(Debug)]
pub(super) struct PixelLease {
    ledger: Arc<PixelLedger>,
    bytes: u64,
}

impl PixelLease {
    /// Grows to at least `bytes`, if they are free and no thread waits. Never waits itself.
    pub(super) fn try_grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let mut state = self.ledger.state();
        let grows =
            more == 0 || state.serving == state.next && state.leased + more <= self.ledger.limit;
        if grows {
            state.leased += more;
            self.bytes += more;
        }
        grows
    }

    /// Returns what exceeds `bytes`.
    pub(super) fn reduce_to(&mut self, bytes: u64) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        self.ledger.give_back(excess);
    }
}

impl Drop for PixelLease {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::mpsc,
        thread,
        time::Duration,
    };

    use super::*;

    /// Returns when so many have asked in all.
    fn until_asked(memory: &PixelMemory, times: u64) {
        while memory.0.state().next < times {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// On a thread of its own: a lease of so many bytes, whose number is sent as soon as it is
    /// granted, and which is held until the returned sender is dropped.
    fn ask(
        memory: &PixelMemory,
        bytes: u64,
        number: u32,
        granted: &mpsc::Sender<u32>,
    ) -> mpsc::Sender<()> {
        let (memory, granted) = (memory.clone(), granted.clone());
        let asked = memory.0.state().next + 1;
        let (hold, end) = mpsc::channel::<()>();
        let watched = memory.clone();
        thread::spawn(move || {
            let lease = memory.lease(bytes).unwrap();
            granted.send(number).unwrap();
            let _ = end.recv();
            drop(lease);
        });
        until_asked(&watched, asked);
        hold
    }

    #[test]
    fn leases_are_granted_in_the_order_in_which_they_are_asked_for() {
        let memory = PixelMemory::new(100);
        let (granted, order) = mpsc::channel();
        let first = ask(&memory, 60, 1, &granted);
        assert_eq!(order.recv(), Ok(1));
        let large = ask(&memory, 90, 2, &granted);
        // It would fit beside the first one, and does not overtake the second.
        let small = ask(&memory, 20, 3, &granted);
        assert_eq!(order.recv_timeout(Duration::from_millis(100)).ok(), None);
        drop(first);
        assert_eq!(order.recv(), Ok(2));
        drop(large);
        assert_eq!(order.recv(), Ok(3));
        drop(small);
    }

    #[test]
    fn a_reduced_lease_lets_the_next_one_in() {
        let memory = PixelMemory::new(100);
        let mut lease = memory.lease(80).unwrap();
        let (granted, order) = mpsc::channel();
        let hold = ask(&memory, 50, 1, &granted);
        assert_eq!(order.recv_timeout(Duration::from_millis(50)).ok(), None);
        lease.reduce_to(50);
        assert_eq!(order.recv(), Ok(1));
        // What was given back is not given back twice, and nothing grows.
        lease.reduce_to(90);
        assert_eq!(memory.0.state().leased, 100);
        drop((lease, hold));
        drop(memory.lease(100).unwrap());
    }

    #[test]
    fn a_lease_grows_at_once_or_not_at_all_and_never_before_one_who_waits() {
        let memory = PixelMemory::new(100);
        let mut lease = memory.lease(20).unwrap();
        assert!(lease.try_grow_to(60) && !lease.try_grow_to(101));
        assert_eq!(memory.0.state().leased, 60);
        let (granted, order) = mpsc::channel();
        let hold = ask(&memory, 50, 1, &granted);
        assert!(lease.try_grow_to(60) && !lease.try_grow_to(70));
        drop(lease);
        assert_eq!(order.recv(), Ok(1));
        drop(hold);
    }

    #[test]
    fn a_thread_that_waits_says_so_again_and_again() {
        let memory = PixelMemory::new(100);
        let all = memory.lease(100).unwrap();
        let (signs, heard) = mpsc::channel();
        let waiting = thread::spawn({
            let memory = memory.clone();
            move || {
                while_waiting(move || signs.send(()).unwrap());
                drop(memory.lease(1).unwrap());
            }
        });
        heard.recv().unwrap();
        heard.recv().unwrap();
        drop(all);
        waiting.join().unwrap();
    }

    #[test]
    fn a_panic_gives_the_lease_back() {
        let memory = PixelMemory::new(100);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _lease = memory.lease(100).unwrap();
            panic!("a decoder that does not expect what it finds");
        }));
        assert!(panicked.is_err());
        drop(memory.lease(100).unwrap());
    }

    #[test]
    fn more_than_the_whole_budget_is_refused_at_once_with_both_numbers() {
        let memory = PixelMemory::new(100);
        let _all = memory.lease(100).unwrap();
        let refused = memory.lease(101).unwrap_err();
        assert_eq!(refused, Refusal::PixelMemory { bytes: 101, limit: 100 });
    }

    #[test]
    fn many_threads_never_hold_more_than_the_budget_and_all_of_them_come_to_an_end() {
        let memory = PixelMemory::new(100);
        thread::scope(|scope| {
            for number in 0..8_u64 {
                let memory = &memory;
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = 1 + (number * 37 + round * 13) % 100;
                        let mut lease = memory.lease(bytes).unwrap();
                        assert!(memory.0.state().leased <= 100);
                        lease.reduce_to(bytes / 2);
                    }
                });
            }
        });
        assert_eq!(memory.0.state().leased, 0);
    }
}

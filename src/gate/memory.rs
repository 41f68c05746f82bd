//! The memory of request bodies and of what is parsed out of them: one budget for the process, and
//! shares of it for those who have proven nothing yet.
//!
//! Bytes are charged when they arrive, never when they are announced. What is unproven counts
//! against its address and against the Client-Id that it claims. A body that finds such a share
//! full waits, unless it is the oldest one there: so one of them always gets on. What is unproven
//! fills half of the budget at most; the other half is for what is parsed, so that a proven request
//! waits only for others that end. When the budget is full, a request waits for some seconds.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::limit::{Limit, Refused};

/// Who is charged for unproven bytes. The flag says whether the address has proven to be a client
/// recently: one that has is not slowed down by others who know the id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// An address, or a network of IPv6.
    Peer(IpAddr, bool),
    /// A claimed Client-Id.
    Client(String, bool),
}

impl Account {
    /// How many shares it has. No single unknown address fills what all that claim one Client-Id
    /// have.
    fn shares(&self) -> usize {
        match self {
            Self::Peer(_, false) => 1,
            Self::Peer(_, true) | Self::Client(..) => 2,
        }
    }
}

/// The budget; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    share: usize,
    /// What unproven bodies leave free.
    reserve: usize,
    books: Mutex<Books>,
    released: Notify,
}

#[derive(Debug)]
struct Books {
    free: usize,
    next: u64,
    accounts: HashMap<Account, Charged>,
}

/// What one account is charged for, by the number of the lease.
#[derive(Debug, Default)]
struct Charged {
    total: usize,
    leases: BTreeMap<u64, usize>,
}

/// Charged bytes; given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryReservation {
    ledger: Ledger,
    number: u64,
    bytes: usize,
    accounts: Vec<Account>,
}

/// How long a request waits while the budget is full.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a lease does not grow now.
enum Full {
    /// The whole budget is used.
    Budget,
    /// The share of an account is used, and an older lease than this one will give some back.
    Share,
}

impl Ledger {
    /// A budget of `bytes`, of which each account may use one or two times `share`.
    pub(super) fn new(bytes: usize, share: usize) -> Self {
        let books = Books { free: bytes, next: 0, accounts: HashMap::new() };
        let (books, released) = (Mutex::new(books), Notify::new());
        Self(Arc::new(Shared { share, reserve: bytes / 2, books, released }))
    }

    /// A lease of nothing yet, for which `accounts` are charged until it is proven.
    pub(super) fn open(&self, accounts: Vec<Account>) -> MemoryReservation {
        let mut books = self.books();
        let number = books.next;
        books.next += 1;
        for account in &accounts {
            books.accounts.entry(account.clone()).or_default().leases.insert(number, 0);
        }
        drop(books);
        MemoryReservation { ledger: self.clone(), number, bytes: 0, accounts }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryReservation {
    /// Grows to `bytes`; waits while the budget is full, and for longer while a share of it is.
    ///
    /// # Errors
    /// [`Limit::Memory`] when the budget stays full.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        let ledger = self.ledger.clone();
        let mut full_since = None;
        loop {
            // Made before the attempt, so that no release is missed in between.
            let released = ledger.0.released.notified();
            match self.try_grow(bytes) {
                Ok(()) => return Ok(()),
                Err(Full::Share) => released.await,
                Err(Full::Budget) => {
                    let since = *full_since.get_or_insert_with(Instant::now);
                    let ended = timeout_at(since + TIMEOUT, released).await;
                    ended.map_err(|_| Limit::Memory.refuse())?;
                }
            }
        }
    }

    fn try_grow(&mut self, bytes: usize) -> Result<(), Full> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return Ok(());
        };
        let ledger = self.ledger.clone();
        let mut books = ledger.books();
        let reserve = if self.accounts.is_empty() { 0 } else { ledger.0.reserve };
        if books.free.saturating_sub(reserve) < more {
            return Err(Full::Budget);
        }
        for account in &self.accounts {
            let Some(charged) = books.accounts.get(account) else { continue };
            let is_oldest = charged.leases.keys().next() == Some(&self.number);
            if charged.total + more > account.shares() * ledger.0.share && !is_oldest {
                return Err(Full::Share);
            }
        }
        books.free -= more;
        for account in &self.accounts {
            let charged = books.accounts.entry(account.clone()).or_default();
            charged.total += more;
            *charged.leases.entry(self.number).or_default() += more;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The bytes belong to a proven client from here on: no account is charged for them.
    pub(super) fn prove(&mut self) {
        let accounts = std::mem::take(&mut self.accounts);
        self.leave(&accounts);
    }

    /// Gives back all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        if back > 0 {
            self.bytes -= back;
            self.ledger.books().free += back;
            self.ledger.0.released.notify_waiters();
        }
    }

    /// Bytes charged now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn leave(&self, accounts: &[Account]) {
        if accounts.is_empty() {
            return;
        }
        let mut books = self.ledger.books();
        for account in accounts {
            let Some(charged) = books.accounts.get_mut(account) else { continue };
            charged.total -= charged.leases.remove(&self.number).unwrap_or_default();
            if charged.leases.is_empty() {
                books.accounts.remove(account);
            }
        }
        drop(books);
        self.ledger.0.released.notify_waiters();
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.prove();
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Vec<Account> {
        vec![Account::Peer(IpAddr::from([192, 0, 2, last]), false)]
    }

    #[tokio::test]
    async fn unproven_bodies_beyond_half_of_the_budget_are_refused_and_leave_room_for_proven_ones()
    {
        let ledger = Ledger::new(200, 100);
        let mut one = ledger.open(peer(1));
        one.grow(80).await.unwrap();
        let mut other = ledger.open(peer(2));
        assert_eq!(other.grow(21).await, Err(Limit::Memory.refuse()));
        other.grow(20).await.unwrap();
        one.prove();
        one.grow(180).await.unwrap();
        one.shrink(10);
        other.grow(90).await.unwrap();
        drop((one, other));
        let books = ledger.books();
        assert_eq!((books.free, books.accounts.len()), (200, 0));
    }

    #[tokio::test]
    async fn a_proven_request_waits_for_memory() {
        let ledger = Ledger::new(100, 100);
        let proven = || ledger.open(Vec::new());
        let (mut one, mut other) = (proven(), proven());
        one.grow(80).await.unwrap();
        let waiting = tokio::spawn(async move { other.grow(30).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(one);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn who_finds_a_share_full_waits_and_the_oldest_never_does() {
        let ledger = Ledger::new(1_000, 100);
        let (mut oldest, mut younger) = (ledger.open(peer(1)), ledger.open(peer(1)));
        younger.grow(60).await.unwrap();
        oldest.grow(90).await.unwrap();
        let mut waiting = tokio::spawn(async move {
            younger.grow(80).await.unwrap();
            younger
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let mut elsewhere = ledger.open(peer(2));
        elsewhere.grow(100).await.unwrap();
        oldest.prove();
        let younger = (&mut waiting).await.unwrap();
        assert_eq!(younger.bytes(), 80, "no account is charged for what is proven");
    }
}

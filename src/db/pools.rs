//! A pool that is replaced when its connections may be dead.
//!
//! Workaround for `SQLx` 0.9: it tests a connection that is returned to a pool without a timeout,
//! so one that goes silent during the test never comes back, and in the end none is left. So a pool
//! that lost a connection is replaced.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgPool;

/// The least time between two replacements.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);
/// If no connection becomes free, and no call has succeeded for so long, the connections are dead
/// and not busy.
const DEAD_AFTER: Duration = Duration::from_secs(3);

/// How long connections may take to be returned when a pool is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);

/// The current pool, and how to open the next one.
pub(super) struct Pools {
    state: Mutex<State>,
    make: Box<dyn Fn() -> PgPool + Send + Sync>,
}

struct State {
    pool: PgPool,
    made: Instant,
    succeeded: Instant,
    lost: Option<Instant>,
}

/// A pool, and when it was made.
pub(super) struct Used {
    pub(super) pool: PgPool,
    made: Instant,
}

impl Pools {
    pub(super) fn new(make: impl Fn() -> PgPool + Send + Sync + 'static) -> Self {
        let (pool, now) = (make(), Instant::now());
        let state = Mutex::new(State { pool, made: now, succeeded: now, lost: None });
        Self { state, make: Box::new(make) }
    }

    pub(super) fn current(&self) -> Used {
        let state = self.state();
        Used { pool: state.pool.clone(), made: state.made }
    }

    /// The server responded.
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        state.succeeded = Instant::now();
        if let Some(lost) = state.lost.take() {
            let lost_ms = u64::try_from(lost.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(lost_ms, "database connection restored");
        }
    }

    /// A connection of this pool was lost.
    pub(super) fn lost(&self, used: &Used) {
        let mut state = self.state();
        state.lost.get_or_insert_with(Instant::now);
        if state.made == used.made && state.made.elapsed() >= REPLACE_INTERVAL {
            let old = std::mem::replace(&mut state.pool, (self.make)());
            state.made = Instant::now();
            // Its idle connections are closed now, the others when they are returned.
            tokio::spawn(async move { close(&old).await });
        }
    }

    /// Whether this is a former pool, which is closed.
    pub(super) fn is_replaced(&self, used: &Used) -> bool {
        self.state().made != used.made
    }

    /// Whether a pool without a free connection has dead ones.
    pub(super) fn are_dead(&self) -> bool {
        self.state().succeeded.elapsed() >= DEAD_AFTER
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("pool", &self.current().pool).finish_non_exhaustive()
    }
}

/// `Pool::close` waits without end for a connection that is not returned.
pub(super) async fn close(pool: &PgPool) {
    if tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await.is_err() {
        tracing::warn!("a database connection did not close in time");
    }
}

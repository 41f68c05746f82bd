//! The deadline of a request for all its database statements together.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// Time for one request. Clients wait for ten seconds.
pub(crate) const REQUEST: Duration = Duration::from_secs(8);

tokio::task_local! {
    static DEADLINE: Cell<Instant>;
}

/// Runs a request whose statements have [`REQUEST`] from now.
pub(crate) async fn scope<F: Future>(request: F) -> F::Output {
    DEADLINE.scope(Cell::new(Instant::now() + REQUEST), request).await
}

/// Restarts the time after what has a limit of its own: the arrival of the request, and requests to
/// an `OpenID` provider.
pub(crate) fn restart() {
    // An error means that no request waits for this task.
    let _ = DEADLINE.try_with(|deadline| deadline.set(Instant::now() + REQUEST));
}

/// The remaining time; `None` in a task that no request waits for.
pub(crate) fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.get().saturating_duration_since(Instant::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_statement_takes_is_not_left_for_the_next() {
        assert_eq!(remaining(), None);
        scope(async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(remaining(), Some(REQUEST.saturating_sub(Duration::from_secs(5))));
            restart();
            assert_eq!(remaining(), Some(REQUEST));
            tokio::time::sleep(REQUEST * 2).await;
            assert_eq!(remaining(), Some(Duration::ZERO));
        })
        .await;
    }
}

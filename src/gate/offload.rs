//! Work on large bodies leaves the threads that serve connections.

use super::rejection::Rejection;

/// Bodies from this size on are hashed, decrypted and parsed off the threads that serve
/// connections. Smaller ones take less than two milliseconds, and two changes of threads for each
/// request cost more than that is worth: 0.6 ms of processor time for photos of 1280 pixels.
const OFFLOAD_FROM: usize = 1 << 20;

pub(super) async fn offload<T: Send + 'static, E: From<Rejection> + Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    if size < OFFLOAD_FROM {
        return work();
    }
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|e| Rejection::internal(&e))?
}

//! Reading a body: within its limit, within its time, at a least rate, and charged to the memory
//! budget as it arrives.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, EXPECT},
    },
};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::{limit::Limit, memory::MemoryReservation, rejection::Rejection};

/// What a body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Bytes of it.
    pub(super) bytes: usize,
    /// From its first byte to its last.
    pub(super) deadline: Duration,
    /// Bytes per second that must arrive in each [`WINDOW`]; 0 for no limit.
    pub(super) least_rate: u32,
}

impl BodyLimits {
    fn time(self) -> Limit {
        Limit::BodyTime(self.deadline, self.least_rate)
    }
}

/// How long the sender may keep us waiting for as many bytes as the least rate gives in that time.
const WINDOW: Duration = Duration::from_secs(5);
/// The first buffer, bytes. It doubles from there, so a body never takes more than twice of what
/// has arrived of it.
const FIRST_BUFFER: usize = 32 << 10;
/// A refused body is read on for so many times its limit, so that its client sees the response.
const DISCARD_LIMITS: usize = 2;

/// Collects a body and charges it to `lease`.
///
/// # Errors
/// [`Limit::BodySize`], [`Limit::BodyTime`] or [`Limit::Memory`]; [`Rejection::CutOff`].
pub(super) async fn collect(
    headers: &HeaderMap,
    body: &mut Body,
    limits: BodyLimits,
    lease: &mut MemoryReservation,
) -> Result<Bytes, Rejection> {
    let reading = read(headers, body, limits, lease);
    let read = tokio::time::timeout(limits.deadline, reading).await;
    read.unwrap_or_else(|_| Err(limits.time().refuse().into()))
}

async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    limits: BodyLimits,
    lease: &mut MemoryReservation,
) -> Result<Bytes, Rejection> {
    let too_large = || Rejection::from(Limit::BodySize(limits.bytes).refuse());
    let announced = announced_length(headers);
    if announced.is_some_and(|length| length > limits.bytes) {
        return Err(too_large());
    }
    let most = announced.unwrap_or(limits.bytes);
    let mut collected = Vec::new();
    let mut pace = Pace::new(limits);
    while let Some(data) = pace.next(body).await? {
        let length = collected.len() + data.len();
        if length > limits.bytes {
            return Err(too_large());
        }
        if length > collected.capacity() {
            let capacity = length.max(2 * collected.capacity()).max(FIRST_BUFFER.min(most));
            let capacity = capacity.min(most.max(length));
            lease.grow(capacity).await?;
            collected.reserve_exact(capacity - collected.len());
        }
        collected.extend_from_slice(&data);
    }
    Ok(Bytes::from(collected))
}

/// How long a body is to be; `None` for one that comes in chunks.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the rest of the body of a request that is refused already, without keeping it: a client
/// whose connection is closed while it sends never sees the response. One that waits for `100
/// Continue` sees it without.
pub(super) async fn discard(headers: &HeaderMap, mut body: Body, limits: BodyLimits) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        let mut pace = Pace::new(limits);
        let mut read = 0;
        while let Ok(Some(data)) = pace.next(&mut body).await {
            read += data.len();
            if read > limits.bytes.saturating_mul(DISCARD_LIMITS) {
                return;
            }
        }
    };
    // When the time is up, the response goes out all the same.
    let _ = tokio::time::timeout(limits.deadline, reading).await;
}

/// How long the sender keeps us waiting. Time in which we do not read does not count.
struct Pace {
    limits: BodyLimits,
    /// In this window.
    waited: Duration,
    received: usize,
}

impl Pace {
    fn new(limits: BodyLimits) -> Self {
        Self { limits, waited: Duration::ZERO, received: 0 }
    }

    /// The next bytes of a body; `None` at its end.
    async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Rejection> {
        loop {
            let begun = Instant::now();
            let frame = if self.limits.least_rate == 0 {
                body.frame().await
            } else {
                let left = WINDOW.saturating_sub(self.waited);
                let frame = tokio::time::timeout(left, body.frame()).await;
                frame.map_err(|_| Rejection::from(self.limits.time().refuse()))?
            };
            self.waited += begun.elapsed();
            let Some(frame) = frame else { return Ok(None) };
            // Trailers are no data.
            if let Ok(data) = frame.map_err(|_| Rejection::CutOff)?.into_data() {
                self.count(data.len());
                return Ok(Some(data));
            }
        }
    }

    /// A window that has had its bytes is over, and the next one begins.
    fn count(&mut self, bytes: usize) {
        self.received += bytes;
        if self.received as f64 >= WINDOW.as_secs_f64() * f64::from(self.limits.least_rate) {
            (self.waited, self.received) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;
    use crate::gate::memory::Ledger;

    /// A body that arrives in so many pieces.
    struct Pieces(Vec<Bytes>);

    impl axum::body::HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[test]
    fn collecting_a_body_allocates_at_most_twice_its_length() {
        const BYTES: usize = 1 << 20;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limits = BodyLimits { bytes: BYTES, deadline: WINDOW, least_rate: 0 };
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, BYTES.into())]);
        let mut body = Body::new(Pieces(vec![Bytes::from(vec![b'x'; BYTES / 64]); 64]));
        let mut reservation = Ledger::new(2 * BYTES, BYTES).open(Vec::new());
        let taken = allocation_counter::measure(|| {
            let collected =
                runtime.block_on(collect(&headers, &mut body, limits, &mut reservation));
            assert_eq!(collected.unwrap().len(), BYTES);
        });
        assert!(usize::try_from(taken.bytes_total).unwrap() <= 2 * BYTES, "{taken:?}");
    }

    #[test]
    fn each_window_needs_its_bytes_however_many_came_before() {
        let limits = BodyLimits { bytes: 0, deadline: WINDOW, least_rate: 1_000 };
        let mut pace = Pace::new(limits);
        pace.waited = Duration::from_secs(4);
        pace.count(4_999);
        assert_eq!(pace.waited, Duration::from_secs(4));
        pace.count(1_000_000);
        assert_eq!((pace.waited, pace.received), (Duration::ZERO, 0));
        pace.waited = Duration::from_secs(4);
        pace.count(1);
        assert_eq!(pace.waited, Duration::from_secs(4), "a burst earns no rest");
    }
}

//! A connection that nobody uses any more ends, whatever its peer still says.
//!
//! hyper ends an idle HTTP/1.1 connection by itself, but an HTTP/2 one lives as long as its peer answers
//! pings, and one whose peer does not read its answers for ever. So what counts is requests: with none
//! under way, and none begun or answered for so long, the socket fails.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// What is under way on one connection, and since when nothing is.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    under_way: usize,
    last: Instant,
}

/// A request under way; ended by being dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Activity);

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { under_way: 0, last: Instant::now() })))
    }

    /// Counts a request until it is answered or given up.
    pub(super) fn begin(&self) -> UnderWay {
        self.change(|state| state.under_way += 1);
        UnderWay(self.clone())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.last = Instant::now();
    }

    fn end(&self, patience: Duration) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end(patience, Instant::now())
    }
}

impl State {
    /// When the connection will have been idle for so long, as far as can be told now; `None` if it
    /// has been already.
    fn end(&self, patience: Duration, now: Instant) -> Option<Instant> {
        let since = if self.under_way > 0 { now } else { self.last };
        let end = since + patience;
        (end > now).then_some(end)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.change(|state| state.under_way -= 1);
    }
}

/// A socket that fails when its connection has been idle for too long.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Activity,
    patience: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    /// Watches a fresh connection.
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        let alarm = Box::pin(tokio::time::sleep(patience));
        Self { stream, activity: Activity::new(), patience, alarm }
    }

    /// To be told of the connection's requests.
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// An error once the connection is idle for too long; whoever polls is woken then.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.alarm.as_mut().poll(context).is_ready() {
            let Some(end) = self.activity.end(self.patience) else {
                metrics::counter!("visavis_connections_idle_total").increment(1);
                return Err(io::Error::new(io::ErrorKind::TimedOut, "idle for too long"));
            };
            self.alarm.as_mut().reset(end);
        }
        Ok(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_counted_from_the_last_answer_and_never_comes_while_one_is_owed() {
        let (patience, second) = (Duration::from_secs(75), Duration::from_secs(1));
        let last = Instant::now();
        let idle = State { under_way: 0, last };
        assert_eq!(idle.end(patience, last), Some(last + patience));
        assert_eq!(idle.end(patience, last + 74 * second), Some(last + patience));
        assert_eq!(idle.end(patience, last + 75 * second), None);
        let busy = State { under_way: 1, last };
        assert_eq!(busy.end(patience, last + 900 * second), Some(last + 975 * second));
    }

    #[test]
    fn requests_are_counted_until_they_are_dropped() {
        let activity = Activity::new();
        let count = || activity.0.lock().unwrap().under_way;
        let (one, other) = (activity.begin(), activity.begin());
        assert_eq!(count(), 2);
        drop((one, other));
        assert_eq!(count(), 0);
    }
}

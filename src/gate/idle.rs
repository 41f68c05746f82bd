//! An unused connection is closed, whatever its peer still sends.
//!
//! hyper ends an idle HTTP/1.1 connection by itself, but an HTTP/2 one lives as long as its peer
//! responds to pings, and one whose peer does not read its responses never ends. So what counts is
//! requests: with none under way, and none begun or ended for so long, the socket fails. It
//! fails earlier when the connection is to be closed, because another one needs its place or its
//! address is held back.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// What is under way on one connection, and since when nothing is.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Mutex<State>>);

/// How long a response may take to leave after its request is over.
const FLUSH: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct State {
    under_way: usize,
    last: Instant,
    /// When it is to end, once nothing is under way.
    closing: Option<Instant>,
    /// Who polls the socket.
    waker: Option<Waker>,
}

/// A request under way; ended by being dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Activity);

impl Activity {
    fn new() -> Self {
        let state = State { under_way: 0, last: Instant::now(), closing: None, waker: None };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Counts a request until it ends.
    pub(super) fn begin(&self) -> UnderWay {
        self.change(|state| state.under_way += 1);
        UnderWay(self.clone())
    }

    /// Since when nothing is under way; `None` while something is, or when it ends anyway.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.under_way == 0 && state.closing.is_none()).then_some(state.last)
    }

    /// Ends the connection as soon as nothing is under way.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closing.get_or_insert(Instant::now() + FLUSH);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.last = Instant::now();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When the connection is to end, as far as is known now; `None` if that time has come.
    fn end(&self, timeout: Duration, now: Instant) -> Option<Instant> {
        let since = if self.under_way > 0 { now } else { self.last };
        let end = since + timeout;
        let end = match self.closing {
            Some(closing) if self.under_way == 0 => end.min(closing.max(self.last + FLUSH)),
            _ => end,
        };
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
pub(crate) struct Watched {
    stream: TcpStream,
    activity: Activity,
    timeout: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    /// Watches a fresh connection.
    pub(super) fn new(stream: TcpStream, timeout: Duration) -> Self {
        let alarm = Box::pin(tokio::time::sleep(timeout));
        Self { stream, activity: Activity::new(), timeout, alarm }
    }

    /// Counts the requests of the connection.
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// An error once the connection is to end; the task that polls is woken then.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut state = self.activity.state();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        if state.closing.is_some() {
            // The alarm was set before that was known.
            let Some(end) = state.end(self.timeout, Instant::now()) else {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "closed to make room"));
            };
            self.alarm.as_mut().reset(end);
        }
        drop(state);
        while self.alarm.as_mut().poll(context).is_ready() {
            let end = self.activity.state().end(self.timeout, Instant::now());
            let Some(end) = end else {
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
        let (timeout, second) = (Duration::from_secs(75), Duration::from_secs(1));
        let last = Instant::now();
        let state = |under_way| State { under_way, last, closing: None, waker: None };
        let idle = state(0);
        assert_eq!(idle.end(timeout, last), Some(last + timeout));
        assert_eq!(idle.end(timeout, last + 74 * second), Some(last + timeout));
        assert_eq!(idle.end(timeout, last + 75 * second), None);
        let busy = state(1);
        assert_eq!(busy.end(timeout, last + 900 * second), Some(last + 975 * second));
        let closing = State { closing: Some(last + second), ..state(0) };
        assert_eq!(closing.end(timeout, last), Some(last + second));
        assert_eq!(closing.end(timeout, last + second), None);
        let closing = State { closing: Some(last), ..state(0) };
        assert_eq!(closing.end(timeout, last), Some(last + FLUSH), "its response has to leave");
        let closing = State { closing: Some(last + second), ..state(1) };
        assert!(closing.end(timeout, last + 900 * second).is_some(), "a response is owed");
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

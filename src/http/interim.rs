//! Connections on which no `100 Continue` is sent.
//!
//! Some clients take the first response that they see for the final one. hyper sends the interim
//! response by itself as soon as a body is read, and has no switch for it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper writes, in one piece. No response of ours begins with it, and no body has line breaks
/// like these: JSON escapes them, and base64 has none.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Accepts what another acceptor does.
#[derive(Debug, Clone)]
pub(super) struct Interim<A> {
    acceptor: A,
    is_sent: bool,
}

/// A connection that may leave out interim responses.
#[derive(Debug)]
pub(super) struct Filtered<I> {
    stream: I,
    is_sent: bool,
}

impl<A> Interim<A> {
    /// `is_sent` is whether `100 Continue` is sent to those who wait for it.
    pub(super) fn new(acceptor: A, is_sent: bool) -> Self {
        Self { acceptor, is_sent }
    }
}

impl<I, S, A> Accept<I, S> for Interim<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = Filtered<A::Stream>;
    type Service = A::Service;
    type Future =
        Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send + 'static>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let (accepting, is_sent) = (self.acceptor.accept(stream, service), self.is_sent);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            Ok((Filtered { stream, is_sent }, service))
        })
    }
}

impl<I> Filtered<I> {
    fn leaves_out(&self, bytes: &[u8]) -> bool {
        !self.is_sent && bytes.starts_with(INTERIM)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Filtered<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Filtered<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.leaves_out(bytes) {
            return Poll::Ready(Ok(INTERIM.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.first().is_some_and(|first| self.leaves_out(first)) {
            return Poll::Ready(Ok(INTERIM.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

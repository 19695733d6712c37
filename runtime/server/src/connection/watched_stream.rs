//! A TCP stream that tells its [`ConnectionWatch`] what happens on it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::ConnectionWatch;
use super::head_scan::HeadScan;
use super::watcher::{Incoming, Signal};

/// First bytes of the HTTP/2 connection preface.
const HTTP2_PREFACE_START: &[u8] = b"PRI ";

/// How long whoever connected before the server drains, and has said nothing yet, may take to begin a request.
const OPENING_GRACE: Duration = Duration::from_secs(1);

/// A watched TCP stream, for hyper.
#[derive(Debug)]
pub(crate) struct WatchedStream {
    stream: TokioIo<TcpStream>,
    watch: Arc<ConnectionWatch>,
    head: HeadScan,
}

impl WatchedStream {
    pub(crate) fn new(stream: TcpStream, watch: Arc<ConnectionWatch>) -> Self {
        Self { stream: TokioIo::new(stream), watch, head: HeadScan::default() }
    }

    /// Whether the connection opens as HTTP/2; waits for its first bytes, which stay to be read.
    ///
    /// # Errors
    /// When the connection fails, or is told to end before it says anything.
    pub(crate) async fn opens_as_http2(&self) -> io::Result<bool> {
        let told_to_end = async {
            if poll_fn(|context| self.watch.poll_signal(context)).await == Signal::Drain {
                tokio::time::sleep(OPENING_GRACE).await;
            }
        };
        tokio::select! {
            // What has arrived already is served, also while the server drains.
            biased;
            opening = self.opening() => opening,
            () = told_to_end => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn opening(&self) -> io::Result<bool> {
        let mut first = [0; HTTP2_PREFACE_START.len()];
        loop {
            let seen = self.stream.inner().peek(&mut first).await?;
            if seen == 0 || first[..seen] != HTTP2_PREFACE_START[..seen] {
                return Ok(false);
            }
            if seen == first.len() {
                return Ok(true);
            }
            // The start of a preface and no more: give the rest a moment instead of spinning on what is there.
            self.watch.bytes_read();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Read for WatchedStream {
    #[allow(unsafe_code, reason = "hyper's cursor shows what was read into it only by its uninitialised part")]
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // SAFETY: the part behind the cursor is only written to, by `poll_read` below.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        ready!(Pin::new(this.stream.inner_mut()).poll_read(context, &mut buffer))?;
        let read = buffer.filled();
        if !read.is_empty() {
            match this.watch.bytes_read() {
                Incoming::HeadStart => this.head = HeadScan::default(),
                Incoming::Head => {}
                Incoming::Other => this.head.skip(),
            }
            this.head.feed(read);
            if this.head.is_ambiguous() {
                this.watch.ambiguous_framing();
            }
        }
        let length = read.len();
        // SAFETY: `poll_read` initialised exactly the bytes that `buffer` counts as filled.
        unsafe { cursor.advance(length) };
        Poll::Ready(Ok(()))
    }
}

impl WatchedStream {
    fn note<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_pending() {
            self.watch.write_blocked();
        }
        result
    }
}

impl Write for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, data);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        if result.is_ready() {
            self.watch.write_finished();
        }
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(result)
    }
}

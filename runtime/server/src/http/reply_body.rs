//! The body of a reply: a few buffers, sent in order, none of them copied.
//!
//! Holds the permits of its request, so that they are released when the last byte was handed over; and its trace, if it has
//! one, which ends then.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hanok_telemetry::{Activity, RequestTrace};
use hyper::body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use crate::admission::Permit;

/// Body of an HTTP reply.
#[derive(Debug, Default)]
pub(crate) struct ReplyBody {
    parts: SmallVec<[Bytes; 2]>,
    next: usize,
    permits: SmallVec<[Permit; 2]>,
    trace: Option<Box<RequestTrace>>,
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let parts = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self { parts, next: 0, permits: SmallVec::new(), trace: None }
    }

    pub(crate) fn hold(&mut self, permit: Permit) {
        self.permits.push(permit);
    }

    /// Takes the request's trace along, in which the reply is sent from now on.
    pub(crate) fn trace(&mut self, trace: Box<RequestTrace>) {
        trace.mark(Activity::HttpSendStart);
        self.trace = Some(trace);
    }

    /// The buffers that are still to be sent.
    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.parts[self.next..]
    }

    /// Replaces the content; permits stay.
    pub(crate) fn replace(&mut self, content: Bytes) {
        self.parts = SmallVec::from_iter([content]);
        self.next = 0;
    }

    fn remaining(&self) -> u64 {
        self.parts().iter().map(|part| part.len() as u64).sum()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.next;
        let Some(part) = self.parts.get_mut(next).map(std::mem::take) else {
            return Poll::Ready(None);
        };
        self.next += 1;
        if self.next == self.parts.len()
            && let Some(trace) = self.trace.take()
        {
            trace.mark(Activity::HttpSendEnd);
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.parts.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

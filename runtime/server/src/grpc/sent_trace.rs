//! The trace of a call while its reply is sent: it ends when the last of the reply was handed to the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hanok_telemetry::{Activity, RequestTrace};
use http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// A trace whose reply is being sent. Dropped before its [`SentTrace::end`] it says that the reply was not taken.
#[derive(Clone, Debug)]
pub(super) struct SentTrace(Arc<RequestTrace>);

impl SentTrace {
    /// The reply is made and goes out from now on.
    #[allow(clippy::boxed_local, reason = "the box is given up: extensions of a reply are shared")]
    pub(super) fn begin(trace: Box<RequestTrace>) -> Self {
        trace.times().mark_first(Activity::GrpcSendStart);
        Self(Arc::new(*trace))
    }

    /// The last of the reply was handed to the connection.
    pub(super) fn end(self) {
        self.0.mark(Activity::GrpcSendEnd);
    }
}

/// Has the trace that the reply carries end when its body is sent.
pub(super) fn end_trace_when_sent(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<SentTrace>() {
        None => response,
        Some(trace) => response.map(|body| Body::new(TracedBody { body, trace: Some(trace) })),
    }
}

/// A reply's body with its trace.
struct TracedBody {
    body: Body,
    trace: Option<SentTrace>,
}

impl HttpBody for TracedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let is_last = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(None) => true,
            _ => false,
        };
        if is_last && let Some(trace) = self.trace.take() {
            trace.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

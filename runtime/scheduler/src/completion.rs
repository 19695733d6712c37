//! How an answer reaches its caller. (signatures first; bodies follow)

use std::pin::Pin;
use std::task::{Context, Poll};

use hanok_backend::{InferenceResponse, ServingError};

/// Outcome of [`crate::ModelScheduler::submit`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once; boxing would cost the allocation that inline execution saves")]
pub enum Submission {
    /// Answered already: executed on the caller's thread, or refused.
    Done(Result<InferenceResponse, ServingError>),
    /// Queued: await it; dropping it cancels the request.
    Pending(ResponseFuture),
}

/// The answer to come of a queued request. Dropping it cancels the request.
#[derive(Debug)]
pub struct ResponseFuture(());

impl Future for ResponseFuture {
    type Output = Result<InferenceResponse, ServingError>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err(ServingError::unavailable("the scheduler is not built yet")))
    }
}

/// One of the responses of a streamed request.
#[derive(Debug)]
pub struct StreamedResponse {
    /// The response; `None` when a decoupled request ended without a further one (then `last` is true).
    pub result: Option<Result<InferenceResponse, ServingError>>,
    /// Whether nothing follows.
    pub last: bool,
}

/// The responses to come of a streamed request. Dropping it cancels the request.
#[derive(Debug)]
pub struct ResponseStream(());

impl ResponseStream {
    /// Waits for the next response; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<StreamedResponse> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The poll form of [`ResponseStream::next`].
    pub fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Option<StreamedResponse>> {
        Poll::Ready(None)
    }
}

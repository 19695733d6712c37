//! How the responses of a streamed request reach their caller: a bounded buffer and its two ends.
//!
//! The model never waits for a slow reader: when [`STREAM_CAPACITY`] responses lie unread, the request is cancelled and
//! the stream ends with an error. The final mark is never lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hanok_backend::{ErrorCode, InferenceResponse, ServingError};
use parking_lot::Mutex;

use crate::completion::Withdrawal;

/// Responses of one request that may lie unread.
pub(crate) const STREAM_CAPACITY: usize = 1024;

/// One of the responses of a streamed request.
#[derive(Debug)]
pub struct StreamedResponse {
    /// The response; `None` when a decoupled request ended without a further one (then `last` is true).
    pub result: Option<Result<InferenceResponse, ServingError>>,
    /// Whether nothing follows.
    pub last: bool,
}

#[derive(Debug, Default)]
struct StreamState {
    unread: VecDeque<StreamedResponse>,
    waker: Option<Waker>,
    /// The last response was put in, or the reader was too slow, or is gone.
    ended: bool,
    /// Nobody wants further responses.
    cancelled: bool,
}

/// Shared by the caller's stream and the request's sink.
#[derive(Debug, Default)]
pub(crate) struct StreamCell {
    state: Mutex<StreamState>,
}

impl StreamCell {
    /// Puts in a response and wakes the reader. Ignored after the last one.
    pub(crate) fn put(&self, response: StreamedResponse) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        if state.unread.len() >= STREAM_CAPACITY {
            let error = ServingError::new(
                ErrorCode::ResourceExhausted,
                format!("the request was cancelled: `{STREAM_CAPACITY}` responses were not read in time"),
            );
            state.unread.push_back(StreamedResponse { result: Some(Err(error)), last: true });
            state.ended = true;
            state.cancelled = true;
        } else {
            state.ended = response.last;
            state.unread.push_back(response);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether further responses are wasted.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }
}

/// The responses to come of a streamed request. Dropping it cancels the request.
#[derive(Debug)]
pub struct ResponseStream {
    cell: Arc<StreamCell>,
    withdrawal: Option<Withdrawal>,
    finished: bool,
}

impl ResponseStream {
    pub(crate) const fn new(cell: Arc<StreamCell>, withdrawal: Option<Withdrawal>) -> Self {
        Self { cell, withdrawal, finished: false }
    }

    /// Waits for the next response; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<StreamedResponse> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The poll form of [`ResponseStream::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamedResponse>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let mut state = self.cell.state.lock();
        let Some(response) = state.unread.pop_front() else {
            match &mut state.waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => state.waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        };
        drop(state);
        self.finished = response.last;
        Poll::Ready(Some(response))
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        let mut state = self.cell.state.lock();
        let unanswered = !state.ended;
        state.ended = true;
        state.cancelled = true;
        let unread = std::mem::take(&mut state.unread);
        drop(state);
        drop(unread);
        if unanswered && let Some(withdrawal) = self.withdrawal.take() {
            withdrawal.withdraw();
        }
    }
}

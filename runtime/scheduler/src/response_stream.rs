//! How the responses of a streamed request reach their caller: a bounded buffer and its two ends.
//!
//! The model never waits for a slow reader: when [`STREAM_CAPACITY`] responses lie unread, or more bytes than the
//! client's budget has room for, the request is cancelled and the stream ends with an error. The final mark is never
//! lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hanok_backend::{ErrorCode, InferenceResponse, ServingError};
use parking_lot::Mutex;

use crate::completion::Withdrawal;
use crate::unread_budget::{RequestAccount, UnreadBudget, UnreadShare};

/// Responses of one request that may lie unread.
pub(crate) const STREAM_CAPACITY: usize = 1024;

/// One of the responses of a streamed request.
#[derive(Debug)]
pub struct StreamedResponse {
    /// The response; `None` when a decoupled request ended without a further one (then `last` is true).
    pub result: Option<Result<InferenceResponse, ServingError>>,
    /// Whether nothing follows.
    pub last: bool,
    /// What it takes of its client's budget. To be kept until the client has read the response, in whatever form.
    pub share: Option<UnreadShare>,
}

impl StreamedResponse {
    pub(crate) const fn new(result: Option<Result<InferenceResponse, ServingError>>, last: bool) -> Self {
        Self { result, last, share: None }
    }
}

#[derive(Debug, Default)]
struct StreamState {
    unread: VecDeque<StreamedResponse>,
    /// Follows what is unread, as the last: why the request was cancelled.
    failure: Option<ServingError>,
    waker: Option<Waker>,
    /// The last response was put in, or the reader was too slow, or is gone.
    ended: bool,
    /// Nobody wants further responses.
    cancelled: bool,
}

/// Shared by the caller's stream and the request's sink.
#[derive(Debug)]
pub(crate) struct StreamCell {
    state: Mutex<StreamState>,
    account: Arc<RequestAccount>,
}

impl StreamCell {
    pub(crate) fn new(budget: &Arc<UnreadBudget>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), account: RequestAccount::new(budget) })
    }

    /// Puts in a response and wakes the reader. Ignored after the last one.
    pub(crate) fn put(&self, mut response: StreamedResponse) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        match self.admit(&response, state.unread.len()) {
            Ok(share) => {
                response.share = share;
                state.ended = response.last;
                state.unread.push_back(response);
            }
            Err(error) => {
                state.failure = Some(error);
                state.ended = true;
                state.cancelled = true;
            }
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the response may join those unread; an end that carries no response always may.
    fn admit(&self, response: &StreamedResponse, unread: usize) -> Result<Option<UnreadShare>, ServingError> {
        match &response.result {
            None => Ok(None),
            Some(Err(_)) if response.last => Ok(None),
            Some(_) if unread >= STREAM_CAPACITY => Err(ServingError::new(
                ErrorCode::ResourceExhausted,
                format!("the request was cancelled: `{STREAM_CAPACITY}` responses were not read in time"),
            )),
            Some(result) => self.account.take(result).map(Some),
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
        let next = state.unread.pop_front();
        let Some(response) =
            next.or_else(|| state.failure.take().map(|error| StreamedResponse::new(Some(Err(error)), true)))
        else {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn small() -> StreamedResponse {
        StreamedResponse::new(Some(Ok(InferenceResponse::default())), false)
    }

    fn fill(budget: &Arc<UnreadBudget>, count: usize) -> ResponseStream {
        let cell = StreamCell::new(budget);
        for _ in 0..count {
            cell.put(small());
        }
        cell.put(StreamedResponse::new(None, true));
        ResponseStream::new(cell, None)
    }

    fn read(stream: &mut ResponseStream) -> StreamedResponse {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(response)) = stream.poll_next(&mut context) else { panic!("nothing to read") };
        response
    }

    #[test]
    fn many_neglected_streams_of_one_client_stay_within_its_budget() {
        let budget = UnreadBudget::new(1 << 20);
        let mut streams: Vec<_> = (0..500).map(|_| fill(&budget, 2000)).collect();
        // One response more per stream.
        assert!(budget.held() <= (1 << 20) + 500 * 512, "{} bytes", budget.held());
        // Each has its beginning, and then is told.
        for stream in &mut streams {
            assert!(read(stream).result.unwrap().is_ok());
            let failure = loop {
                if let Err(error) = read(stream).result.unwrap() {
                    break error;
                }
            };
            assert_eq!(failure.code(), ErrorCode::ResourceExhausted);
            assert!(stream.cell.is_cancelled() && stream.finished);
        }
        assert_eq!(budget.held(), 0);
        let mut late = fill(&budget, STREAM_CAPACITY);
        for _ in 0..STREAM_CAPACITY {
            assert!(read(&mut late).result.unwrap().is_ok());
        }
        assert!(read(&mut late).last, "the end does not count");
    }

    #[test]
    fn what_is_kept_after_reading_counts_on() {
        let budget = UnreadBudget::new(4096);
        let cell = StreamCell::new(&budget);
        let mut stream = ResponseStream::new(Arc::clone(&cell), None);
        let kept: Vec<_> = (0..4)
            .map(|_| {
                cell.put(small());
                read(&mut stream)
            })
            .collect();
        cell.put(small());
        assert!(cell.is_cancelled());
        drop(kept);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn dropping_gives_everything_back() {
        let budget = UnreadBudget::new(1 << 20);
        let stream = fill(&budget, 10);
        assert!(budget.held() > 0);
        drop(stream);
        assert_eq!(budget.held(), 0);
    }
}

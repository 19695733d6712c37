//! How the one answer of an ordinary request reaches its caller.
//!
//! One allocation per queued request: the cell that both sides share. States: waiting -> answered, or waiting -> gone
//! (the caller dropped its future). Whichever comes first stays; an answer to one who is gone is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hanok_backend::{InferenceResponse, ServingError};
use parking_lot::Mutex;

use crate::queue::Ticket;

/// What a request ends with.
pub(crate) type Answer = Result<InferenceResponse, ServingError>;

/// Outcome of [`crate::ModelScheduler::submit`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once; a box would be the allocation that inline execution saves")]
pub enum Submission {
    /// Answered already: executed on the caller's thread, or refused.
    Done(Result<InferenceResponse, ServingError>),
    /// Queued: await it; dropping it cancels the request.
    Pending(ResponseFuture),
}

/// Takes a queued request out again when its caller is gone.
pub(crate) trait Withdraw: Send + Sync + std::fmt::Debug {
    /// Removes the request from its queue, if it is still there.
    fn withdraw(&self, ticket: Ticket);
}

/// The way back into the queue, used at most once.
#[derive(Debug)]
pub(crate) struct Withdrawal {
    pub(crate) queue: Arc<dyn Withdraw>,
    pub(crate) ticket: Ticket,
}

impl Withdrawal {
    pub(crate) fn withdraw(&self) {
        self.queue.withdraw(self.ticket);
    }
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the answer lives in the request's one allocation")]
enum CellState {
    Waiting(Option<Waker>),
    Answered(Answer),
    Gone,
}

/// Shared by the caller's future and the request's sink.
#[derive(Debug)]
pub(crate) struct ResponseCell {
    state: Mutex<CellState>,
}

impl ResponseCell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(CellState::Waiting(None)) })
    }

    /// Gives the answer and wakes the caller. Ignored when there is one already, or nobody to read it.
    pub(crate) fn answer(&self, answer: Answer) {
        let mut state = self.state.lock();
        let CellState::Waiting(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = CellState::Answered(answer);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the caller is gone.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(*self.state.lock(), CellState::Gone)
    }

    /// The answer, once; until then the context is woken when it comes.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Answer> {
        let mut state = self.state.lock();
        if let CellState::Waiting(waker) = &mut *state {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, CellState::Gone) {
            CellState::Answered(answer) => Poll::Ready(answer),
            _ => Poll::Ready(Err(ServingError::internal("the answer of this request was taken already"))),
        }
    }

    /// Marks the caller as gone; true when the request was not answered yet.
    fn leave(&self) -> bool {
        let previous = std::mem::replace(&mut *self.state.lock(), CellState::Gone);
        matches!(previous, CellState::Waiting(_))
    }
}

/// The answer to come of a queued request.
///
/// Dropping it cancels the request: queued, it stops counting at once and is never executed; in execution, its answer
/// is dropped.
#[derive(Debug)]
pub struct ResponseFuture {
    cell: Arc<ResponseCell>,
    withdrawal: Option<Withdrawal>,
}

impl ResponseFuture {
    pub(crate) const fn new(cell: Arc<ResponseCell>, withdrawal: Withdrawal) -> Self {
        Self { cell, withdrawal: Some(withdrawal) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<InferenceResponse, ServingError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.cell.poll(context);
        if polled.is_ready() {
            self.withdrawal = None;
        }
        polled
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        if let Some(withdrawal) = self.withdrawal.take()
            && self.cell.leave()
        {
            withdrawal.withdraw();
        }
    }
}

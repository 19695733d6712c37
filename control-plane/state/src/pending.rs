//! The answer to come of a queued call, for tasks and for threads.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::error::StateError;

/// The answer to a call that is queued: await it, or [`wait`](Pending::wait) for it.
///
/// Dropping it does not take the call back: a change that was queued will happen.
#[derive(Debug)]
#[must_use = "without its answer nobody knows whether the call succeeded"]
pub struct Pending<T> {
    receiver: oneshot::Receiver<Result<T, StateError>>,
}

impl<T> Pending<T> {
    pub(crate) fn new() -> (oneshot::Sender<Result<T, StateError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self { receiver })
    }

    /// An answer that is known without asking the database.
    pub(crate) fn refused(error: StateError) -> Self {
        let (sender, pending) = Self::new();
        drop(sender.send(Err(error)));
        pending
    }

    /// Blocks the calling thread until the answer is there: at most the queue before it, each call of which is bounded.
    ///
    /// # Errors
    /// Those of the call, and `Closed` if the store ended before answering.
    ///
    /// # Panics
    /// On a thread of a tokio runtime: await there instead.
    pub fn wait(self) -> Result<T, StateError> {
        self.receiver.blocking_recv().unwrap_or(Err(StateError::Closed))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StateError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|answer| answer.unwrap_or(Err(StateError::Closed)))
    }
}

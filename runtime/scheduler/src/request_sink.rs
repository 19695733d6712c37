//! The scheduler's end of a request: takes what the model gives and passes it on to the caller.
//!
//! Invariant: exactly one final answer goes out, even when the sink is dropped without one.

use std::sync::Arc;
use std::time::Instant;

use hanok_backend::{InferenceRequest, InferenceResponse, ResponseSink, ServingError};

use crate::completion::{Answer, ResponseCell};
use crate::queue::Joins;
use crate::release_order::OrderNumber;
use crate::response_stream::{StreamCell, StreamedResponse};

/// A request on its way, with the way back to its caller.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request: InferenceRequest,
    pub(crate) sink: RequestSink,
}

impl Joins for Job {
    /// The same inputs are present, with the same dimensions after the first.
    fn joins(&self, first: &Self) -> bool {
        let (ours, theirs) = (&self.request.inputs, &first.request.inputs);
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|pair| match pair {
                (Some(ours), Some(theirs)) => ours.shape.get(1..) == theirs.shape.get(1..),
                (None, None) => true,
                _ => false,
            })
    }
}

/// Where responses go.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To a future; a decoupled model's one response is held until it says that there is no other.
    Once(Arc<ResponseCell>, Option<Answer>),
    /// To a stream.
    Stream(Arc<StreamCell>),
    /// To the caller on whose thread the request is executed.
    Inline(Option<Answer>),
}

impl Destination {
    /// Passes one response on.
    pub(crate) fn deliver(&mut self, response: StreamedResponse) {
        match self {
            Self::Stream(cell) => cell.put(response),
            Self::Once(cell, held) => {
                if let Some(answer) = single(held, response) {
                    cell.answer(answer);
                }
            }
            Self::Inline(answer) => {
                if let Some(result) = response.result
                    && answer.is_none()
                {
                    *answer = Some(result);
                }
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        match self {
            Self::Once(cell, _) => cell.is_gone(),
            Self::Stream(cell) => cell.is_cancelled(),
            Self::Inline(_) => false,
        }
    }
}

/// The one answer, as soon as it is certain.
fn single(held: &mut Option<Answer>, response: StreamedResponse) -> Option<Answer> {
    let StreamedResponse { result, last, .. } = response;
    match (held.take(), result) {
        (Some(_), Some(Ok(_))) => {
            let error = ServingError::unsupported("the model gave more than one response; it can only be streamed");
            Some(Err(error))
        }
        (_, Some(Err(error))) => Some(Err(error)),
        (None, Some(answer)) if last => Some(answer),
        (None, Some(answer)) => {
            *held = Some(answer);
            None
        }
        (Some(answer), None) => Some(answer),
        (None, None) => Some(Err(ServingError::unsupported("the model gave no response; it can only be streamed"))),
    }
}

/// Receives the responses of one request.
#[derive(Debug)]
pub(crate) struct RequestSink {
    destination: Destination,
    order: Option<OrderNumber>,
    /// Responses that wait for earlier requests' (`order` is set).
    held: Vec<StreamedResponse>,
    queue_ns: u64,
    started: Option<Instant>,
    sent_any: bool,
    ended: bool,
}

impl RequestSink {
    pub(crate) const fn new(destination: Destination) -> Self {
        Self { destination, order: None, held: Vec::new(), queue_ns: 0, started: None, sent_any: false, ended: false }
    }

    /// Notes that the request leaves the queue for its execution.
    pub(crate) fn begin(&mut self, entered: Instant, now: Instant, order: Option<OrderNumber>) {
        let waited = now.saturating_duration_since(entered);
        self.queue_ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.started = Some(now);
        self.order = order;
    }

    /// Sends the answer elsewhere, before there is any.
    pub(crate) fn redirect(&mut self, destination: Destination) {
        self.destination = destination;
    }

    /// Gives up the way back without an answer: the caller gets one in another way.
    pub(crate) const fn forget(&mut self) {
        self.ended = true;
    }

    /// Whether the model answered it, at least in part.
    pub(crate) const fn was_answered(&self) -> bool {
        self.sent_any || self.ended
    }

    /// Whether the final answer was given.
    pub(crate) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Gives the final answer, unless there was one.
    pub(crate) fn end_with(&mut self, error: ServingError) {
        self.pass(StreamedResponse::new(Some(Err(error)), true));
    }

    /// The answer of a request executed on its caller's thread.
    pub(crate) fn take_inline(&mut self) -> Option<Answer> {
        match &mut self.destination {
            Destination::Inline(answer) => answer.take(),
            _ => None,
        }
    }

    fn pass(&mut self, response: StreamedResponse) {
        if self.ended {
            return;
        }
        self.sent_any = true;
        self.ended = response.last;
        let Some(order) = &self.order else { return self.destination.deliver(response) };
        self.held.push(response);
        if self.ended {
            let destination = std::mem::replace(&mut self.destination, Destination::Inline(None));
            let held = std::mem::take(&mut self.held);
            if let Some(answer) = order.release(destination, held) {
                self.destination = Destination::Inline(Some(answer));
            }
        }
    }
}

impl ResponseSink for RequestSink {
    fn send(&mut self, mut response: Result<InferenceResponse, ServingError>, last: bool) {
        if let Ok(response) = &mut response {
            response.timing.queue_ns = self.queue_ns;
            // A backend that answers its members itself leaves the timing to us.
            if response.timing.compute_infer_ns == 0
                && let Some(started) = self.started
            {
                let elapsed = started.elapsed().as_nanos();
                response.timing.compute_infer_ns = u64::try_from(elapsed).unwrap_or(u64::MAX);
            }
        }
        self.pass(StreamedResponse::new(Some(response), last));
    }

    fn is_cancelled(&self) -> bool {
        self.destination.is_cancelled()
    }

    fn close(&mut self) {
        self.pass(StreamedResponse::new(None, true));
    }
}

impl Drop for RequestSink {
    fn drop(&mut self) {
        if !self.ended {
            self.end_with(ServingError::internal("the request ended without an answer"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;
    use bytes::Bytes;
    use hanok_backend::{InputTensor, OutputSelection};
    use hanok_tensor::Shape;

    fn job(shapes: &[Option<&[i64]>]) -> Job {
        let input =
            |shape: &Option<&[i64]>| shape.map(|shape| InputTensor { shape: Shape::new(shape), data: Bytes::new() });
        let request = InferenceRequest {
            id: "".into(),
            regions: None,
            inputs: shapes.iter().map(input).collect(),
            rows: 1,
            outputs: OutputSelection::All,
            parameters: Vec::new(),
            sequence: None,
            priority: 0,
            timeout_microseconds: 0,
            received: Instant::now(),
            deadline: None,
            trace: None,
        };
        Job { request, sink: RequestSink::new(Destination::Inline(None)) }
    }

    #[test]
    fn only_equal_rows_share_a_batch() {
        let first = job(&[Some(&[2, 3, 4]), None]);
        assert!(job(&[Some(&[1, 3, 4]), None]).joins(&first));
        assert!(!job(&[Some(&[2, 4, 3]), None]).joins(&first));
        assert!(!job(&[Some(&[2, 3]), None]).joins(&first));
        assert!(!job(&[Some(&[2, 3, 4]), Some(&[2])]).joins(&first));
        assert!(!job(&[None, None]).joins(&first));
    }

    #[test]
    fn a_sink_that_is_dropped_answers() {
        let cell = ResponseCell::new();
        let sink = RequestSink::new(Destination::Once(Arc::clone(&cell), None));
        drop(sink);
        let error = crate::wait::wait_for(&cell).unwrap_err();
        assert_eq!(error.code(), hanok_backend::ErrorCode::Internal);
    }
}

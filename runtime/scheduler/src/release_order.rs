//! Releases answers in the order in which requests were dispatched, for `preserve_ordering` with several instances.
//!
//! Within a priority level that is the order of arrival. A request that is dropped from the queue never gets a number
//! and so holds nobody up; one that has a number always ends, because its sink does.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::completion::Answer;
use crate::request_sink::Destination;
use crate::response_stream::StreamedResponse;

#[derive(Debug, Default)]
struct Releases {
    next: u64,
    early: BTreeMap<u64, (Destination, Vec<StreamedResponse>)>,
}

/// The gate that all answers of a model pass.
#[derive(Debug, Default)]
pub(crate) struct ReleaseOrder {
    releases: Mutex<Releases>,
}

/// A request's place in the order.
#[derive(Clone, Debug)]
pub(crate) struct OrderNumber {
    pub(crate) gate: Arc<ReleaseOrder>,
    pub(crate) number: u64,
}

impl OrderNumber {
    /// Hands over all responses of this request; they go out when those of all earlier ones did. Gives back the answer
    /// of a request that is executed on its caller's thread, which takes it whatever the others do.
    pub(crate) fn release(&self, destination: Destination, responses: Vec<StreamedResponse>) -> Option<Answer> {
        let mut own = None;
        let mut releases = self.gate.releases.lock();
        if let Destination::Inline(_) = destination {
            own = responses.into_iter().find_map(|response| response.result);
            releases.early.insert(self.number, (destination, Vec::new()));
        } else {
            releases.early.insert(self.number, (destination, responses));
        }
        loop {
            let next = releases.next;
            let Some((mut destination, responses)) = releases.early.remove(&next) else { break };
            releases.next += 1;
            for response in responses {
                destination.deliver(response);
            }
        }
        own
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;
    use hanok_backend::InferenceResponse;
    use proptest::prelude::*;

    use crate::response_stream::StreamCell;

    proptest! {
        #[test]
        fn any_order_of_completion_becomes_the_order_of_dispatch(order in Just((0u64..12).collect::<Vec<_>>()).prop_shuffle()) {
            let gate = Arc::new(ReleaseOrder::default());
            let cell = StreamCell::new(&crate::UnreadBudget::new(1 << 20));
            for number in order {
                let order = OrderNumber { gate: Arc::clone(&gate), number };
                let mut response = InferenceResponse::default();
                response.timing.queue_ns = number;
                let responses = vec![StreamedResponse::new(Some(Ok(response)), number == 11)];
                order.release(Destination::Stream(Arc::clone(&cell)), responses);
            }
            let mut stream = crate::ResponseStream::new(cell, None);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            for expected in 0..12 {
                let std::task::Poll::Ready(Some(response)) = stream.poll_next(&mut context) else { panic!("missing") };
                prop_assert_eq!(response.result.unwrap().unwrap().timing.queue_ns, expected);
            }
        }
    }
}

//! How much of streamed responses may wait for one client to read it, in bytes of memory.
//!
//! Streams that share a budget are those of one client. Every request may leave one response unread, however large;
//! beyond that, half the budget is the most for one request, so that one neglected stream does not starve the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hanok_backend::{ErrorCode, InferenceResponse, ParameterValue, ServingError};

/// What a response takes besides its outputs: its place in a queue, allocations, what a message is made of.
const RESPONSE_BYTES: usize = 512;
/// What an output takes besides its data.
const OUTPUT_BYTES: usize = 256;
/// What a response parameter takes besides its texts.
const PARAMETER_BYTES: usize = 64;

/// What the responses of one client may take before it reads them, all its streams together.
#[derive(Debug)]
pub struct UnreadBudget {
    limit: usize,
    held: AtomicUsize,
}

impl UnreadBudget {
    /// A budget of `limit` bytes, all of them free.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }

    /// Bytes that wait to be read right now; above the limit by one response per request at most.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}

/// The part of one response; given back when dropped.
#[derive(Debug)]
pub struct UnreadShare {
    account: Arc<RequestAccount>,
    bytes: usize,
}

impl Drop for UnreadShare {
    fn drop(&mut self) {
        self.account.held.fetch_sub(self.bytes, Relaxed);
        self.account.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

/// What one request leaves unread.
#[derive(Debug)]
pub(crate) struct RequestAccount {
    budget: Arc<UnreadBudget>,
    held: AtomicUsize,
}

impl RequestAccount {
    pub(crate) fn new(budget: &Arc<UnreadBudget>) -> Arc<Self> {
        Arc::new(Self { budget: Arc::clone(budget), held: AtomicUsize::new(0) })
    }

    /// Takes the share of a response. Not for two threads at once: a request's responses come one after another.
    ///
    /// # Errors
    /// `ResourceExhausted` when it does not fit.
    pub(crate) fn take(
        self: &Arc<Self>,
        result: &Result<InferenceResponse, ServingError>,
    ) -> Result<UnreadShare, ServingError> {
        let bytes = result.as_ref().map_or(RESPONSE_BYTES, size_of_response);
        let own = self.held.load(Relaxed);
        let own_limit = self.budget.limit / 2;
        if own > 0 && own.saturating_add(bytes) > own_limit {
            return Err(exhausted("its responses", own_limit));
        }
        let together = self.budget.held.fetch_add(bytes, Relaxed);
        if own > 0 && together.saturating_add(bytes) > self.budget.limit {
            self.budget.held.fetch_sub(bytes, Relaxed);
            return Err(exhausted("responses to its client", self.budget.limit));
        }
        self.held.fetch_add(bytes, Relaxed);
        Ok(UnreadShare { account: Arc::clone(self), bytes })
    }
}

fn exhausted(whose: &str, limit: usize) -> ServingError {
    ServingError::new(
        ErrorCode::ResourceExhausted,
        format!("the request was cancelled: more than `{limit}` bytes of {whose} were not read in time"),
    )
}

fn size_of_response(response: &InferenceResponse) -> usize {
    let outputs = response.outputs.iter().flatten().map(|output| OUTPUT_BYTES + output.data.len());
    let parameters = response.parameters.iter().map(|(name, value)| {
        let text = if let ParameterValue::String(text) = value { text.len() } else { 0 };
        PARAMETER_BYTES + name.len() + text
    });
    RESPONSE_BYTES + outputs.sum::<usize>() + parameters.sum::<usize>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use bytes::Bytes;
    use hanok_backend::OutputTensor;
    use hanok_tensor::{DataType, Shape};
    use proptest::prelude::*;

    use super::*;

    fn of_bytes(count: usize) -> Result<InferenceResponse, ServingError> {
        let data = Bytes::from(vec![0; count]);
        let output = OutputTensor { data_type: DataType::Uint8, shape: Shape::new(&[1]), data };
        Ok(InferenceResponse { outputs: smallvec::smallvec![Some(output)], ..Default::default() })
    }

    #[test]
    fn one_response_fits_whatever_its_size_and_no_second() {
        let budget = UnreadBudget::new(4096);
        let account = RequestAccount::new(&budget);
        let first = account.take(&of_bytes(10_000)).unwrap();
        assert!(account.take(&of_bytes(0)).unwrap_err().message().contains("`2048` bytes of its responses"));
        drop(first);
        assert_eq!(budget.held(), 0);
        assert!(account.take(&of_bytes(10_000)).is_ok());
    }

    #[test]
    fn fits_to_the_byte_and_not_one_more() {
        let budget = UnreadBudget::new(8192);
        let account = RequestAccount::new(&budget);
        let half = 4096 - RESPONSE_BYTES - OUTPUT_BYTES;
        let empty = account.take(&of_bytes(0)).unwrap();
        let rest = half - RESPONSE_BYTES - OUTPUT_BYTES;
        assert!(account.take(&of_bytes(rest + 1)).is_err());
        let full = account.take(&of_bytes(rest)).unwrap();
        // Another request of the same client has the other half.
        let other = RequestAccount::new(&budget);
        let theirs = [other.take(&of_bytes(0)).unwrap(), other.take(&of_bytes(rest)).unwrap()];
        assert_eq!(budget.held(), 8192);
        let third = RequestAccount::new(&budget);
        let one = third.take(&of_bytes(0)).unwrap();
        assert!(third.take(&of_bytes(0)).unwrap_err().message().contains("`8192` bytes of responses to its client"));
        drop((empty, full, theirs, one));
        assert_eq!(budget.held(), 0);
    }

    proptest! {
        #[test]
        fn never_above_the_limit_by_more_than_one_response_per_request(
            steps in prop::collection::vec((0usize..4, 0usize..3000, prop::bool::ANY), 1..200),
        ) {
            let budget = UnreadBudget::new(16_384);
            let accounts: Vec<_> = (0..4).map(|_| RequestAccount::new(&budget)).collect();
            let mut shares: Vec<Vec<UnreadShare>> = (0..4).map(|_| Vec::new()).collect();
            for (request, size, read) in steps {
                if read && !shares[request].is_empty() {
                    drop(shares[request].remove(0));
                } else if let Ok(share) = accounts[request].take(&of_bytes(size)) {
                    shares[request].push(share);
                }
                let held: usize = shares.iter().flatten().map(|share| share.bytes).sum();
                prop_assert_eq!(budget.held(), held);
                prop_assert!(held <= 16_384 + 4 * (3000 + RESPONSE_BYTES + OUTPUT_BYTES));
                for own in &shares {
                    prop_assert!(own.len() <= 1 || own.iter().map(|share| share.bytes).sum::<usize>() <= 8192);
                }
            }
        }
    }
}

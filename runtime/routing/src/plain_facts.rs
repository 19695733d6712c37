//! Facts given as values: for dry runs ("where would this request go?"), simulations and tests.

use crate::{FactValue, RequestFacts, SequenceFact};

/// Facts of a request, each given as a value. Look-ups by name are linear.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainFacts<'a> {
    /// Headers; names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Request parameters.
    pub parameters: &'a [(&'a str, FactValue<'a>)],
    /// First elements of inputs.
    pub tensor_keys: &'a [(&'a str, FactValue<'a>)],
    /// Who was authenticated.
    pub identity: Option<&'a str>,
    /// Place in a sequence.
    pub sequence: Option<SequenceFact<'a>>,
    /// The request's number.
    pub number: u64,
    /// The time.
    pub now_microseconds: u64,
}

fn find<T: Copy>(pairs: &[(&str, T)], name: &str) -> Option<T> {
    pairs.iter().find(|(known, _)| *known == name).map(|&(_, value)| value)
}

impl RequestFacts for PlainFacts<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        find(self.headers, name)
    }

    fn parameter(&self, name: &str) -> Option<FactValue<'_>> {
        find(self.parameters, name)
    }

    fn identity(&self) -> Option<&str> {
        self.identity
    }

    fn tensor_key(&self, name: &str) -> Option<FactValue<'_>> {
        find(self.tensor_keys, name)
    }

    fn sequence(&self) -> Option<SequenceFact<'_>> {
        self.sequence
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn now_microseconds(&self) -> u64 {
        self.now_microseconds
    }
}

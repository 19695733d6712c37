//! The newest examples of disagreement, bounded in number and bytes.
//!
//! A ring, not a reservoir: the newest are kept and the oldest go first, because an operator asks what disagrees now, and
//! because what is kept then depends on nothing but the order of arrival. Counts tell how many there were in all.
//!
//! Invariant: never more examples and never more bytes than the limits say.

use std::collections::VecDeque;

use hanok_tensor::{DataType, Shape};

use crate::{Comparison, Output};

/// Bytes that an example counts for beside its names and data.
const OVERHEAD_BYTES: usize = 512;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisagreementLimits {
    /// Most examples.
    pub examples: usize,
    /// Most bytes of all examples together, names and bookkeeping included.
    pub bytes: usize,
    /// Most bytes of one tensor; the rest is cut off.
    pub tensor_bytes: usize,
}

impl Default for DisagreementLimits {
    fn default() -> Self {
        Self { examples: 100, bytes: 8 << 20, tensor_bytes: 64 << 10 }
    }
}

/// A tensor of an example: a copy, so that no request's body is held for its sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Name.
    pub name: Box<str>,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions of the whole tensor.
    pub shape: Shape,
    /// Its bytes, or the first of them.
    pub data: Box<[u8]>,
    /// Bytes of the whole tensor; more than `data` has when it was cut.
    pub whole_bytes: usize,
}

impl StoredTensor {
    fn new(tensor: &Output<'_>, limit: usize) -> Self {
        Self {
            name: tensor.name.into(),
            data_type: tensor.data_type,
            shape: tensor.shape.clone(),
            data: tensor.data[..tensor.data.len().min(limit)].into(),
            whole_bytes: tensor.data.len(),
        }
    }

    fn cost(&self) -> usize {
        self.name.len() + self.data.len() + size_of::<Self>()
    }
}

/// One request on which primary and candidate disagreed.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// The client's id; empty when none was given.
    pub request_id: Box<str>,
    /// When the comparison was made, in microseconds on the caller's clock.
    pub at_microseconds: u64,
    /// Version of the primary.
    pub primary_version: u64,
    /// Version of the candidate.
    pub candidate_version: u64,
    /// What was found.
    pub comparison: Comparison,
    /// What was asked.
    pub inputs: Vec<StoredTensor>,
    /// What the client got.
    pub primary: Vec<StoredTensor>,
    /// What the candidate said.
    pub candidate: Vec<StoredTensor>,
}

impl Disagreement {
    /// An example without tensors, to which [`DisagreementStore::keep`] adds them.
    #[must_use]
    pub fn new(request_id: &str, at_microseconds: u64, versions: (u64, u64), comparison: Comparison) -> Self {
        Self {
            request_id: request_id.into(),
            at_microseconds,
            primary_version: versions.0,
            candidate_version: versions.1,
            comparison,
            inputs: Vec::new(),
            primary: Vec::new(),
            candidate: Vec::new(),
        }
    }

    /// Bytes that it counts for.
    fn cost(&self) -> usize {
        let tensors = self.inputs.iter().chain(&self.primary).chain(&self.candidate);
        let judged = self.comparison.tensors.iter().map(|tensor| tensor.name.len() + size_of_val(tensor));
        OVERHEAD_BYTES + self.request_id.len() + tensors.map(StoredTensor::cost).chain(judged).sum::<usize>()
    }
}

/// Counts of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Examples that were offered, since the start.
    pub offered: u64,
    /// Examples that were too large to keep even alone.
    pub too_large: u64,
    /// Examples that are kept.
    pub kept: usize,
    /// Bytes that they count for.
    pub bytes: usize,
}

/// The newest examples of one shadow. Owned by whoever compares; not for several threads at once.
#[derive(Debug)]
pub struct DisagreementStore {
    limits: DisagreementLimits,
    examples: VecDeque<(usize, Disagreement)>,
    bytes: usize,
    offered: u64,
    too_large: u64,
}

impl DisagreementStore {
    /// An empty store.
    #[must_use]
    pub const fn new(limits: DisagreementLimits) -> Self {
        Self { limits, examples: VecDeque::new(), bytes: 0, offered: 0, too_large: 0 }
    }

    /// Keeps an example with copies of its tensors, at the expense of the oldest ones.
    pub fn keep(
        &mut self,
        mut example: Disagreement,
        inputs: &[Output<'_>],
        primary: &[Output<'_>],
        candidate: &[Output<'_>],
    ) {
        self.offered += 1;
        let copied = |tensors: &[Output<'_>]| -> Vec<StoredTensor> {
            tensors.iter().map(|tensor| StoredTensor::new(tensor, self.limits.tensor_bytes)).collect()
        };
        (example.inputs, example.primary, example.candidate) = (copied(inputs), copied(primary), copied(candidate));
        let cost = example.cost();
        if cost > self.limits.bytes || self.limits.examples == 0 {
            self.too_large += 1;
            return;
        }
        while self.examples.len() >= self.limits.examples || self.bytes + cost > self.limits.bytes {
            let Some((freed, _)) = self.examples.pop_front() else { break };
            self.bytes -= freed;
        }
        self.bytes += cost;
        self.examples.push_back((cost, example));
    }

    /// The examples, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Disagreement> {
        self.examples.iter().rev().map(|(_, example)| example)
    }

    /// Counts of the store.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        StoreCounts { offered: self.offered, too_large: self.too_large, kept: self.examples.len(), bytes: self.bytes }
    }
}

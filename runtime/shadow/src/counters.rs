//! Counts of one shadow: what became of the copies, and which outputs disagree.
//!
//! Atomics, so that the path that drops a copy only adds one. Bounded by the declared outputs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::{Comparison, ComparisonRules};

/// What became of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowOutcome {
    /// Compared, and nothing disagrees.
    Agreed,
    /// Compared, and something disagrees.
    Disagreed,
    /// The candidate failed where the primary did not.
    CandidateFailed,
    /// Dropped, because the queue was full or the server busy.
    Dropped,
    /// Dropped, because its turn came too late.
    Expired,
}

const OUTCOMES: usize = 5;

#[derive(Debug)]
struct TensorCounter {
    name: Box<str>,
    compared: AtomicU64,
    disagreed: AtomicU64,
}

/// Counts of one shadow.
#[derive(Debug)]
pub struct ShadowCounters {
    outcomes: [AtomicU64; OUTCOMES],
    /// One per declared output.
    tensors: Box<[TensorCounter]>,
    others: TensorCounter,
}

/// Counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShadowCounts {
    /// Copies that agreed.
    pub agreed: u64,
    /// Copies that disagreed.
    pub disagreed: u64,
    /// Copies at which only the candidate failed.
    pub candidate_failed: u64,
    /// Copies dropped because somebody was busy.
    pub dropped: u64,
    /// Copies whose turn came too late.
    pub expired: u64,
    /// One entry per declared output, then one with an empty name for all others.
    pub tensors: Vec<TensorCounts>,
}

/// Counts of one output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TensorCounts {
    /// Name of the output; empty for all that are not declared.
    pub name: Box<str>,
    /// How often it was judged.
    pub compared: u64,
    /// How often it disagreed.
    pub disagreed: u64,
}

impl TensorCounter {
    fn new(name: &str) -> Self {
        Self { name: name.into(), compared: AtomicU64::new(0), disagreed: AtomicU64::new(0) }
    }

    fn counts(&self) -> TensorCounts {
        TensorCounts {
            name: self.name.clone(),
            compared: self.compared.load(Relaxed),
            disagreed: self.disagreed.load(Relaxed),
        }
    }
}

impl ShadowCounters {
    /// Counters for the outputs that `rules` declare.
    #[must_use]
    pub fn new(rules: &ComparisonRules) -> Self {
        Self {
            outcomes: Default::default(),
            tensors: rules.outputs.keys().map(|name| TensorCounter::new(name)).collect(),
            others: TensorCounter::new(""),
        }
    }

    /// Counts a copy that did not come to a comparison.
    pub fn count(&self, outcome: ShadowOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Counts a comparison: the copy once, and each of its outputs.
    pub fn record(&self, comparison: &Comparison) {
        self.count(if comparison.agrees() { ShadowOutcome::Agreed } else { ShadowOutcome::Disagreed });
        for tensor in &comparison.tensors {
            let counter = self.tensors.iter().find(|counter| counter.name == tensor.name).unwrap_or(&self.others);
            counter.compared.fetch_add(1, Relaxed);
            counter.disagreed.fetch_add(u64::from(tensor.verdict.is_disagreement()), Relaxed);
        }
    }

    /// The counts at this moment; those of a comparison under way may be in part.
    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        let of = |outcome: ShadowOutcome| self.outcomes[outcome as usize].load(Relaxed);
        ShadowCounts {
            agreed: of(ShadowOutcome::Agreed),
            disagreed: of(ShadowOutcome::Disagreed),
            candidate_failed: of(ShadowOutcome::CandidateFailed),
            dropped: of(ShadowOutcome::Dropped),
            expired: of(ShadowOutcome::Expired),
            tensors: self.tensors.iter().chain([&self.others]).map(TensorCounter::counts).collect(),
        }
    }
}

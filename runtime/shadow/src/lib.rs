//! Whether a candidate answers like the primary: outputs compared per tensor by declared rules, counted, and examples of
//! disagreement kept.
//!
//! Knows no request, no queue and no verdict over many comparisons: who copies requests, when, and what a share of
//! disagreements means is decided elsewhere. Everything here is pure or in memory, bounded, and off the primary's path.

mod comparison;
mod counters;
mod disagreements;
mod element;
mod output;
mod ranking;
mod rule;
mod tolerance;

pub use comparison::{Comparison, Side, TensorComparison, Verdict, compare};
pub use counters::{ShadowCounters, ShadowCounts, ShadowOutcome, TensorCounts};
pub use disagreements::{Disagreement, DisagreementLimits, DisagreementStore, StoreCounts, StoredTensor};
pub use output::Output;
pub use rule::{ComparisonRules, NanPolicy, OutputRule, RuleFault};

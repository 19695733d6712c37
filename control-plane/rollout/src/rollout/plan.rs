//! The declared plan of a rollout, as a person writes it. Not yet trusted: see [`ValidatedPlan`](super::ValidatedPlan).

use serde::{Deserialize, Serialize};

/// A rollout from a baseline to a candidate behind one model name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutPlan {
    /// Name of this rollout, unique for ever: decision ids are made of it.
    pub rollout: String,
    /// The public model name.
    pub model: String,
    /// Name of the arm that serves now.
    pub baseline: String,
    /// Name of the arm that may take over.
    pub candidate: String,
    /// Weights on the way, growing; after the last one comes promotion.
    pub steps: Vec<Step>,
    /// What is watched.
    pub metrics: Vec<Metric>,
    /// Promised bound on the probability of ever rolling back a candidate that is no worse in any metric.
    pub alpha_rollback: f64,
    /// Promised bound on the probability of promoting, on proof, a candidate at or beyond the margin of some metric.
    pub alpha_promotion: f64,
    /// What to do when the time is over without a verdict.
    pub on_inconclusive: OnInconclusive,
    /// Running time (pauses left out) after which a rollout without a verdict is inconclusive, in seconds.
    pub maximum_duration_seconds: u64,
    /// What isn't counted at the start.
    #[serde(default)]
    pub warm_up: WarmUp,
}

/// One step: a weight, and what must pass before the next. At least one of the two conditions is given; all given hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The candidate's share in basis points (0.01 %), `1..=10_000`.
    pub weight_basis_points: u16,
    /// Shortest running time of the step, in seconds.
    #[serde(default)]
    pub minimum_duration_seconds: Option<u64>,
    /// Fewest requests that the candidate finished at this weight.
    #[serde(default)]
    pub minimum_samples: Option<u64>,
}

/// One thing that is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name, unique in the plan.
    pub name: String,
    /// What counts as an event.
    pub kind: MetricKind,
    /// How much worse the candidate's rate may be for promotion: a ratio above 1, such as 1.5. Promotion waits until
    /// "as bad as that or worse" is refuted. Without it the metric only guards. For a disagreement it is a ratio of odds.
    #[serde(default)]
    pub margin_ratio: Option<f64>,
    /// Part of `alpha_rollback` that goes to this metric, relative to the others.
    #[serde(default = "one")]
    pub alpha_weight: f64,
}

fn one() -> f64 {
    1.0
}

/// What a metric counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricKind {
    /// Failed and shed requests.
    ErrorRate,
    /// Requests slower than a threshold, and shed ones; cancelled ones when they had waited longer than it.
    Latency {
        /// The threshold.
        threshold: LatencyThreshold,
    },
    /// Events that labels or business outcomes tell.
    Label {
        /// Which way is better.
        better: Direction,
    },
    /// Shadow outputs that disagree.
    Disagreement {
        /// Rate of disagreement that is accepted, in `(0, 1)`.
        allowance: f64,
    },
}

/// Where a latency becomes bad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LatencyThreshold {
    /// A quantile of the baseline's first latencies after the start, then frozen.
    BaselineQuantile {
        /// In `(0, 1)`: 0.9 is fast, 0.99 is the guard of the tail.
        quantile: f64,
        /// How many latencies it is estimated from, `10 / (1 - quantile) ..= 100_000`.
        samples: u32,
    },
    /// A service level, in microseconds.
    Microseconds(u64),
}

/// Which way a rate is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Fewer events are better.
    Lower,
    /// More events are better.
    Higher,
}

/// What happens when the time is over without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// Keep the weight and wait for a person.
    Hold,
    /// Promote: nothing bad was shown.
    Promote,
    /// Roll back: nothing good was shown.
    Rollback,
}

/// What isn't counted as evidence, for either arm, at the start. Fixed beforehand, so that nobody chooses it to suit.
///
/// Ends when both conditions hold. Thresholds of latency are estimated during it as after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Seconds from the start.
    #[serde(default)]
    pub duration_seconds: u64,
    /// Requests of the candidate.
    #[serde(default)]
    pub candidate_requests: u64,
}

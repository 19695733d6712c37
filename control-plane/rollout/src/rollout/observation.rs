//! What a rollout learns from: finished requests, labels that come later, shadow comparisons.
//!
//! Only requests whose arm was drawn by chance belong here. A request that chose its arm (an explicit version, a rule) is
//! left out by the caller, or is given with share 0 or 100 %, which counts it and takes no evidence from it.

use serde::{Deserialize, Serialize};

use crate::{BasisPoints, UnixMillis};

/// The two sides of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What served before.
    Baseline,
    /// What may replace it.
    Candidate,
}

/// One record of the observation stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// A request is over.
    Request(RequestObservation),
    /// A label or business outcome of a request became known.
    Label(LabelObservation),
    /// A shadow comparison of both arms' outputs for one request.
    Comparison(ComparisonObservation),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// Answered without error.
    Answered,
    /// Answered with an error that is the server's or the model's fault.
    Failed,
    /// Refused for lack of room after its arm was assigned: bad for that arm, or a slow arm would hide behind it.
    Shed,
    /// Given up by its client: not bad, but watched.
    Cancelled,
}

/// A finished request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestObservation {
    /// The arm it was assigned to.
    pub arm: Arm,
    /// The candidate's share in force when it was assigned.
    pub candidate_share: BasisPoints,
    /// Hash of its sticky key; none when its arm was drawn for it alone. Retries carry the same key.
    pub unit: Option<u64>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// Microseconds from arrival to its end, where known.
    pub latency_microseconds: Option<u64>,
    /// When it ended.
    pub at: UnixMillis,
}

/// A late outcome, joined to its request by the caller, exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelObservation {
    /// Name of the plan's label metric.
    pub metric: String,
    /// The arm of its request.
    pub arm: Arm,
    /// The candidate's share in force when its request was assigned.
    pub candidate_share: BasisPoints,
    /// Hash of its request's sticky key, if any.
    pub unit: Option<u64>,
    /// Whether the event that the metric counts happened.
    pub event: bool,
    /// When its request ended.
    pub at: UnixMillis,
}

/// A comparison of the candidate's shadow output with the baseline's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonObservation {
    /// Name of the plan's disagreement metric.
    pub metric: String,
    /// Hash of the request's sticky key, if any: the first comparison of a key counts.
    pub unit: Option<u64>,
    /// Whether the outputs disagree under the declared rule.
    pub disagrees: bool,
    /// When the request ended.
    pub at: UnixMillis,
}

//! Rollouts: a declared plan, a state that is wholly serialisable, and pure functions from one state to the next.
//!
//! Invariant: a decision is made by [`step`] or [`command`] and by nothing else, each takes the next number of its
//! rollout, and after each the candidate's share is 0, the whole, or the weight of a step of the plan.

mod absorb;
mod command;
mod decision;
mod evidence;
mod explain;
mod metric_state;
mod observation;
mod plan;
mod state;
mod step;
mod validated_plan;

pub use command::{Command, CommandRefused, command};
pub use decision::{Action, Decision, HoldReason, Reason};
pub use evidence::{Evidence, MetricEvidence, SampleRatioEvidence, TestEvidence};
pub use explain::{explain_json, explain_text};
pub use metric_state::EventCounts;
pub use observation::{Arm, ComparisonObservation, LabelObservation, Observation, RequestObservation, RequestOutcome};
pub use plan::{Direction, LatencyThreshold, Metric, MetricKind, OnInconclusive, RolloutPlan, Step, WarmUp};
pub use state::{ArmCounts, Phase, RolloutState, ShareChange};
pub use step::{PlanMismatch, step};
pub use validated_plan::ValidatedPlan;

/// Level of the two watches that only hold a rollout, never end it: sample ratio and cancellations.
pub const WATCH_ALPHA: f64 = 0.001;

//! What was decided, why, and on which numbers: the record that is stored, acted upon once, and explained later.

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::plan::OnInconclusive;
use super::state::Phase;
use crate::{BasisPoints, UnixMillis};

/// One decision of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `ROLLOUT/NUMBER`, the number in six digits or more: the same decision always has the same id, so a store that
    /// refuses an id twice makes it act once.
    pub id: String,
    /// The rollout.
    pub rollout: String,
    /// Number of the decision in its rollout, from 0 without gaps.
    pub sequence: u64,
    /// When, by the caller's clock.
    pub at: UnixMillis,
    /// What.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The candidate's share before.
    pub share_before: BasisPoints,
    /// The candidate's share that the traffic table must have now.
    pub share_after: BasisPoints,
    /// Where the rollout stands now.
    pub phase: Phase,
    /// All numbers at that moment.
    pub evidence: Evidence,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The first step began.
    Start,
    /// The next step began.
    Advance,
    /// The candidate takes over.
    Promote,
    /// The candidate gets no traffic any more.
    Rollback,
    /// The weight stays although the step's conditions are met, or the time is over.
    Hold,
    /// A person stopped the progress.
    Pause,
    /// A person let it go on.
    Resume,
    /// A person ended the rollout.
    Abort,
}

/// Why it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// A person's command.
    Command,
    /// The step's time and samples are reached and nothing holds it.
    StepComplete {
        /// The step, from 0.
        step: usize,
    },
    /// "The candidate is no worse" is refuted.
    Worse {
        /// The metric.
        metric: String,
    },
    /// "As bad as the margin or worse" is refuted for these metrics, and they are all that have a margin.
    WithinMargins {
        /// The metrics.
        metrics: Vec<String>,
    },
    /// The last step is complete and no metric has a margin to prove.
    NothingToProve,
    /// The maximum duration is over; the plan says what follows.
    OutOfTime {
        /// The plan's rule.
        rule: OnInconclusive,
    },
    /// Something holds the rollout at its weight.
    Held(HoldReason),
}

/// What holds a rollout at its weight. Each is told once a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HoldReason {
    /// The arms don't get the units that their shares promise, so no good verdict can be trusted.
    SampleRatioMismatch,
    /// The candidate's clients give up more often.
    Cancellations,
    /// Margins aren't proven yet.
    MarginsUnproven {
        /// The metrics still to prove.
        metrics: Vec<String>,
    },
}

//! Everything a rollout remembers. Serialisable whole: saved together with a decision, it continues as if never stopped.

use serde::{Deserialize, Serialize};

use super::decision::HoldReason;
use super::metric_state::MetricState;
use super::validated_plan::ValidatedPlan;
use crate::statistics::{SampleRatioTest, SeenKeys};
use crate::{BasisPoints, UnixMillis};

/// 64 KiB of filter for the sample-ratio check once a sticky key comes: it must know all keys, not only bad ones.
const ASSIGNED_KEYS_LOG2_BITS: u8 = 19;

/// Where a rollout stands. `step` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// Declared, not started; the candidate has no traffic.
    Pending,
    /// At a step's weight, watched.
    Running {
        /// The step.
        step: usize,
    },
    /// Stopped by a person at a step's weight; still rolled back on evidence.
    Paused {
        /// The step.
        step: usize,
    },
    /// Out of time without a verdict, held at a step's weight; still rolled back on evidence.
    Inconclusive {
        /// The step.
        step: usize,
    },
    /// Over: the candidate has all traffic.
    Promoted,
    /// Over: the candidate has none, on evidence or by the plan.
    RolledBack,
    /// Over: the candidate has none, by a person's command.
    Aborted,
}

impl Phase {
    /// Its name, as it is written in a stored state, in views and in metrics; people read it with spaces for underscores.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Inconclusive { .. } => "inconclusive",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
        }
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::RolledBack | Self::Aborted)
    }

    /// The step at whose weight the candidate stands, if at any.
    #[must_use]
    pub fn step(self) -> Option<usize> {
        match self {
            Self::Running { step } | Self::Paused { step } | Self::Inconclusive { step } => Some(step),
            _ => None,
        }
    }
}

/// Requests of one arm, warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmCounts {
    /// All finished requests.
    pub requests: u64,
    /// Of these, answered with an error.
    pub failed: u64,
    /// Of these, refused for lack of room.
    pub shed: u64,
    /// Of these, given up by the client.
    pub cancelled: u64,
}

/// The candidate's share from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareChange {
    /// When the share was decided.
    pub at: UnixMillis,
    /// The share.
    pub share: BasisPoints,
}

/// A rollout's state. Clone it before [`step`](super::step()) where a failed save must be undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutState {
    pub(crate) rollout: String,
    pub(crate) plan_fingerprint: u64,
    pub(crate) phase: Phase,
    /// Number of the next decision.
    pub(crate) next_decision: u64,
    pub(crate) started_at: Option<UnixMillis>,
    pub(crate) paused_at: Option<UnixMillis>,
    pub(crate) paused_milliseconds: u64,
    /// Running time at which the present step began, in milliseconds.
    pub(crate) step_began_at_running: u64,
    /// Requests that the candidate finished at the present step's weight.
    pub(crate) step_samples: u64,
    pub(crate) shares: Vec<ShareChange>,
    pub(crate) warm: bool,
    pub(crate) warm_up_requests: u64,
    pub(crate) baseline: ArmCounts,
    pub(crate) candidate: ArmCounts,
    pub(crate) metrics: Vec<MetricState>,
    pub(crate) cancellations: MetricState,
    pub(crate) sample_ratio: SampleRatioTest,
    pub(crate) assigned_keys: SeenKeys,
    /// Reasons already told at this step.
    pub(crate) told: Vec<HoldReason>,
}

impl RolloutState {
    /// The state of a rollout that was declared and not started.
    #[must_use]
    pub fn new(plan: &ValidatedPlan) -> Self {
        Self {
            rollout: plan.plan().rollout.clone(),
            plan_fingerprint: plan.fingerprint(),
            phase: Phase::Pending,
            next_decision: 0,
            started_at: None,
            paused_at: None,
            paused_milliseconds: 0,
            step_began_at_running: 0,
            step_samples: 0,
            shares: Vec::new(),
            warm: false,
            warm_up_requests: 0,
            baseline: ArmCounts::default(),
            candidate: ArmCounts::default(),
            metrics: plan.plan().metrics.iter().map(MetricState::new).collect(),
            cancellations: MetricState::watch(),
            sample_ratio: SampleRatioTest::new(2),
            assigned_keys: SeenKeys::with_log2_bits(ASSIGNED_KEYS_LOG2_BITS),
            told: Vec::new(),
        }
    }

    /// Where the rollout stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The share that the traffic table must give the candidate now.
    #[must_use]
    pub fn candidate_share(&self) -> BasisPoints {
        self.shares.last().map_or(BasisPoints::ZERO, |change| change.share)
    }

    /// Number of the next decision: 0 before the first.
    #[must_use]
    pub fn next_decision(&self) -> u64 {
        self.next_decision
    }

    /// Running time at `now` in milliseconds, pauses left out; 0 before the start.
    pub(crate) fn running_milliseconds(&self, now: UnixMillis) -> u64 {
        let Some(started_at) = self.started_at else { return 0 };
        let pausing = self.paused_at.map_or(0, |paused_at| now.since(paused_at));
        now.since(started_at).saturating_sub(self.paused_milliseconds).saturating_sub(pausing)
    }
}

//! The evidence on one metric: a test for rollback, its mirror image for promotion, and the counts that explain them.
//!
//! Knows events and arms, not requests: `absorb` decides what is an event.

use serde::{Deserialize, Serialize};

use super::observation::Arm;
use super::plan::{Direction, LatencyThreshold, Metric, MetricKind};
use crate::BasisPoints;
use crate::statistics::{FrozenQuantile, Hypothesis, RelativeRiskTest, SeenKeys};

/// 16 KiB of filter per metric once a sticky key comes.
const SEEN_KEYS_LOG2_BITS: u8 = 17;

/// Counted events of a metric; for a disagreement the candidate's are disagreements and the baseline's agreements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventCounts {
    /// Events of the baseline.
    pub baseline: u64,
    /// Events of the candidate.
    pub candidate: u64,
    /// Events that the candidate's share explains: the sum of the shares at all events.
    pub expected_candidate: f64,
    /// Further events of sticky keys that were counted already.
    pub repeated: u64,
}

/// Evidence on one metric, with what is needed to go on after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricState {
    pub(crate) rollback: RelativeRiskTest,
    pub(crate) promotion: Option<RelativeRiskTest>,
    pub(crate) counts: EventCounts,
    pub(crate) seen: SeenKeys,
    pub(crate) threshold: Option<FrozenQuantile>,
}

impl MetricState {
    pub(crate) fn new(metric: &Metric) -> Self {
        let higher = metric.kind == MetricKind::Label { better: Direction::Higher };
        let worse = |ratio: f64| if higher { Hypothesis::AtMost(1.0 / ratio) } else { Hypothesis::AtLeast(ratio) };
        let no_worse = if higher { Hypothesis::AtLeast(1.0) } else { Hypothesis::AtMost(1.0) };
        let threshold = match &metric.kind {
            MetricKind::Latency { threshold: LatencyThreshold::BaselineQuantile { quantile, samples } } => {
                Some(FrozenQuantile::new(*quantile, *samples))
            }
            MetricKind::Latency { threshold: LatencyThreshold::Microseconds(limit) } => {
                Some(FrozenQuantile::fixed(*limit))
            }
            _ => None,
        };
        Self { threshold, ..Self::testing(no_worse, metric.margin_ratio.map(worse)) }
    }

    /// A watch on events that may only hold a rollout: more of the candidate than its share explains.
    pub(crate) fn watch() -> Self {
        Self::testing(Hypothesis::AtMost(1.0), None)
    }

    fn testing(no_worse: Hypothesis, worse: Option<Hypothesis>) -> Self {
        Self {
            rollback: RelativeRiskTest::new(no_worse),
            promotion: worse.map(RelativeRiskTest::new),
            counts: EventCounts::default(),
            seen: SeenKeys::with_log2_bits(SEEN_KEYS_LOG2_BITS),
            threshold: None,
        }
    }

    /// An event of `arm`. Without chance in the assignment it is no evidence.
    pub(crate) fn record_event(&mut self, arm: Arm, candidate_share: BasisPoints, unit: Option<u64>) {
        if candidate_share.is_randomised() {
            self.record(arm == Arm::Candidate, candidate_share.fraction(), unit);
        }
    }

    /// A shadow comparison, against the allowance in place of a share.
    pub(crate) fn record_comparison(&mut self, disagrees: bool, allowance: f64, unit: Option<u64>) {
        self.record(disagrees, allowance, unit);
    }

    fn record(&mut self, from_candidate: bool, probability: f64, unit: Option<u64>) {
        if unit.is_some_and(|key| !self.seen.insert(key)) {
            self.counts.repeated += 1;
            return;
        }
        if from_candidate {
            self.counts.candidate += 1;
        } else {
            self.counts.baseline += 1;
        }
        self.counts.expected_candidate += probability;
        self.rollback.record(from_candidate, probability, 1);
        if let Some(promotion) = &mut self.promotion {
            promotion.record(from_candidate, probability, 1);
        }
    }
}

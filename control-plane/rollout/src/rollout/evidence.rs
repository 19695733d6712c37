//! The numbers behind a decision, complete enough to check it with a pocket calculator and a logarithm table.

use serde::{Deserialize, Serialize};

use super::WATCH_ALPHA;
use super::metric_state::{EventCounts, MetricState};
use super::plan::MetricKind;
use super::state::{ArmCounts, RolloutState, ShareChange};
use super::validated_plan::ValidatedPlan;
use crate::UnixMillis;
use crate::statistics::RelativeRiskTest;

/// All numbers of a rollout at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// When the rollout started; none before.
    pub started_at: Option<UnixMillis>,
    /// Running time, pauses left out, in milliseconds.
    pub running_milliseconds: u64,
    /// The candidate's share over time.
    pub shares: Vec<ShareChange>,
    /// The baseline's requests.
    pub baseline: ArmCounts,
    /// The candidate's requests.
    pub candidate: ArmCounts,
    /// Of both, requests in the warm-up, which are no evidence.
    pub warm_up_requests: u64,
    /// One entry per metric of the plan, in its order.
    pub metrics: Vec<MetricEvidence>,
    /// The watch on cancellations.
    pub cancellations: MetricEvidence,
    /// The check of the arms' shares.
    pub sample_ratio: SampleRatioEvidence,
}

/// The numbers of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricEvidence {
    /// The metric.
    pub name: String,
    /// What it counts; none for the watch on cancellations.
    pub kind: Option<MetricKind>,
    /// Events counted.
    pub events: EventCounts,
    /// The test that rolls back (for the watch: that holds).
    pub rollback: TestEvidence,
    /// The test that must succeed before promotion, if the metric has a margin.
    pub promotion: Option<TestEvidence>,
    /// The latency above which a request is an event, once frozen, in microseconds.
    pub threshold_microseconds: Option<u64>,
    /// Probability that a new sticky key is taken for a counted one and lost as evidence.
    pub lost_key_rate: f64,
}

/// One e-process against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestEvidence {
    /// Natural logarithm of the E-value now.
    pub log_e: f64,
    /// Natural logarithm of the largest E-value so far.
    pub log_e_max: f64,
    /// Natural logarithm of the limit, `ln(1 / alpha)`.
    pub log_limit: f64,
    /// Probability of ever reaching the limit when the hypothesis holds, at most.
    pub alpha: f64,
    /// Whether the limit was reached.
    pub refuted: bool,
}

/// The sample-ratio check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRatioEvidence {
    /// Units (requests, or sticky keys) of the baseline.
    pub baseline_units: u64,
    /// Units of the candidate.
    pub candidate_units: u64,
    /// Units of the candidate that the shares promised.
    pub expected_candidate_units: f64,
    /// Natural logarithm of the largest E-value so far.
    pub log_e_max: f64,
    /// Natural logarithm of the limit.
    pub log_limit: f64,
    /// Whether a mismatch is shown.
    pub mismatch: bool,
}

impl Evidence {
    /// The numbers of `state` at `now`.
    #[must_use]
    pub fn of(plan: &ValidatedPlan, state: &RolloutState, now: UnixMillis) -> Self {
        let metrics = plan.plan().metrics.iter().zip(&state.metrics).enumerate();
        let ratio = &state.sample_ratio;
        Self {
            started_at: state.started_at,
            running_milliseconds: state.running_milliseconds(now),
            shares: state.shares.clone(),
            baseline: state.baseline,
            candidate: state.candidate,
            warm_up_requests: state.warm_up_requests,
            metrics: metrics
                .map(|(index, (metric, evidence))| MetricEvidence {
                    promotion: evidence.promotion.as_ref().map(|test| test_evidence(test, plan.plan().alpha_promotion)),
                    ..metric_evidence(&metric.name, Some(&metric.kind), evidence, plan.rollback_alpha(index))
                })
                .collect(),
            cancellations: metric_evidence("cancellations", None, &state.cancellations, WATCH_ALPHA),
            sample_ratio: SampleRatioEvidence {
                baseline_units: ratio.counts().first().copied().unwrap_or_default(),
                candidate_units: ratio.counts().get(1).copied().unwrap_or_default(),
                expected_candidate_units: ratio.expected().get(1).copied().unwrap_or_default(),
                log_e_max: ratio.log_e_max(),
                log_limit: -WATCH_ALPHA.ln(),
                mismatch: ratio.refutes(WATCH_ALPHA),
            },
        }
    }
}

fn metric_evidence(name: &str, kind: Option<&MetricKind>, state: &MetricState, alpha: f64) -> MetricEvidence {
    MetricEvidence {
        name: name.to_owned(),
        kind: kind.cloned(),
        events: state.counts,
        rollback: test_evidence(&state.rollback, alpha),
        promotion: None,
        threshold_microseconds: state.threshold.as_ref().and_then(|threshold| threshold.threshold()),
        lost_key_rate: state.seen.false_positive_rate(),
    }
}

fn test_evidence(test: &RelativeRiskTest, alpha: f64) -> TestEvidence {
    TestEvidence {
        log_e: test.log_e(),
        log_e_max: test.log_e_max(),
        log_limit: -alpha.ln(),
        alpha,
        refuted: test.refutes(alpha),
    }
}

//! Turns observations into evidence: what counts as an event, for whom, and what is left out.
//!
//! Decides nothing. Every rule here looks at the past only and treats both arms alike: that keeps the promise about alpha.

use super::metric_state::MetricState;
use super::observation::{
    Arm, ComparisonObservation, LabelObservation, Observation, RequestObservation, RequestOutcome,
};
use super::plan::{Metric, MetricKind};
use super::state::RolloutState;
use super::validated_plan::ValidatedPlan;
use crate::UnixMillis;

/// Takes one observation. A label or comparison of a metric that the plan doesn't have is no evidence on anything.
pub(crate) fn absorb(plan: &ValidatedPlan, state: &mut RolloutState, observation: &Observation) {
    match observation {
        Observation::Request(request) => absorb_request(plan, state, request),
        Observation::Label(label) => absorb_label(plan, state, label),
        Observation::Comparison(comparison) => absorb_comparison(plan, state, comparison),
    }
}

fn absorb_request(plan: &ValidatedPlan, state: &mut RolloutState, request: &RequestObservation) {
    let counts = match request.arm {
        Arm::Baseline => &mut state.baseline,
        Arm::Candidate => &mut state.candidate,
    };
    counts.requests += 1;
    match request.outcome {
        RequestOutcome::Answered => {}
        RequestOutcome::Failed => counts.failed += 1,
        RequestOutcome::Shed => counts.shed += 1,
        RequestOutcome::Cancelled => counts.cancelled += 1,
    }
    if request.arm == Arm::Candidate && request.candidate_share == state.candidate_share() {
        state.step_samples += 1;
    }
    let first_of_unit = request.unit.is_none_or(|key| state.assigned_keys.insert(key));
    if first_of_unit && request.candidate_share.is_randomised() {
        let candidate = request.candidate_share.fraction();
        let arm = usize::from(request.arm == Arm::Candidate);
        state.sample_ratio.record(arm, &[1.0 - candidate, candidate]);
    }
    learn_thresholds(state, request);
    if !counts_as_evidence(plan, state, request.at) {
        state.warm_up_requests += 1;
        return;
    }
    for (metric, evidence) in plan.plan().metrics.iter().zip(&mut state.metrics) {
        if is_event(metric, evidence, request) {
            evidence.record_event(request.arm, request.candidate_share, request.unit);
        }
    }
    if request.outcome == RequestOutcome::Cancelled {
        state.cancellations.record_event(request.arm, request.candidate_share, request.unit);
    }
}

fn learn_thresholds(state: &mut RolloutState, request: &RequestObservation) {
    if request.arm != Arm::Baseline || request.outcome != RequestOutcome::Answered {
        return;
    }
    let Some(latency) = request.latency_microseconds else { return };
    for threshold in state.metrics.iter_mut().filter_map(|evidence| evidence.threshold.as_mut()) {
        threshold.learn(latency);
    }
}

/// Whether the warm-up was over when this was looked at; once over it stays over.
fn counts_as_evidence(plan: &ValidatedPlan, state: &mut RolloutState, at: UnixMillis) -> bool {
    if !state.warm {
        let warm_up = &plan.plan().warm_up;
        let Some(started_at) = state.started_at else { return false };
        state.warm = at.since(started_at) >= warm_up.duration_seconds.saturating_mul(1000)
            && state.candidate.requests >= warm_up.candidate_requests;
    }
    state.warm
}

fn is_event(metric: &Metric, evidence: &MetricState, request: &RequestObservation) -> bool {
    match metric.kind {
        MetricKind::ErrorRate => matches!(request.outcome, RequestOutcome::Failed | RequestOutcome::Shed),
        MetricKind::Latency { .. } => {
            let Some(threshold) = evidence.threshold.as_ref().and_then(|threshold| threshold.threshold()) else {
                return false;
            };
            match request.outcome {
                RequestOutcome::Shed => true,
                // Errors have a metric of their own, and a quick error is no merit.
                RequestOutcome::Failed => false,
                // A cancelled request would have taken at least as long as it had waited.
                RequestOutcome::Answered | RequestOutcome::Cancelled => {
                    request.latency_microseconds.is_some_and(|latency| latency > threshold)
                }
            }
        }
        MetricKind::Label { .. } | MetricKind::Disagreement { .. } => false,
    }
}

fn absorb_label(plan: &ValidatedPlan, state: &mut RolloutState, label: &LabelObservation) {
    let is_label = |metric: &Metric| matches!(metric.kind, MetricKind::Label { .. }) && metric.name == label.metric;
    let Some(index) = plan.plan().metrics.iter().position(is_label) else { return };
    if label.event && counts_as_evidence(plan, state, label.at) {
        state.metrics[index].record_event(label.arm, label.candidate_share, label.unit);
    }
}

fn absorb_comparison(plan: &ValidatedPlan, state: &mut RolloutState, comparison: &ComparisonObservation) {
    let found = plan.plan().metrics.iter().enumerate().find_map(|(index, metric)| match metric.kind {
        MetricKind::Disagreement { allowance } if metric.name == comparison.metric => Some((index, allowance)),
        _ => None,
    });
    let Some((index, allowance)) = found else { return };
    if counts_as_evidence(plan, state, comparison.at) {
        state.metrics[index].record_comparison(comparison.disagrees, allowance, comparison.unit);
    }
}

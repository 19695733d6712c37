//! One step of a rollout: observations in, at most one decision out. Pure: the same arguments give the same result.
//!
//! Order of judgement: rollback on evidence first, in every phase that has traffic; then, only while running, the end of
//! the time; then the step's own conditions. Promotion on proof needs the last step complete and the margin of *every*
//! metric that has one refuted at `alpha_promotion` (an intersection-union test: nothing to divide), rollback needs one
//! metric refuted at its part of `alpha_rollback` (a union: alpha is divided).

use thiserror::Error;

use super::WATCH_ALPHA;
use super::absorb::absorb;
use super::decision::{Action, Decision, HoldReason, Reason};
use super::evidence::Evidence;
use super::observation::Observation;
use super::plan::OnInconclusive;
use super::state::{Phase, RolloutState, ShareChange};
use super::validated_plan::ValidatedPlan;
use crate::{BasisPoints, UnixMillis};

/// A state was given together with a plan that isn't its own.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "expected the plan of rollout `{rollout}` with fingerprint `{expected:016x}`, found fingerprint `{found:016x}`"
)]
pub struct PlanMismatch {
    /// The state's rollout.
    pub rollout: String,
    /// Fingerprint of the plan that the state was made for.
    pub expected: u64,
    /// Fingerprint of the plan given.
    pub found: u64,
}

/// Takes `observations` into `state` and decides at `now`.
///
/// At most one decision comes out; after one, call again (with no observations) until none does. Observations are taken
/// while the candidate has traffic, and ignored before the start and after the end. Give them in the order in which the
/// requests ended, in batches of any size: larger ones only mean that evidence is judged later.
///
/// # Errors
/// [`PlanMismatch`] when the plan isn't the state's own; nothing has changed then.
pub fn step(
    plan: &ValidatedPlan,
    state: &mut RolloutState,
    observations: &[Observation],
    now: UnixMillis,
) -> Result<Option<Decision>, PlanMismatch> {
    check_plan(plan, state)?;
    let Some(at_step) = state.phase.step() else { return Ok(None) };
    for observation in observations {
        absorb(plan, state, observation);
    }
    if let Some(metric) = refuted_metric(plan, state) {
        let reason = Reason::Worse { metric };
        return Ok(Some(decide(plan, state, now, Action::Rollback, reason, Phase::RolledBack)));
    }
    if !matches!(state.phase, Phase::Running { .. }) {
        return Ok(None);
    }
    if state.running_milliseconds(now) >= plan.plan().maximum_duration_seconds.saturating_mul(1000) {
        return Ok(Some(out_of_time(plan, state, now, at_step)));
    }
    if !step_is_complete(plan, state, now, at_step) {
        return Ok(None);
    }
    if let Some(hold) = watch_that_holds(state) {
        return Ok(hold_once(plan, state, now, hold));
    }
    if at_step + 1 < plan.plan().steps.len() {
        let reason = Reason::StepComplete { step: at_step };
        return Ok(Some(decide(plan, state, now, Action::Advance, reason, Phase::Running { step: at_step + 1 })));
    }
    let (proven, unproven) = margins(plan, state);
    if !unproven.is_empty() {
        return Ok(hold_once(plan, state, now, HoldReason::MarginsUnproven { metrics: unproven }));
    }
    let reason = if proven.is_empty() { Reason::NothingToProve } else { Reason::WithinMargins { metrics: proven } };
    Ok(Some(decide(plan, state, now, Action::Promote, reason, Phase::Promoted)))
}

/// Refuses a plan that isn't the state's own.
pub(crate) fn check_plan(plan: &ValidatedPlan, state: &RolloutState) -> Result<(), PlanMismatch> {
    let (expected, found) = (state.plan_fingerprint, plan.fingerprint());
    if expected == found && state.metrics.len() == plan.plan().metrics.len() {
        return Ok(());
    }
    Err(PlanMismatch { rollout: state.rollout.clone(), expected, found })
}

fn refuted_metric(plan: &ValidatedPlan, state: &RolloutState) -> Option<String> {
    let refuted = |index: &usize| state.metrics[*index].rollback.refutes(plan.rollback_alpha(*index));
    let index = (0..state.metrics.len()).find(refuted)?;
    Some(plan.plan().metrics[index].name.clone())
}

fn out_of_time(plan: &ValidatedPlan, state: &mut RolloutState, now: UnixMillis, at_step: usize) -> Decision {
    let rule = plan.plan().on_inconclusive;
    let (action, phase) = match rule {
        OnInconclusive::Hold => (Action::Hold, Phase::Inconclusive { step: at_step }),
        // Time alone must not promote what a watch distrusts.
        OnInconclusive::Promote if watch_that_holds(state).is_some() => {
            (Action::Hold, Phase::Inconclusive { step: at_step })
        }
        OnInconclusive::Promote => (Action::Promote, Phase::Promoted),
        OnInconclusive::Rollback => (Action::Rollback, Phase::RolledBack),
    };
    decide(plan, state, now, action, Reason::OutOfTime { rule }, phase)
}

fn step_is_complete(plan: &ValidatedPlan, state: &RolloutState, now: UnixMillis, at_step: usize) -> bool {
    let Some(declared) = plan.plan().steps.get(at_step) else { return false };
    let here = state.running_milliseconds(now).saturating_sub(state.step_began_at_running);
    let long_enough = declared.minimum_duration_seconds.is_none_or(|seconds| here >= seconds.saturating_mul(1000));
    let often_enough = declared.minimum_samples.is_none_or(|samples| state.step_samples >= samples);
    long_enough && often_enough
}

fn watch_that_holds(state: &RolloutState) -> Option<HoldReason> {
    if state.sample_ratio.refutes(WATCH_ALPHA) {
        return Some(HoldReason::SampleRatioMismatch);
    }
    state.cancellations.rollback.refutes(WATCH_ALPHA).then_some(HoldReason::Cancellations)
}

/// Metrics whose margin is proven, and those whose margin is not.
fn margins(plan: &ValidatedPlan, state: &RolloutState) -> (Vec<String>, Vec<String>) {
    let alpha = plan.plan().alpha_promotion;
    let metrics = plan.plan().metrics.iter().zip(&state.metrics);
    let tests = metrics.filter_map(|(metric, evidence)| Some((metric, evidence.promotion.as_ref()?)));
    let (proven, unproven): (Vec<_>, Vec<_>) = tests.partition(|(_, test)| test.refutes(alpha));
    let names = |tests: Vec<(&super::plan::Metric, _)>| tests.iter().map(|(metric, _)| metric.name.clone()).collect();
    (names(proven), names(unproven))
}

/// Tells a reason once a step: of unproven margins the first telling is enough, whichever they are.
fn hold_once(plan: &ValidatedPlan, state: &mut RolloutState, now: UnixMillis, hold: HoldReason) -> Option<Decision> {
    let same_kind = |told: &HoldReason| std::mem::discriminant(told) == std::mem::discriminant(&hold);
    if state.told.iter().any(same_kind) {
        return None;
    }
    state.told.push(hold.clone());
    let phase = state.phase;
    Some(decide(plan, state, now, Action::Hold, Reason::Held(hold), phase))
}

/// Makes the decision and moves the state: the only place that does either.
pub(crate) fn decide(
    plan: &ValidatedPlan,
    state: &mut RolloutState,
    now: UnixMillis,
    action: Action,
    reason: Reason,
    phase: Phase,
) -> Decision {
    let share_before = state.candidate_share();
    let share_after = match phase {
        Phase::Pending | Phase::RolledBack | Phase::Aborted => BasisPoints::ZERO,
        Phase::Promoted => BasisPoints::WHOLE,
        Phase::Running { step } | Phase::Paused { step } | Phase::Inconclusive { step } => plan.weight(step),
    };
    let sequence = state.next_decision;
    state.next_decision += 1;
    if phase.step() != state.phase.step() {
        state.step_began_at_running = state.running_milliseconds(now);
        state.step_samples = 0;
        state.told.clear();
    }
    state.phase = phase;
    if share_before != share_after {
        state.shares.push(ShareChange { at: now, share: share_after });
    }
    Decision {
        id: format!("{}/{sequence:06}", state.rollout),
        rollout: state.rollout.clone(),
        sequence,
        at: now,
        action,
        reason,
        share_before,
        share_after,
        phase,
        evidence: Evidence::of(plan, state, now),
    }
}

//! False rollbacks: candidates that are exactly as good, watched at every event, through the real state machine.
//!
//! One request a millisecond. Only bad requests are given to `step`: under equal arms they are assigned like all others.

use crate::rollout::{
    Arm, Command, Metric, MetricKind, Observation, OnInconclusive, Phase, RequestObservation, RequestOutcome,
    RolloutPlan, RolloutState, Step, ValidatedPlan, WarmUp, command, step,
};
use crate::simulation::BadEvents;
use crate::{BasisPoints, Random, UnixMillis};

/// A setting of goal S1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NullSetting {
    /// Name for people.
    pub name: &'static str,
    /// Rate of bad requests, both arms.
    pub rate: f64,
    /// The candidate's shares in basis points; the requests are divided evenly over them.
    pub weights: &'static [u16],
    /// Requests in all.
    pub requests: u64,
}

/// The five settings in which the promise is checked.
pub const NULL_SETTINGS: [NullSetting; 5] = [
    NullSetting { name: "1 % errors, 10 % share, 200k requests", rate: 0.01, weights: &[1000], requests: 200_000 },
    NullSetting { name: "0.1 % errors, 10 % share, 1M requests", rate: 0.001, weights: &[1000], requests: 1_000_000 },
    NullSetting { name: "1 % errors, 50 % share, 200k requests", rate: 0.01, weights: &[5000], requests: 200_000 },
    NullSetting { name: "5 % errors, 5 % share, 100k requests", rate: 0.05, weights: &[500], requests: 100_000 },
    NullSetting {
        name: "1 % errors, ramp 1, 5, 25, 50 %, 200k requests",
        rate: 0.01,
        weights: &[100, 500, 2500, 5000],
        requests: 200_000,
    },
];

/// What happened to the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NullOutcome {
    /// Candidates watched.
    pub runs: u64,
    /// Rolled back although as good.
    pub rolled_back: u64,
    /// Others that the state machine did not bring to the end of its plan. Always 0.
    pub lost: u64,
}

/// Watches `runs` equal candidates at `alpha`.
#[must_use]
pub fn null_rollouts(setting: &NullSetting, alpha: f64, runs: u64, seed: u64) -> NullOutcome {
    let mut outcome = NullOutcome { runs, ..NullOutcome::default() };
    let Ok(plan) = plan(setting, alpha).validate() else { return NullOutcome { lost: runs, ..outcome } };
    for run in 0..runs {
        match watch(&plan, setting, Random::stream(seed, run)) {
            Some(Phase::RolledBack) => outcome.rolled_back += 1,
            Some(Phase::Promoted) => {}
            _ => outcome.lost += 1,
        }
    }
    outcome
}

fn plan(setting: &NullSetting, alpha: f64) -> RolloutPlan {
    let milliseconds = setting.requests / setting.weights.len() as u64;
    let steps = setting.weights.iter().map(|weight| Step {
        weight_basis_points: *weight,
        minimum_duration_seconds: Some(milliseconds / 1000),
        minimum_samples: None,
    });
    RolloutPlan {
        rollout: "null".to_owned(),
        model: "model".to_owned(),
        baseline: "1".to_owned(),
        candidate: "2".to_owned(),
        steps: steps.collect(),
        metrics: vec![Metric {
            name: "errors".to_owned(),
            kind: MetricKind::ErrorRate,
            margin_ratio: None,
            alpha_weight: 1.0,
        }],
        alpha_rollback: alpha,
        alpha_promotion: 0.05,
        on_inconclusive: OnInconclusive::Hold,
        maximum_duration_seconds: setting.requests,
        warm_up: WarmUp::default(),
    }
}

/// The phase in which one candidate ends. The watch on sample ratio may hold one run in a thousand: then the run is
/// judged as not rolled back, at the end of its time.
fn watch(plan: &ValidatedPlan, setting: &NullSetting, random: Random) -> Option<Phase> {
    let mut state = RolloutState::new(plan);
    command(plan, &mut state, Command::Start, UnixMillis(0)).ok()?;
    let mut events = BadEvents::new(random, setting.rate, setting.rate, state.candidate_share().fraction());
    let length = setting.requests / setting.weights.len() as u64;
    for part in 1..=setting.weights.len() as u64 {
        let end = part * length;
        let share = state.candidate_share();
        loop {
            let event = events.next_event();
            if event.request >= end {
                break;
            }
            let observation = bad_request(event.from_candidate, share, UnixMillis(event.request));
            step(plan, &mut state, &[observation], UnixMillis(event.request)).ok()?;
            if state.phase().is_over() {
                return Some(state.phase());
            }
        }
        let decision = step(plan, &mut state, &[], UnixMillis(end)).ok()?;
        if decision.is_some_and(|decision| decision.action == crate::rollout::Action::Hold) {
            return Some(Phase::Promoted);
        }
        events.restart_after(end, setting.rate, state.candidate_share().fraction());
    }
    Some(state.phase())
}

fn bad_request(from_candidate: bool, share: BasisPoints, at: UnixMillis) -> Observation {
    Observation::Request(RequestObservation {
        arm: if from_candidate { Arm::Candidate } else { Arm::Baseline },
        candidate_share: share,
        unit: None,
        outcome: RequestOutcome::Failed,
        latency_microseconds: None,
        at,
    })
}

//! What must hold whatever comes: one decision per id, weights along the plan, and a restart that changes nothing.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plans;

use hanok_rollout::rollout::{
    Arm, Command, ComparisonObservation, LabelObservation, Observation, Phase, RequestObservation, RequestOutcome,
    command,
};
use hanok_rollout::{Decision, Random, RolloutState, UnixMillis, ValidatedPlan, step};
use plans::plan;
use proptest::prelude::{ProptestConfig, any, proptest};

/// A rollout of 150 batches and commands, all from one seed; restored from its stored form before the batches that
/// `restarts` names.
fn run(plan: &ValidatedPlan, seed: u64, worse: f64, restarts: &[usize]) -> (Vec<Decision>, RolloutState) {
    let mut random = Random::new(seed);
    let mut state = RolloutState::new(plan);
    let mut now = UnixMillis(7);
    let mut decisions = Vec::new();
    for batch in 0..150 {
        if restarts.contains(&batch) {
            let stored = serde_json::to_string(&state).unwrap();
            let restored: RolloutState = serde_json::from_str(&stored).unwrap();
            assert_eq!(restored, state);
            assert_eq!(serde_json::to_string(&restored).unwrap(), stored);
            state = restored;
        }
        let observations: Vec<Observation> =
            (0..random.bits() % 120).map(|_| observation(&mut random, &state, worse, now)).collect();
        decisions.extend(step(plan, &mut state, &observations, now).unwrap());
        if batch == 0 || random.chance(0.05) {
            // Endings are rare, so that most rollouts live long enough to be judged.
            let order = match random.bits() % 10 {
                _ if batch == 0 => Command::Start,
                0 => Command::Promote,
                1 => Command::Abort,
                2..=4 => Command::Pause,
                _ => Command::Resume,
            };
            decisions.extend(command(plan, &mut state, order, now));
        }
        // The clock may stand still or be set back a little.
        now = if random.chance(0.1) { UnixMillis(now.0.saturating_sub(500)) } else { now.plus(random.bits() % 3000) };
    }
    (decisions, state)
}

fn observation(random: &mut Random, state: &RolloutState, worse: f64, at: UnixMillis) -> Observation {
    let candidate_share = state.candidate_share();
    let treated = random.chance(candidate_share.fraction());
    let arm = if treated { Arm::Candidate } else { Arm::Baseline };
    let unit = random.chance(0.5).then(|| random.bits() % 500);
    let bad = random.chance(if treated { 0.02 * worse } else { 0.02 });
    match random.bits() % 10 {
        0 => {
            let metric = "bought".to_owned();
            Observation::Label(LabelObservation { metric, arm, candidate_share, unit, event: random.chance(0.1), at })
        }
        1 => {
            let (metric, disagrees) = ("shadow".to_owned(), random.chance(0.005 * worse));
            Observation::Comparison(ComparisonObservation { metric, unit, disagrees, at })
        }
        _ => {
            let outcome = match random.bits() % 100 {
                0 => RequestOutcome::Cancelled,
                1 => RequestOutcome::Shed,
                _ if bad => RequestOutcome::Failed,
                _ => RequestOutcome::Answered,
            };
            let latency_microseconds = random.chance(0.95).then(|| random.bits() % 10_000);
            Observation::Request(RequestObservation { arm, candidate_share, unit, outcome, latency_microseconds, at })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn decisions_are_numbered_without_gaps_and_weights_follow_the_plan(seed in any::<u64>(), worse in 0.5..8.0_f64) {
        let plan = plan().validate().unwrap();
        let (decisions, state) = run(&plan, seed, worse, &[]);
        assert_eq!(state.next_decision(), decisions.len() as u64);
        let mut share = 0;
        let mut at_step = None;
        for (sequence, decision) in decisions.iter().enumerate() {
            assert_eq!(decision.id, format!("r-1/{sequence:06}"));
            assert_eq!(decision.sequence, sequence as u64);
            assert_eq!(decision.share_before.get(), share, "weights change by decisions only");
            share = decision.share_after.get();
            match decision.phase.step() {
                Some(step) => {
                    assert_eq!(share, plan.plan().steps[step].weight_basis_points);
                    let forward = at_step.map_or(step == 0, |before| step == before || step == before + 1);
                    assert!(forward, "from {at_step:?} to {step}");
                    at_step = Some(step);
                }
                None => {
                    assert_eq!(share, if decision.phase == Phase::Promoted { 10_000 } else { 0 });
                    assert_eq!(sequence + 1, decisions.len(), "a decision after the end");
                }
            }
        }
        assert_eq!(state.candidate_share().get(), share);
    }

    /// S6 in pure form: stopping and restoring anywhere changes no decision and no bit of the evidence.
    #[test]
    fn a_restart_anywhere_changes_nothing(
        seed in any::<u64>(), worse in 0.5..8.0_f64, restarts in proptest::collection::vec(0_usize..150, 0..20),
    ) {
        let plan = plan().validate().unwrap();
        assert_eq!(run(&plan, seed, worse, &restarts), run(&plan, seed, worse, &[]));
    }

    /// A decision in its stored form is the same decision.
    #[test]
    fn decisions_survive_storing(seed in any::<u64>()) {
        let plan = plan().validate().unwrap();
        for decision in run(&plan, seed, 4.0, &[]).0 {
            let stored = serde_json::to_string(&decision).unwrap();
            assert_eq!(serde_json::from_str::<Decision>(&stored).unwrap(), decision);
        }
    }
}

#[test]
fn the_random_rollouts_reach_every_end() {
    let plan = plan().validate().unwrap();
    let mut seen = Vec::new();
    for seed in 0..200 {
        let (_, state) = run(&plan, seed, if seed % 2 == 0 { 1.0 } else { 6.0 }, &[]);
        seen.push(state.phase());
    }
    for phase in [Phase::RolledBack, Phase::Aborted, Phase::Promoted, Phase::Running { step: 1 }] {
        assert!(seen.contains(&phase), "no rollout of 200 ended {phase:?}");
    }
}

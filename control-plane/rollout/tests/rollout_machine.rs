//! The rollout's state machine by example: each way it can go, and what it says about it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod plans;

use hanok_rollout::rollout::{
    Action, Arm, Command, CommandRefused, ComparisonObservation, HoldReason, LabelObservation, Observation,
    OnInconclusive, Phase, Reason, RequestObservation, RequestOutcome, command, explain_json, explain_text,
};
use hanok_rollout::{BasisPoints, Decision, RolloutPlan, RolloutState, UnixMillis, ValidatedPlan, step};
use plans::plan;

/// A request without a sticky key.
fn request(
    arm: Arm,
    candidate_share: BasisPoints,
    outcome: RequestOutcome,
    latency_microseconds: u64,
    at: UnixMillis,
) -> Observation {
    let latency_microseconds = Some(latency_microseconds);
    Observation::Request(RequestObservation { arm, candidate_share, unit: None, outcome, latency_microseconds, at })
}

struct Run {
    plan: ValidatedPlan,
    state: RolloutState,
    now: UnixMillis,
    decisions: Vec<Decision>,
}

impl Run {
    fn started(plan: RolloutPlan) -> Self {
        let plan = plan.validate().unwrap();
        let mut state = RolloutState::new(&plan);
        let now = UnixMillis(1_000_000);
        let decisions = vec![command(&plan, &mut state, Command::Start, now).unwrap()];
        Self { plan, state, now, decisions }
    }

    fn give(&mut self, observations: &[Observation]) {
        let decision = step(&self.plan, &mut self.state, observations, self.now).unwrap();
        self.decisions.extend(decision);
    }

    /// `seconds` of traffic, 100 requests a second, the candidate's by an even spread of its share; `outcome` by arm
    /// and number of the request.
    fn traffic(&mut self, seconds: u64, outcome: impl Fn(Arm, u64) -> RequestOutcome) {
        for _ in 0..seconds {
            let share = self.state.candidate_share();
            let observations: Vec<Observation> = (0..100)
                .map(|index| {
                    let number = self.now.0 / 1000 * 100 + index;
                    let place = number * 6_180 % 10_000;
                    let arm = if place < u64::from(share.get()) { Arm::Candidate } else { Arm::Baseline };
                    request(arm, share, outcome(arm, number), 5_000 + number % 97, self.now)
                })
                .collect();
            self.now = self.now.plus(1000);
            self.give(&observations);
        }
    }

    fn last(&self) -> &Decision {
        self.decisions.last().unwrap()
    }

    fn order(&mut self, order: Command) {
        self.decisions.push(command(&self.plan, &mut self.state, order, self.now).unwrap());
    }
}

fn fine(_: Arm, number: u64) -> RequestOutcome {
    if number.is_multiple_of(49) { RequestOutcome::Failed } else { RequestOutcome::Answered }
}

#[test]
fn a_good_candidate_goes_through_all_steps_and_is_promoted_on_proof() {
    let mut declared = plan();
    declared.steps[1].minimum_duration_seconds = Some(1);
    let mut run = Run::started(declared);
    run.traffic(3000, fine);
    let actions: Vec<Action> = run.decisions.iter().map(|decision| decision.action).collect();
    assert_eq!(actions, [Action::Start, Action::Advance, Action::Hold, Action::Promote]);
    let shares: Vec<u16> = run.decisions.iter().map(|decision| decision.share_after.get()).collect();
    assert_eq!(shares, [500, 5000, 5000, 10_000]);
    assert!(matches!(&run.last().reason, Reason::WithinMargins { metrics } if metrics == &["errors", "slow"]));
    assert!(matches!(run.decisions[2].reason, Reason::Held(HoldReason::MarginsUnproven { .. })));
    assert_eq!(run.state.phase(), Phase::Promoted);
    let ids: Vec<&str> = run.decisions.iter().map(|decision| decision.id.as_str()).collect();
    assert_eq!(ids, ["r-1/000000", "r-1/000001", "r-1/000002", "r-1/000003"]);
}

#[test]
fn a_failing_candidate_is_rolled_back_and_the_words_say_why() {
    let mut run = Run::started(plan());
    run.traffic(
        200,
        |arm, number| {
            if arm == Arm::Candidate && number % 3 == 0 { RequestOutcome::Failed } else { fine(arm, number) }
        },
    );
    assert_eq!((run.last().action, run.last().share_after), (Action::Rollback, BasisPoints::ZERO));
    let evidence = &run.last().evidence.metrics[0];
    assert!(evidence.rollback.refuted && evidence.rollback.log_e_max >= evidence.rollback.log_limit);
    assert!(evidence.events.candidate as f64 > 2.0 * evidence.events.expected_candidate);
    let text = explain_text(&run.decisions);
    for words in [
        "r-1/000001",
        "rolled back, the candidate's share goes from 5 % to 0 %",
        "in `errors` the candidate has more events than its share explains",
        "with a probability of at most 0.5 %",
        "sample ratio:",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    let json = explain_json(&run.decisions);
    assert_eq!(json[1]["decision"]["id"], "r-1/000001");
    assert_eq!(json[1]["decision"]["action"], "rollback");
    assert!(json[1]["explanation"][1].as_str().unwrap().contains("because in `errors`"));
    let before = run.state.clone();
    run.traffic(10, fine);
    assert_eq!((run.decisions.len(), run.state == before), (2, true), "nothing happens after the end");
}

#[test]
fn shed_requests_count_against_their_arm_and_for_latency() {
    let mut run = Run::started(plan());
    run.traffic(100, |arm, number| {
        if arm == Arm::Candidate && number > 101_500 && number % 3 == 0 {
            RequestOutcome::Shed
        } else {
            fine(arm, number)
        }
    });
    assert_eq!(run.last().action, Action::Rollback);
    let metrics = &run.last().evidence.metrics;
    assert!(metrics[..2].iter().all(|metric| metric.events.candidate > 0));
    // About the 0.9 quantile of 5,000 + n % 97, some of which failed or went to the candidate.
    assert!((5_085..=5_089).contains(&metrics[1].threshold_microseconds.unwrap()));
}

#[test]
fn pausing_stops_progress_and_time_but_not_the_guard() {
    let mut run = Run::started(plan());
    run.traffic(1, fine);
    run.order(Command::Pause);
    run.traffic(100_000 / 100, fine);
    assert_eq!(run.state.phase(), Phase::Paused { step: 0 });
    run.order(Command::Resume);
    assert_eq!(run.last().evidence.running_milliseconds, 1000);
    run.order(Command::Pause);
    run.traffic(200, |arm, _| if arm == Arm::Candidate { RequestOutcome::Failed } else { RequestOutcome::Answered });
    assert_eq!(run.state.phase(), Phase::RolledBack);
}

#[test]
fn out_of_time_does_what_the_plan_says() {
    for (rule, phase, share) in [
        (OnInconclusive::Hold, Phase::Inconclusive { step: 1 }, 5000),
        (OnInconclusive::Promote, Phase::Promoted, 10_000),
        (OnInconclusive::Rollback, Phase::RolledBack, 0),
    ] {
        let mut run = Run::started(RolloutPlan { on_inconclusive: rule, maximum_duration_seconds: 100, ..plan() });
        run.traffic(101, |_, _| RequestOutcome::Answered);
        assert_eq!(run.state.phase(), phase);
        assert_eq!(run.last().reason, Reason::OutOfTime { rule });
        assert_eq!(run.state.candidate_share().get(), share);
    }
}

#[test]
fn a_wrong_sample_ratio_holds_and_is_told_once() {
    let mut run = Run::started(plan());
    let share = run.state.candidate_share();
    for _ in 0..40 {
        run.now = run.now.plus(1000);
        let lost = |index: u64| if index.is_multiple_of(100) { Arm::Candidate } else { Arm::Baseline };
        let batch: Vec<Observation> =
            (0..1000).map(|index| request(lost(index), share, RequestOutcome::Answered, 5_000, run.now)).collect();
        run.give(&batch);
    }
    assert_eq!(run.decisions.len(), 2);
    assert_eq!(run.last().reason, Reason::Held(HoldReason::SampleRatioMismatch));
    assert_eq!(run.state.phase(), Phase::Running { step: 0 });
    assert!(explain_text(&run.decisions).contains("lost records or a broken assignment"));
}

#[test]
fn more_cancellations_on_the_candidate_hold_it() {
    let mut run = Run::started(plan());
    run.traffic(60, |arm, _| if arm == Arm::Candidate { RequestOutcome::Cancelled } else { RequestOutcome::Answered });
    assert_eq!(run.last().reason, Reason::Held(HoldReason::Cancellations));
}

#[test]
fn labels_and_comparisons_count_and_warm_up_does_not() {
    let mut declared = plan();
    declared.warm_up.candidate_requests = 10;
    let mut run = Run::started(declared);
    let share = run.state.candidate_share();
    let label = |arm, unit| {
        let (metric, at) = ("bought".to_owned(), UnixMillis(1_000_500));
        Observation::Label(LabelObservation { metric, arm, candidate_share: share, unit, event: true, at })
    };
    run.give(&[label(Arm::Baseline, None)]);
    let arms: Vec<Observation> =
        (0..10).map(|_| request(Arm::Candidate, share, RequestOutcome::Failed, 1, run.now)).collect();
    run.give(&arms);
    let compared = |disagrees, unit| {
        let (metric, at) = ("shadow".to_owned(), UnixMillis(1_000_500));
        Observation::Comparison(ComparisonObservation { metric, unit, disagrees, at })
    };
    run.give(&[label(Arm::Baseline, Some(1)), label(Arm::Baseline, Some(1)), label(Arm::Candidate, None)]);
    run.give(&[compared(true, None), compared(false, Some(3)), compared(true, Some(3))]);
    run.order(Command::Abort);
    let evidence = &run.last().evidence;
    // The tenth request of the candidate ends the warm-up and is the first to count.
    assert_eq!(evidence.warm_up_requests, 9);
    assert_eq!(evidence.metrics[0].events.candidate, 1);
    let bought = evidence.metrics[2].events;
    assert_eq!((bought.baseline, bought.candidate, bought.repeated), (1, 1, 1));
    let shadow = evidence.metrics[3].events;
    assert_eq!((shadow.baseline, shadow.candidate, shadow.repeated), (1, 1, 1));
}

#[test]
fn a_candidate_that_sells_less_is_rolled_back() {
    let mut run = Run::started(plan());
    let share = run.state.candidate_share();
    run.order(Command::Pause);
    // 5 % of 2,000 sales would be 100; it has 20.
    for index in 0..2000_u64 {
        let arm = if index % 100 == 0 { Arm::Candidate } else { Arm::Baseline };
        let (metric, at) = ("bought".to_owned(), run.now);
        run.give(&[Observation::Label(LabelObservation {
            metric,
            arm,
            candidate_share: share,
            unit: None,
            event: true,
            at,
        })]);
    }
    assert_eq!(run.last().reason, Reason::Worse { metric: "bought".to_owned() });
    assert!(explain_text(&run.decisions).contains("the candidate has fewer events than its share explains"));
}

#[test]
fn commands_are_refused_where_they_make_no_sense() {
    let plan = plan().validate().unwrap();
    let mut state = RolloutState::new(&plan);
    let now = UnixMillis(5);
    for order in [Command::Pause, Command::Resume, Command::Promote] {
        let refused = command(&plan, &mut state, order, now).unwrap_err();
        assert_eq!(refused, CommandRefused::WrongPhase { command: order, phase: Phase::Pending });
    }
    let other = RolloutPlan { alpha_rollback: 0.03, ..plan.plan().clone() }.validate().unwrap();
    assert!(matches!(command(&other, &mut state, Command::Start, now), Err(CommandRefused::PlanMismatch(_))));
    assert!(step(&other, &mut state, &[], now).is_err());
    assert_eq!(state, RolloutState::new(&plan));
    command(&plan, &mut state, Command::Abort, now).unwrap();
    assert!(command(&plan, &mut state, Command::Abort, now).is_err());
}

#[test]
fn all_problems_of_a_plan_are_told_with_their_paths() {
    let mut wrong = plan();
    wrong.model = String::new();
    wrong.alpha_rollback = 0.7;
    wrong.steps[1].weight_basis_points = 400;
    wrong.steps[0].minimum_duration_seconds = None;
    wrong.metrics[0].margin_ratio = Some(0.9);
    wrong.metrics[1].name = "errors".to_owned();
    let paths: Vec<String> = wrong.validate().unwrap_err().into_iter().map(|problem| problem.path).collect();
    let expected = [
        "model",
        "alpha_rollback",
        "steps[0]",
        "steps[1].weight_basis_points",
        "metrics[1].name",
        "metrics[0].margin_ratio",
    ];
    assert_eq!(paths, expected);
    let unknown = serde_json::to_string(&plan()).unwrap().replacen("\"model\"", "\"modell\"", 1);
    assert!(serde_json::from_str::<RolloutPlan>(&unknown).unwrap_err().to_string().contains("unknown field `modell`"));
}

#[test]
fn a_phase_is_called_as_it_is_stored_and_read_with_spaces() {
    let at = |step| [Phase::Running { step }, Phase::Paused { step }, Phase::Inconclusive { step }];
    for phase in at(1).into_iter().chain([Phase::Pending, Phase::Promoted, Phase::RolledBack, Phase::Aborted]) {
        let stored = serde_json::to_value(phase).unwrap();
        let stored =
            stored.as_str().or_else(|| stored.as_object().and_then(|phase| phase.keys().next()).map(|key| &**key));
        assert_eq!(stored, Some(phase.name()));
    }
    let refused = CommandRefused::WrongPhase { command: Command::Pause, phase: Phase::RolledBack };
    assert_eq!(refused.to_string(), "`pause` is not possible: the rollout is rolled back");
}

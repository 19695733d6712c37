//! Experiments and bandits by example: verdicts, refusals, words, replays.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use hanok_rollout::bandit::{BanditObservation, BanditPlan, BanditState, Reward};
use hanok_rollout::experiment::{
    ExperimentArm, ExperimentMetric, ExperimentObservation, ExperimentPlan, ExperimentReport, ExperimentState,
    MetricScale, MetricValue, ObservationRefused, ValidatedExperiment, Verdict, report_text,
};
use hanok_rollout::rollout::Direction;
use hanok_rollout::{BasisPoints, Random};

fn plan() -> ExperimentPlan {
    let arm = |name: &str, weight_basis_points| ExperimentArm { name: name.to_owned(), weight_basis_points };
    let metric = |name: &str, scale, better| ExperimentMetric { name: name.to_owned(), scale, better };
    ExperimentPlan {
        experiment: "ranking".to_owned(),
        arms: vec![arm("old", 5000), arm("new", 3000), arm("bold", 2000)],
        control: "old".to_owned(),
        metrics: vec![
            metric("bought", MetricScale::Rate, Direction::Higher),
            metric("seconds", MetricScale::Mean, Direction::Lower),
        ],
        segments: vec!["phone".to_owned()],
        alpha: 0.05,
        planned_units: 10_000,
    }
}

/// `units` units: arm 1 sells more, arm 2 is slower; `drop` of the records of arm 1 are lost.
fn watched(plan: &ValidatedExperiment, units: u64, drop: f64) -> ExperimentState {
    let mut state = ExperimentState::new(plan);
    let mut random = Random::new(11);
    for unit in 0..units {
        let draw = random.uniform();
        let arm = if draw < 0.5 {
            0
        } else if draw < 0.8 {
            1
        } else {
            2
        };
        let bought = random.chance([0.10, 0.14, 0.10][arm]);
        let seconds = 3.0 + random.normal() + [0.0, 0.0, 0.3][arm];
        let value = |metric: &str, value| MetricValue { metric: metric.to_owned(), value };
        let observation = ExperimentObservation {
            arm,
            shares: plan.weights().to_vec(),
            unit: Some(unit),
            segment: random.chance(0.5).then(|| "phone".to_owned()),
            assignment: true,
            values: vec![value("bought", f64::from(u8::from(bought))), value("seconds", seconds)],
        };
        if !(arm == 1 && random.chance(drop)) {
            state.absorb(plan, &observation).unwrap();
            // A retry of the same key counts once.
            state.absorb(plan, &observation).unwrap();
        }
    }
    state
}

#[test]
fn verdicts_are_those_of_the_truth_and_survive_storing() {
    let plan = plan().validate().unwrap();
    let state = watched(&plan, 20_000, 0.0);
    let report = ExperimentReport::of(&plan, &state);
    let verdict = |metric: &str, treatment: &str| {
        let mut found = report.comparisons.iter().filter(|comparison| comparison.segment.is_none());
        found.find(|comparison| comparison.metric == metric && comparison.treatment == treatment).unwrap()
    };
    assert_eq!(verdict("bought", "new").verdict, Verdict::Better);
    assert_eq!(verdict("bought", "bold").verdict, Verdict::Undecided);
    assert_eq!(verdict("seconds", "new").verdict, Verdict::Undecided);
    assert_eq!(verdict("seconds", "bold").verdict, Verdict::Worse);
    assert!(verdict("bought", "new").difference.unwrap().contains(0.04));
    let ratio = verdict("bought", "new").ratio.unwrap();
    assert!(ratio.low > 1.0 && ratio.low < 1.4 && ratio.high.unwrap() > 1.4);
    assert!(verdict("seconds", "bold").difference.unwrap().contains(0.3));
    // Half of alpha for all units: 2 metrics by 2 treatments; half for the one segment.
    assert!(report.comparisons.iter().all(|comparison| (comparison.alpha - 0.05 / 8.0).abs() < 1e-12));
    assert_eq!(report.comparisons.len(), 8);
    // About 20,000 units; a few new keys are taken for seen ones by the filter.
    assert!((19_900..=20_000).contains(&report.units.iter().sum::<u64>()));
    assert!(!report.sample_ratio_mismatch);
    let text = report_text(&report);
    for words in [
        "bought: new is better than the control",
        "seconds: bold is worse",
        "in segment phone",
        "as far as can be seen",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    let stored = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<ExperimentState>(&stored).unwrap(), state);
    let stored = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<ExperimentReport>(&stored).unwrap(), report);
}

#[test]
fn lost_records_make_every_verdict_invalid() {
    let plan = plan().validate().unwrap();
    let report = ExperimentReport::of(&plan, &watched(&plan, 20_000, 0.1));
    assert!(report.sample_ratio_mismatch && report.sample_ratio_p_value <= 0.001);
    assert!(report.comparisons.iter().all(|comparison| comparison.verdict == Verdict::Invalid));
    assert!(report_text(&report).contains("no verdict may be trusted"));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let plan = plan().validate().unwrap();
    let mut state = ExperimentState::new(&plan);
    let value = |metric: &str, value| vec![MetricValue { metric: metric.to_owned(), value }];
    let good = ExperimentObservation {
        arm: 0,
        shares: plan.weights().to_vec(),
        unit: None,
        segment: None,
        assignment: true,
        values: vec![],
    };
    let mut refused = |observation: ExperimentObservation| state.absorb(&plan, &observation).unwrap_err();
    assert_eq!(
        refused(ExperimentObservation { arm: 3, ..good.clone() }),
        ObservationRefused::UnknownArm { arms: 3, arm: 3 }
    );
    let shares = vec![BasisPoints::WHOLE];
    assert!(matches!(
        refused(ExperimentObservation { shares, ..good.clone() }),
        ObservationRefused::WrongShares { .. }
    ));
    let unknown = ExperimentObservation { values: value("clicks", 1.0), ..good.clone() };
    assert_eq!(refused(unknown), ObservationRefused::UnknownMetric("clicks".to_owned()));
    for (metric, wrong) in [("bought", 0.5), ("seconds", f64::NAN)] {
        let observation = ExperimentObservation { values: value(metric, wrong), ..good.clone() };
        assert!(matches!(refused(observation), ObservationRefused::WrongValue { .. }));
    }
    assert_eq!(state, ExperimentState::new(&plan));
    let other = ExperimentPlan { experiment: "other".to_owned(), ..plan.plan().clone() }.validate().unwrap();
    assert!(matches!(state.absorb(&other, &good), Err(ObservationRefused::OtherExperiment(_))));
}

#[test]
fn problems_of_plans_have_paths() {
    let mut wrong = plan();
    wrong.arms[0].weight_basis_points = 4000;
    wrong.control = "older".to_owned();
    wrong.alpha = 0.0;
    let paths: Vec<String> = wrong.validate().unwrap_err().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["arms", "control", "alpha"]);
    let wrong = BanditPlan { floor_basis_points: 6000, arms: vec!["a".to_owned(), "a".to_owned()], ..bandit_plan() };
    let paths: Vec<String> = wrong.validate().unwrap_err().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["arms[1]", "floor_basis_points"]);
}

fn bandit_plan() -> BanditPlan {
    BanditPlan {
        bandit: "greeting".to_owned(),
        arms: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        floor_basis_points: 500,
        reward: Reward::SuccessWithin { microseconds: 1000 },
        seed: 5,
    }
}

#[test]
fn a_bandit_moves_to_the_better_arm_keeps_its_floor_and_can_be_replayed() {
    let plan = bandit_plan().validate().unwrap();
    let play = |restore: bool| {
        let mut state = BanditState::new(&plan);
        let mut random = Random::new(2);
        let mut history = Vec::new();
        for request in 0..5000_u64 {
            if request % 100 == 0 {
                if restore {
                    state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
                }
                history.push(state.update(&plan).to_vec());
            }
            let place = random.bits() % 10_000;
            let mut end = 0;
            let covers = |weight: &BasisPoints| {
                end += u64::from(weight.get());
                place < end
            };
            let arm = state.weights().iter().position(covers).unwrap();
            // All succeed; the last arm is fast more often.
            let fast = random.chance([0.2, 0.2, 0.5][arm]);
            let latency_microseconds = if arm == 0 && !fast { None } else { Some(if fast { 1000 } else { 1001 }) };
            let probability = state.weights()[arm];
            state.absorb(&plan, &BanditObservation { arm, probability, success: true, latency_microseconds });
        }
        (state, history)
    };
    let (state, history) = play(false);
    assert_eq!((state.clone(), history.clone()), play(true));
    for weights in &history {
        assert_eq!(weights.iter().map(|weight| u32::from(weight.get())).sum::<u32>(), 10_000);
        assert!(weights.iter().all(|weight| weight.get() >= 500));
    }
    assert_eq!(history.last().unwrap().iter().map(|weight| weight.get()).collect::<Vec<_>>(), [500, 500, 9000]);
    for (estimate, rate) in state.estimates().iter().zip([0.2, 0.2, 0.5]) {
        assert!(estimate.interval(0.01).unwrap().contains(rate));
        assert!((estimate.rate().unwrap() - rate).abs() < 0.15);
    }
    assert_eq!(state.tallies().iter().map(|tally| tally.successes + tally.failures).sum::<u64>(), 5000);
}

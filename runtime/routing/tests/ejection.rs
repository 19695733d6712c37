//! Outlier ejection: the state machine, the shares that it moves, and the way from observations to lookups.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use hanok_routing::arm_health::{ArmState, HealthMonitor, OutlierDetector, OutlierPolicy};
use hanok_routing::observation::{Latency, Observation, OutcomeKind};
use hanok_routing::{
    ArmDeclaration, Decision, ModelTraffic, PlainFacts, Reason, RequestNumbers, RequestedVersion, Router,
    RuleDeclaration, RulePattern, RuleSubject, TrafficTable, VersionName,
};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;

fn policy() -> OutlierPolicy {
    OutlierPolicy { error_rate_margin_basis_points: Some(1_000), ..OutlierPolicy::default() }
}

#[test]
fn five_failures_in_a_row_eject_and_the_time_grows() {
    let mut detector = OutlierDetector::new(policy(), &[9_000, 1_000]);
    let fail = |detector: &mut OutlierDetector, times, now| (0..times).for_each(|_| detector.record(1, true, now));
    fail(&mut detector, 4, 0);
    detector.record(1, false, 0);
    fail(&mut detector, 4, 0);
    assert_eq!(detector.state(1), Some(ArmState::Healthy));
    fail(&mut detector, 1, 0);
    assert_eq!(detector.state(1), Some(ArmState::Ejected { until_microseconds: 30 * SECOND }));
    assert_eq!((detector.admission(0), detector.admission(1)), (10_000, 0));
    detector.record(1, false, SECOND);
    detector.advance(30 * SECOND - 1);
    assert_eq!(detector.admission(1), 0);
    detector.advance(30 * SECOND);
    assert_eq!((detector.state(1), detector.admission(1)), (Some(ArmState::HalfOpen { successes: 0 }), 1_000));
    detector.record(1, false, 30 * SECOND);
    fail(&mut detector, 1, 30 * SECOND);
    assert_eq!(detector.state(1), Some(ArmState::Ejected { until_microseconds: 90 * SECOND }), "twice as long");
    for _ in 0..5 {
        detector.record(1, false, 90 * SECOND);
    }
    assert_eq!(detector.state(1), Some(ArmState::Healthy));
    // Two windows without ejection later the time starts again.
    fail(&mut detector, 5, 111 * SECOND);
    assert_eq!(detector.state(1), Some(ArmState::Ejected { until_microseconds: 141 * SECOND }));
}

#[test]
fn an_error_rate_above_the_peers_ejects_at_the_end_of_the_window() {
    let run = |others: u32, own: u32| {
        let mut detector = OutlierDetector::new(policy(), &[6_000, 2_000, 2_000]);
        detector.advance(0);
        for index in 0..200 {
            for arm in [0, 1] {
                detector.record(arm, index * others / 200 != (index + 1) * others / 200, SECOND);
            }
            detector.record(2, index * own / 200 != (index + 1) * own / 200, SECOND);
        }
        let inside = detector.state(2);
        detector.advance(10 * SECOND);
        (inside, [0, 1, 2].map(|arm| detector.admission(arm)))
    };
    // 2 % of the others, margin 10 points: 12 % is too much, 11.5 % is not.
    assert_eq!(run(4, 24), (Some(ArmState::Healthy), [10_000, 10_000, 0]));
    assert_eq!(run(4, 23), (Some(ArmState::Healthy), [10_000, 10_000, 10_000]));
    // All alike: nobody is an outlier.
    assert_eq!(run(100, 100).1, [10_000; 3]);
}

#[test]
fn a_large_arm_and_the_last_arm_stay() {
    let mut detector = OutlierDetector::new(policy(), &[9_000, 1_000]);
    (0..100).for_each(|_| detector.record(0, true, 0));
    assert_eq!(detector.state(0), Some(ArmState::Healthy), "90 % is more than may be ejected");
    let all = OutlierPolicy { most_ejected_basis_points: 10_000, ..policy() };
    let mut detector = OutlierDetector::new(all, &[9_000, 1_000]);
    (0..100).for_each(|_| detector.record(0, true, 0));
    assert_eq!(detector.admission(0), 0);
    (0..100).for_each(|_| detector.record(1, true, 0));
    assert_eq!(detector.admission(1), 10_000, "one arm stays");
}

proptest! {
    /// Whatever happens: never more weight out than allowed, one weighted arm healthy, and no ejection outside its bounds.
    #[test]
    fn the_ejected_share_is_bounded(
        cuts in prop::collection::vec(0_u16..=10_000, 3),
        most in 0_u16..=10_000,
        consecutive in 0_u32..4,
        margin in prop::option::of(1_u16..5_000),
        events in prop::collection::vec((0_usize..4, any::<bool>(), 0_u64..20_000_000), 0..400),
    ) {
        let mut cuts = cuts;
        cuts.extend([0, 10_000]);
        cuts.sort_unstable();
        let weights: Vec<u16> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let policy = OutlierPolicy {
            consecutive_failures: consecutive, error_rate_margin_basis_points: margin, minimum_requests: 3,
            most_ejected_basis_points: most, probes: 2, ..OutlierPolicy::default()
        };
        let mut detector = OutlierDetector::new(policy.clone(), &weights);
        let mut now = 0;
        for (arm, failed, pause) in events {
            now += pause;
            let before = detector.state(arm);
            detector.record(arm, failed, now);
            let out: Vec<usize> = (0..4).filter(|&arm| detector.state(arm) != Some(ArmState::Healthy)).collect();
            prop_assert!(out.iter().map(|&arm| u32::from(weights[arm])).sum::<u32>() <= u32::from(most));
            prop_assert!((0..4).any(|arm| weights[arm] > 0 && !out.contains(&arm)));
            if let Some(ArmState::Ejected { until_microseconds }) = detector.state(arm)
                && before != detector.state(arm)
                && until_microseconds > now
            {
                let milliseconds = (until_microseconds - now).div_ceil(1_000);
                prop_assert!(milliseconds <= policy.longest_ejection_milliseconds);
            }
        }
        detector.advance(now + 400 * SECOND);
        prop_assert!((0..4).all(|arm| detector.admission(arm) > 0), "nobody stays out for ever");
    }
}

fn table(version: u64, weights: &[u16], outlier_ejection: Option<OutlierPolicy>) -> TrafficTable {
    let arm = |(index, &weight_basis_points): (usize, &u16)| ArmDeclaration {
        name: format!("arm{index}"),
        model: None,
        version: VersionName::Number(index as u64 + 1),
        weight_basis_points,
    };
    let rules = vec![RuleDeclaration {
        when: RuleSubject::Identity,
        matches: RulePattern::Exact("tester".to_owned()),
        arm: "arm1".to_owned(),
    }];
    let arms = weights.iter().enumerate().map(arm).collect();
    let entry = ModelTraffic { arms, rules, outlier_ejection, ..ModelTraffic::default() };
    TrafficTable { version, models: BTreeMap::from([("m".to_owned(), entry)]) }
}

fn router(table: TrafficTable) -> Router {
    let router = Router::default();
    router.tables().compare_and_set(0, table).unwrap();
    router
}

fn routed(router: &Router, facts: &PlainFacts<'_>) -> Decision {
    router.route("m", RequestedVersion::Any, facts).unwrap()
}

/// Index of the arm that serves.
fn index(decision: &Decision) -> usize {
    decision.arm.as_ref().unwrap().name[3..].parse().unwrap()
}

const DRAWS: u32 = 400_000;

/// Counts per arm of many requests, checking that each decision states the share that its arm turns out to have.
fn counts(router: &Router, arms: usize) -> Vec<u32> {
    let numbers = RequestNumbers::new(11);
    let mut counts = vec![0; arms];
    let mut stated = vec![0; arms];
    for _ in 0..DRAWS {
        let decision = routed(router, &PlainFacts { number: numbers.draw(), ..PlainFacts::default() });
        counts[index(&decision)] += 1;
        stated[index(&decision)] = decision.probability_basis_points;
    }
    for (arm, (&count, &stated)) in counts.iter().zip(&stated).enumerate() {
        let share = f64::from(count) / f64::from(DRAWS);
        let expected = f64::from(stated) / 10_000.0;
        let deviation = (expected * (1.0 - expected) / f64::from(DRAWS)).sqrt();
        assert!((share - expected).abs() <= 5.0 * deviation + 0.5e-4, "arm {arm}: {share}, stated {expected}");
    }
    counts
}

#[test]
fn an_ejected_share_goes_to_the_others_by_weight() {
    let router = router(table(1, &[5_000, 2_000, 3_000], None));
    let health = router.tables().in_force();
    let health = health.health("m").unwrap();
    health.admit(1, 0);
    let ejected = counts(&router, 3);
    assert_eq!(ejected[1], 0);
    let moved = routed(&router, &PlainFacts::default());
    assert_eq!(moved.reason, Reason::Ejected, "bucket 0 is the second arm's");
    assert_eq!(moved.probability_basis_points, [6_250, 0, 3_750][index(&moved)]);
    health.admit(1, 1_000);
    let probed = counts(&router, 3);
    let share = f64::from(probed[1]) / f64::from(DRAWS);
    assert!((share - 0.02).abs() < 0.002, "a tenth of 20 %, got {share}");
    health.admit(1, 0);
    let tester = PlainFacts { identity: Some("tester"), number: 5, ..PlainFacts::default() };
    let decision = routed(&router, &tester);
    assert_eq!(decision.reason, Reason::Ejected);
    assert_ne!(index(&decision), 1);
    [0, 1, 2].iter().for_each(|&arm| health.admit(arm, 0));
    let panicked = counts(&router, 3);
    assert!(panicked.iter().all(|&count| count > 0), "all ejected means none: {panicked:?}");
    assert_eq!(index(&routed(&router, &tester)), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Shares under any ejection sum to the whole, and nobody who admits nothing is chosen unless nobody admits anything.
    #[test]
    fn stated_shares_sum_to_the_whole(
        cuts in prop::collection::vec(0_u16..=10_000, 3),
        admissions in prop::collection::vec(prop::sample::select(vec![0_u16, 1, 1_000, 9_999, 10_000]), 4),
    ) {
        let mut cuts = cuts;
        cuts.extend([0, 10_000]);
        cuts.sort_unstable();
        let weights: Vec<u16> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let router = router(table(1, &weights, None));
        let snapshot = router.tables().in_force();
        for (arm, &admission) in admissions.iter().enumerate() {
            snapshot.health("m").unwrap().admit(arm, admission);
        }
        let nobody = (0..4).all(|arm| weights[arm] == 0 || admissions[arm] == 0);
        let numbers = RequestNumbers::new(3);
        let mut stated = BTreeMap::new();
        for _ in 0..20_000 {
            let decision = routed(&router, &PlainFacts { number: numbers.draw(), ..PlainFacts::default() });
            let arm = index(&decision);
            prop_assert!(weights[arm] > 0 && (admissions[arm] > 0 || nobody));
            stated.insert(arm, u32::from(decision.probability_basis_points));
        }
        // Arms of a share so small that 20,000 requests may miss them are left out: at most 3 of them, each below 0.2 %.
        let sum: u32 = stated.values().sum();
        let missed = (4 - u32::try_from(stated.len()).unwrap()) * 20;
        prop_assert!(sum <= 10_002 && sum + missed >= 9_998, "{:?}", stated);
    }
}

fn observation(decision: &Decision, outcome: OutcomeKind, finished_microseconds: u64) -> Observation {
    Observation {
        request_id: Box::default(),
        arm: decision.arm.clone(),
        model: Arc::from("m"),
        version: 1,
        probability_basis_points: decision.probability_basis_points,
        reason: decision.reason,
        table_version: decision.table_version,
        sticky_key_hash: decision.sticky_key_hash,
        segment: None,
        outcome,
        latency: Latency::default(),
        finished_microseconds,
    }
}

#[test]
fn a_broken_arm_leaves_the_split_and_comes_back_by_probes() {
    let router = router(table(1, &[9_000, 1_000], Some(policy())));
    let mut monitor = HealthMonitor::default();
    let numbers = RequestNumbers::new(5);
    let mut now = 0;
    let mut on_broken = Vec::new();
    let mut changes = Vec::new();
    // Arm 1 fails for 40 s; a request every 10 ms, a batch every 100 ms.
    for tick in 0..1_200_u64 {
        let mut batch = Vec::new();
        let mut here = 0;
        for _ in 0..10 {
            now += 10_000;
            let decision = routed(&router, &PlainFacts { number: numbers.draw(), ..PlainFacts::default() });
            let broken = index(&decision) == 1;
            here += u32::from(broken);
            let outcome = if broken && now < 40 * SECOND { OutcomeKind::ServerError } else { OutcomeKind::Success };
            batch.push(observation(&decision, outcome, now));
        }
        on_broken.push(here);
        changes.extend(monitor.absorb(&router.tables().in_force(), &batch, now));
        if tick == 200 {
            // A new table with the same arms keeps the ejection, before and after the monitor has seen it.
            router.tables().compare_and_set(1, table(2, &[8_000, 2_000], Some(policy()))).unwrap();
        }
    }
    let states: Vec<_> = changes.iter().map(|change| (&*change.arm.name, change.to)).collect();
    assert!(states.iter().all(|(name, _)| *name == "arm1"), "{states:?}");
    let kinds: String = states
        .iter()
        .map(|(_, state)| match state {
            ArmState::Healthy => 'h',
            ArmState::Ejected { .. } => 'e',
            ArmState::HalfOpen { .. } => 'o',
        })
        .collect();
    assert_eq!(kinds, "eoeoh", "ejected, probed while broken, ejected for longer, probed, healthy: {states:?}");
    let out: u32 = on_broken[60..300].iter().sum();
    assert_eq!(out, 0, "an ejected arm gets nothing, also across the swap");
    assert!(on_broken[1_190..].iter().sum::<u32>() > 0, "it is back");
}

/// Being refused by a half-open arm must say nothing about which arm takes over.
#[test]
fn admission_and_takeover_are_independent() {
    let router = router(table(1, &[5_000, 0, 5_000], None));
    router.tables().in_force().health("m").unwrap().admit(1, 5_000);
    let mut counts = [0_u32; 3];
    let numbers = RequestNumbers::new(17);
    for _ in 0..40_000 {
        let tester = PlainFacts { identity: Some("tester"), number: numbers.draw(), ..PlainFacts::default() };
        counts[index(&routed(&router, &tester))] += 1;
    }
    // Six standard deviations of 40,000 draws at 1/2, and at 1/4.
    let near = |count: u32, expected: u32, off: u32| count.abs_diff(expected) < off;
    assert!(near(counts[1], 20_000, 600) && near(counts[0], 10_000, 520), "{counts:?}");
}

#[test]
fn what_clients_do_ejects_nobody() {
    let router = router(table(1, &[9_000, 1_000], Some(policy())));
    let mut monitor = HealthMonitor::default();
    let decision = routed(&router, &PlainFacts { identity: Some("tester"), ..PlainFacts::default() });
    let kinds = [OutcomeKind::ClientError, OutcomeKind::Cancelled, OutcomeKind::Shed];
    let batch: Vec<_> = (0..90).map(|index| observation(&decision, kinds[index % 3], 1)).collect();
    assert_eq!(monitor.absorb(&router.tables().in_force(), &batch, 1), vec![]);
    let batch: Vec<_> = (0..5).map(|_| observation(&decision, OutcomeKind::Deadline, 2)).collect();
    assert_eq!(monitor.absorb(&router.tables().in_force(), &batch, 2).len(), 1);
    // A table without the policy lets everybody in.
    router.tables().compare_and_set(1, table(2, &[9_000, 1_000], None)).unwrap();
    assert_eq!(index(&routed(&router, &PlainFacts { identity: Some("tester"), ..PlainFacts::default() })), 1);
}

//! Golden values and properties of the e-process.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::{Just, any, prop_oneof, proptest};

use super::{Hypothesis, RelativeRiskTest};

#[test]
fn golden_values_of_an_independent_implementation() {
    // numpy and scipy.special.logsumexp, from the formula q(d) = w d / (w d + 1 - w).
    for (hypothesis, log_e, log_e_max) in GOLDEN {
        let mut test = RelativeRiskTest::new(hypothesis);
        for index in 0..200_u32 {
            let share = [0.01, 0.05, 0.25, 0.5][(index / 50) as usize];
            test.record(index * 7919 % 1000 < 300, share, 1);
        }
        assert!((test.log_e() - log_e).abs() < 1e-9, "{hypothesis:?} {}", test.log_e());
        assert!((test.log_e_max() - log_e_max).abs() < 1e-9, "{hypothesis:?} {}", test.log_e_max());
        assert_eq!(test.events(), 200);
    }
}

const GOLDEN: [(Hypothesis, f64, f64); 3] = [
    (Hypothesis::AtMost(1.0), 6.132_098_600_145_6, 49.732_966_246_986_32),
    (Hypothesis::AtLeast(1.5), -4.168_285_309_479_785, 0.0),
    (Hypothesis::AtMost(1.25), 2.181_306_396_122_004_3, 43.759_472_803_760_445),
];

#[test]
fn events_without_chance_say_nothing() {
    let mut test = RelativeRiskTest::new(Hypothesis::AtMost(1.0));
    for share in [0.0, 1.0, -1.0, f64::NAN] {
        test.record(true, share, 1);
    }
    test.record(true, 0.5, 0);
    assert_eq!(test, RelativeRiskTest::new(Hypothesis::AtMost(1.0)));
}

#[test]
fn stored_state_is_checked() {
    let stored = serde_json::to_string(&RelativeRiskTest::new(Hypothesis::AtMost(1.0))).unwrap();
    assert!(serde_json::from_str::<RelativeRiskTest>(&stored).is_ok());
    assert!(serde_json::from_str::<RelativeRiskTest>(&stored.replacen("0.0,", "", 1)).is_err());
    assert!(
        serde_json::from_str::<RelativeRiskTest>(&stored.replace(r#""at_most":1.0"#, r#""at_most":-1.0"#)).is_err()
    );
    assert!(serde_json::from_str::<RelativeRiskTest>(&stored.replace("log_e_max", "log_e_most")).is_err());
}

proptest! {
    /// The heart of the promise: at the boundary one event multiplies the evidence by 1 on average, beyond it by less.
    #[test]
    fn evidence_is_a_supermartingale(
        past in proptest::collection::vec((any::<bool>(), 0.01..0.99_f64), 0..30),
        share in 0.001..0.999_f64,
        hypothesis in prop_oneof![
            Just(Hypothesis::AtMost(1.0)), Just(Hypothesis::AtMost(1.5)), Just(Hypothesis::AtLeast(1.0)), Just(Hypothesis::AtLeast(2.0)),
        ],
        further in 1.0..5.0_f64,
    ) {
        let mut test = RelativeRiskTest::new(hypothesis);
        past.iter().for_each(|(candidate, share)| test.record(*candidate, *share, 1));
        let after = |candidate| {
            let mut next = test.clone();
            next.record(candidate, share, 1);
            (next.log_e() - test.log_e()).exp()
        };
        let mean_at = |risk: f64| {
            let from_candidate = share * risk / (share * risk + 1.0 - share);
            from_candidate * after(true) + (1.0 - from_candidate) * after(false)
        };
        let (boundary, beyond) = match hypothesis {
            Hypothesis::AtMost(boundary) => (boundary, boundary / further),
            Hypothesis::AtLeast(boundary) => (boundary, boundary * further),
        };
        assert!((mean_at(boundary) - 1.0).abs() < 1e-9, "{}", mean_at(boundary));
        assert!(mean_at(beyond) <= 1.0 + 1e-9);
    }

    /// Repeats are the same as single events, the largest E-value included.
    #[test]
    fn repeats_are_single_events(runs in proptest::collection::vec((any::<bool>(), 0.01..0.99_f64, 1_u64..20), 1..20)) {
        let mut at_once = RelativeRiskTest::new(Hypothesis::AtMost(1.0));
        let mut singly = at_once.clone();
        for (candidate, share, repeats) in runs {
            at_once.record(candidate, share, repeats);
            (0..repeats).for_each(|_| singly.record(candidate, share, 1));
        }
        assert!((at_once.log_e() - singly.log_e()).abs() < 1e-9);
        assert!((at_once.log_e_max() - singly.log_e_max()).abs() < 1e-9);
    }

    /// The lazily kept maximum is the true one, and storing changes nothing to the last bit.
    #[test]
    fn maximum_and_storing_are_exact(events in proptest::collection::vec((any::<bool>(), 0.01..0.99_f64), 1..100)) {
        let mut test = RelativeRiskTest::new(Hypothesis::AtLeast(1.5));
        let mut largest = 0.0_f64;
        for (candidate, share) in events {
            test.record(candidate, share, 1);
            largest = largest.max(test.log_e());
            test = serde_json::from_str(&serde_json::to_string(&test).unwrap()).unwrap();
        }
        assert_eq!(test.log_e_max().to_bits(), largest.to_bits());
    }
}

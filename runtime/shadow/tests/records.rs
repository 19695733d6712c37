//! Counters and the store of examples: what they count, and the bounds that they keep.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, VecDeque};

use hanok_shadow::{
    Comparison, ComparisonRules, Disagreement, DisagreementLimits, DisagreementStore, Output, OutputRule,
    ShadowCounters, ShadowOutcome, compare,
};
use hanok_tensor::{DataType, Shape};
use proptest::prelude::*;

fn comparison(rules: &ComparisonRules, pairs: &[(&str, u8, u8)]) -> Comparison {
    let shape = Shape::new(&[1]);
    let data: Vec<([u8; 1], [u8; 1])> = pairs.iter().map(|&(_, ours, theirs)| ([ours], [theirs])).collect();
    let output = |name, data| Output { name, data_type: DataType::Uint8, shape: &shape, data };
    let ours: Vec<_> = pairs.iter().zip(&data).map(|((name, ..), data)| output(name, &data.0[..])).collect();
    let theirs: Vec<_> = pairs.iter().zip(&data).map(|((name, ..), data)| output(name, &data.1[..])).collect();
    compare(rules, &ours, &theirs)
}

#[test]
fn counters_count_each_copy_and_each_output_once() {
    let rules = ComparisonRules {
        outputs: BTreeMap::from([("label".to_owned(), OutputRule::Label), ("score".to_owned(), OutputRule::Exact)]),
        ..ComparisonRules::default()
    };
    let counters = ShadowCounters::new(&rules);
    counters.record(&comparison(&rules, &[("label", 1, 1), ("score", 5, 5)]));
    counters.record(&comparison(&rules, &[("label", 1, 2), ("score", 5, 6), ("x", 1, 1)]));
    counters.record(&comparison(&rules, &[("label", 1, 1), ("score", 5, 6), ("y", 1, 9)]));
    for outcome in
        [ShadowOutcome::Dropped, ShadowOutcome::Dropped, ShadowOutcome::Expired, ShadowOutcome::CandidateFailed]
    {
        counters.count(outcome);
    }
    let counts = counters.counts();
    assert_eq!((counts.agreed, counts.disagreed), (1, 2));
    assert_eq!((counts.dropped, counts.expired, counts.candidate_failed), (2, 1, 1));
    let tensors: Vec<_> =
        counts.tensors.iter().map(|tensor| (&*tensor.name, tensor.compared, tensor.disagreed)).collect();
    assert_eq!(tensors, [("label", 3, 1), ("score", 3, 2), ("", 2, 1)]);
}

#[test]
fn examples_hold_copies_and_say_what_was_cut() {
    let mut store = DisagreementStore::new(DisagreementLimits { tensor_bytes: 4, ..DisagreementLimits::default() });
    let shape = Shape::new(&[6]);
    let data = *b"abcdef";
    let tensor = Output { name: "t", data_type: DataType::Uint8, shape: &shape, data: &data };
    let short = Output { data: &data[..4], ..tensor };
    let found = comparison(&ComparisonRules::default(), &[("t", 1, 2)]);
    store.keep(Disagreement::new("request-1", 7, (3, 4), found.clone()), &[tensor], &[short], &[]);
    let kept: Vec<_> = store.newest_first().collect();
    assert_eq!((&*kept[0].request_id, kept[0].primary_version, kept[0].candidate_version), ("request-1", 3, 4));
    assert_eq!((&*kept[0].inputs[0].data, kept[0].inputs[0].whole_bytes), (&b"abcd"[..], 6));
    assert_eq!((kept[0].primary[0].whole_bytes, kept[0].candidate.len()), (4, 0));
    assert_eq!(kept[0].comparison, found);
}

proptest! {
    /// Against a model: bounds hold at every step, the newest are there, and the oldest went first.
    #[test]
    fn the_newest_examples_stay_within_bounds(
        examples in 0_usize..6, bytes in 0_usize..6_000, sizes in prop::collection::vec(0_usize..2_500, 0..40),
    ) {
        let limits = DisagreementLimits { examples, bytes, tensor_bytes: 2_000 };
        let mut store = DisagreementStore::new(limits);
        let mut expected: VecDeque<u64> = VecDeque::new();
        let mut refused = 0;
        for (at, &size) in sizes.iter().enumerate() {
            let at = at as u64;
            let (shape, data) = (Shape::new(&[i64::try_from(size).unwrap()]), vec![0; size]);
            let tensor = Output { name: "t", data_type: DataType::Uint8, shape: &shape, data: &data };
            let before = store.counts();
            store.keep(Disagreement::new("", at, (1, 2), Comparison::default()), &[tensor], &[], &[]);
            let counts = store.counts();
            prop_assert!(counts.kept <= examples && counts.bytes <= bytes);
            if counts.too_large > before.too_large {
                refused += 1;
                prop_assert_eq!((counts.kept, counts.bytes), (before.kept, before.bytes));
            } else {
                expected.push_back(at);
                expected.drain(..expected.len() - counts.kept);
                prop_assert!(counts.kept > 0 && counts.bytes > size.min(2_000));
            }
            let kept: Vec<u64> = store.newest_first().map(|example| example.at_microseconds).collect();
            prop_assert_eq!(kept, expected.iter().rev().copied().collect::<Vec<_>>());
        }
        let counts = store.counts();
        prop_assert_eq!((counts.offered, counts.too_large), (sizes.len() as u64, refused));
        prop_assert!(bytes < 3_000 || examples == 0 || refused == 0, "what fits alone is never refused");
    }
}

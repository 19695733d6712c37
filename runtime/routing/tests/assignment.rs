//! Who is assigned where: golden hashes, exact buckets, shares of a million requests, and how little moves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use hanok_routing::assignment_hash::{bucket, key_hash, redraw, request_number, salt_seed};
use hanok_routing::{
    ArmDeclaration, Decision, ModelTraffic, PlainFacts, Reason, RequestNumbers, RequestedVersion, Router, Sticky,
    TrafficTable, VersionName, is_sampled,
};
use proptest::prelude::*;

/// Values of the Python package `xxhash` 4.1.0 (the reference C library 0.8):
/// `xxhash.xxh3_64_intdigest(key, seed=xxhash.xxh3_64_intdigest(salt))`.
#[test]
fn hashes_are_those_of_the_reference_library() {
    let long: Vec<u8> = (0..=255).collect();
    let golden: [(&[u8], &[u8], u64, u16); 6] = [
        (b"", b"", 0x412f_1275_e100_17f3, 3),
        (b"fraud", b"user-1", 0xf332_87fe_298b_69ba, 6_618),
        (b"fraud", b"user-2", 0xe13d_5052_8b3d_083e, 8_798),
        (b"checkout-2026", b"42", 0x481f_bc0a_1a72_c0dc, 4_668),
        (b"fraud", &long, 0x1544_b85f_09df_8292, 8_066),
        ("실험".as_bytes(), "사용자".as_bytes(), 0x67f9_813b_fb9a_b43d, 4_221),
    ];
    for (salt, key, hash, expected_bucket) in golden {
        assert_eq!(key_hash(salt_seed(salt), key), hash, "{salt:?}");
        assert_eq!(bucket(hash), expected_bucket);
    }
    assert_eq!(salt_seed(b"fraud"), 7_932_790_748_755_362_469);
    // `xxhash.xxh3_64_intdigest(counter.to_bytes(8, "little"), seed=key)`
    assert_eq!(request_number(0, 0), 0xc77b_3abb_6f87_acd9);
    assert_eq!(request_number(7, 1), 0xa6b5_aa3e_ef10_acc4);
    assert_eq!(request_number(0xdead_beef, 1 << 40), 0x77b6_3cef_93c5_bed8);
}

/// First outputs of Vigna's `splitmix64.c` with state 1234567, as published on Rosetta Code ("Pseudo-random numbers /
/// Splitmix64").
#[test]
fn further_numbers_are_splitmix64() {
    let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!([0, 1, 2].map(|stream| redraw(1_234_567, stream)), expected);
}

fn traffic(weights: &[(&str, u16)], sticky: Sticky, salt: &str) -> ModelTraffic {
    let arms = weights
        .iter()
        .enumerate()
        .map(|(index, (name, weight))| ArmDeclaration {
            name: (*name).to_owned(),
            model: None,
            version: VersionName::Number(index as u64 + 1),
            weight_basis_points: *weight,
        })
        .collect();
    ModelTraffic { arms, sticky, salt: Some(salt.to_owned()), ..ModelTraffic::default() }
}

fn table(version: u64, entry: ModelTraffic) -> TrafficTable {
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

fn by_user(router: &Router, user: u32) -> Decision {
    let text = format!("user-{user}");
    routed(router, &PlainFacts { headers: &[("x-user", text.as_bytes())], ..PlainFacts::default() })
}

fn chi_square(counts: &[u32], weights: &[u16]) -> f64 {
    let all: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let term = |(&count, &weight): (&u32, &u16)| {
        let expected = all * f64::from(weight) / 10_000.0;
        (f64::from(count) - expected).powi(2) / expected
    };
    counts.iter().zip(weights).map(term).sum()
}

/// `scipy.stats.chi2.isf(0.001, df)` for 3 degrees of freedom, and for 9,999.
const CRITICAL_3: f64 = 16.266_236_196_238_13;
const CRITICAL_9999: f64 = 10_441.708_713_915_372;

const WEIGHTS: [(&str, u16); 4] = [("base", 6_990), ("half", 2_000), ("tenth", 1_000), ("sliver", 10)];

fn assert_shares(counts: &[u32; 4], what: &str) {
    for (count, (name, weight)) in counts.iter().zip(WEIGHTS) {
        let points = (f64::from(*count) / 10_000.0 - f64::from(weight) / 100.0).abs();
        assert!(points <= 0.1, "{what}: arm `{name}` is off by {points} percentage points");
    }
    let statistic = chi_square(counts, &WEIGHTS.map(|(_, weight)| weight));
    assert!(statistic < CRITICAL_3, "{what}: chi-square {statistic} of {counts:?}");
}

#[test]
fn a_million_random_requests_follow_the_weights() {
    let router = router(table(1, traffic(&WEIGHTS, Sticky::None, "s")));
    let numbers = RequestNumbers::new(20_261_122);
    let mut counts = [0; 4];
    for _ in 0..1_000_000 {
        let decision = routed(&router, &PlainFacts { number: numbers.draw(), ..PlainFacts::default() });
        let index = WEIGHTS.iter().position(|(name, _)| *name == &*decision.arm.as_ref().unwrap().name).unwrap();
        assert_eq!((decision.reason, decision.sticky_key_hash), (Reason::Weight, 0));
        assert_eq!(decision.probability_basis_points, WEIGHTS[index].1);
        counts[index] += 1;
    }
    assert_shares(&counts, "random");
}

#[test]
fn a_million_keys_follow_the_weights_under_twenty_salts() {
    let keys: Vec<String> = (0..1_000_000).map(|user| format!("user-{user}")).collect();
    for salt in 0..20 {
        let salt = format!("experiment-{salt}");
        let router = router(table(1, traffic(&WEIGHTS, Sticky::Header("X-User".to_owned()), &salt)));
        let mut counts = [0; 4];
        let mut buckets = vec![0_u32; 10_000];
        for key in &keys {
            let headers = [("x-user", key.as_bytes())];
            let decision = routed(&router, &PlainFacts { headers: &headers, ..PlainFacts::default() });
            assert_eq!(decision.reason, Reason::Sticky);
            let name = &*decision.arm.as_ref().unwrap().name;
            counts[WEIGHTS.iter().position(|(known, _)| *known == name).unwrap()] += 1;
            buckets[usize::from(bucket(decision.sticky_key_hash))] += 1;
        }
        assert_shares(&counts, &salt);
        let statistic = chi_square(&buckets, &[1; 10_000]);
        assert!(statistic < CRITICAL_9999, "{salt}: chi-square of the buckets is {statistic}");
    }
}

#[test]
fn a_ramp_flips_nobody_back() {
    let ramp = [0, 1, 100, 500, 2_500, 5_000, 10_000];
    let share = |weight| [("stable", 10_000 - weight), ("canary", weight)];
    let on_canary = |weight| {
        let router = router(table(1, traffic(&share(weight), Sticky::Header("x-user".to_owned()), "ramp")));
        (0..100_000).map(|user| &*by_user(&router, user).arm.unwrap().name == "canary").collect::<Vec<_>>()
    };
    let mut before = vec![false; 100_000];
    for weight in ramp {
        let now = on_canary(weight);
        assert!(before.iter().zip(&now).all(|(before, now)| *now || !before), "a key left at {weight}");
        before = now;
    }
    assert!(before.iter().all(|&canary| canary));
}

#[test]
fn two_arms_are_canary_below_the_weight() {
    let mut before = table(1, traffic(&[("stable", 9_500), ("canary", 500)], Sticky::None, "s"));
    for weight in [2_500, 0, 1, 9_999, 300] {
        let mut next = table(2, traffic(&[("stable", 10_000 - weight), ("canary", weight)], Sticky::None, "s"));
        next.carry_allocations_from(&before);
        assert!(next.models["m"].allocation.is_empty(), "two arms need no stored allocation");
        let router = router(next.clone());
        for number in 0..10_000 {
            let decision = routed(&router, &PlainFacts { number, ..PlainFacts::default() });
            assert_eq!(&*decision.arm.unwrap().name == "canary", number < u64::from(weight));
        }
        before = next;
    }
}

/// Arm of every bucket, by name.
fn held(table: &TrafficTable) -> Vec<String> {
    let runs = table.models["m"].bucket_runs();
    runs.into_iter().flat_map(|run| std::iter::repeat_n(run.arm, usize::from(run.buckets))).collect()
}

fn split(cuts: Vec<u16>, names: &[&'static str]) -> Vec<(&'static str, u16)> {
    let mut cuts: Vec<u16> = cuts.into_iter().take(names.len() - 1).collect();
    cuts.sort_unstable();
    cuts.push(10_000);
    let mut last = 0;
    let width = |(&name, cut): (&&'static str, u16)| {
        let weight = cut - last;
        last = cut;
        (name, weight)
    };
    names.iter().zip(cuts).map(width).collect()
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn any_split() -> impl Strategy<Value = Vec<(&'static str, u16)>> {
    (prop::sample::subsequence(&NAMES[..], 1..=5).prop_shuffle(), prop::collection::vec(0_u16..=10_000, 4))
        .prop_map(|(names, cuts)| split(cuts, &names))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Through any chain of tables, each step moves exactly the buckets that the weights force to move.
    #[test]
    fn only_the_moved_share_moves(splits in prop::collection::vec(any_split(), 2..7)) {
        let mut before = table(1, traffic(&splits[0], Sticky::None, "s"));
        for (index, weights) in splits.iter().enumerate().skip(1) {
            let mut next = table(index as u64 + 1, traffic(weights, Sticky::None, "s"));
            next.carry_allocations_from(&before);
            prop_assert_eq!(next.problems(), vec![]);
            let (old, new) = (held(&before), held(&next));
            prop_assert_eq!(new.len(), 10_000);
            for (name, weight) in weights {
                prop_assert_eq!(new.iter().filter(|arm| arm == name).count(), usize::from(*weight));
            }
            let moved = old.iter().zip(&new).filter(|(old, new)| old != new).count();
            let weight = |table: &TrafficTable, name: &str| {
                let arm = table.models["m"].arms.iter().find(|arm| arm.name == name);
                arm.map_or(0, |arm| i32::from(arm.weight_basis_points))
            };
            let difference: i32 = NAMES.iter().map(|name| (weight(&before, name) - weight(&next, name)).abs()).sum();
            prop_assert_eq!(i32::try_from(moved).unwrap(), difference / 2);
            // What is stored is all that a reader needs.
            let text = serde_json::to_string(&next).unwrap();
            let read: TrafficTable = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(held(&read), new);
            before = read;
        }
    }

    /// Shadow sampling keeps its share, only grows with it, and differs between shadows.
    #[test]
    fn sampling_follows_the_share(key: u64, share in 0_u16..=10_000, more in 0_u16..=10_000) {
        let numbers: Vec<u64> = (0..20_000).map(|counter| request_number(key, counter)).collect();
        let taken = |shadow, share| numbers.iter().filter(move |&&number| is_sampled(number, shadow, share)).count();
        let expected = 2.0 * f64::from(share);
        let deviation = (expected * (1.0 - f64::from(share) / 10_000.0)).sqrt();
        prop_assert!((taken(0, share) as f64 - expected).abs() <= 6.0 * deviation + 1e-9);
        let larger = share.max(more);
        prop_assert!(numbers.iter().all(|&number| !is_sampled(number, 0, share) || is_sampled(number, 0, larger)));
        let both = numbers.iter().filter(|&&number| is_sampled(number, 0, 5_000) && is_sampled(number, 1, 5_000));
        prop_assert!((both.count() as f64 - 5_000.0).abs() < 6.0 * 62.0);
    }
}

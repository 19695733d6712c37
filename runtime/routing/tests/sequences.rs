//! A sequence never changes arm while it lives, whatever happens to the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, HashMap};

use hanok_routing::arm_health::OutlierPolicy;
use hanok_routing::{
    Arm, ArmDeclaration, Decision, ModelTraffic, PinCounts, PinLimits, PlainFacts, Reason, RequestedVersion, Router,
    SequenceFact, SequenceIdFact, ServedVersion, ShadowDeclaration, ShadowTargetDeclaration, Sticky, TrafficTable,
    VersionName,
};
use proptest::prelude::*;

const LIMITS: PinLimits = PinLimits { capacity: 64 * 64, idle_microseconds: 1_000 };

fn arm(name: &str, version: u64, weight_basis_points: u16) -> ArmDeclaration {
    ArmDeclaration { name: name.to_owned(), model: None, version: VersionName::Number(version), weight_basis_points }
}

fn two_arms(version: u64, canary: u16) -> TrafficTable {
    let arms = vec![arm("stable", 1, 10_000 - canary), arm("canary", 2, canary)];
    let entry = ModelTraffic { arms, ..ModelTraffic::default() };
    TrafficTable { version, models: BTreeMap::from([("m".to_owned(), entry)]) }
}

fn set(router: &Router, table: TrafficTable) {
    router.tables().compare_and_set(router.tables().version(), table).unwrap();
}

fn send(router: &Router, id: SequenceIdFact<'_>, start: bool, end: bool, now_microseconds: u64) -> Decision {
    let facts =
        PlainFacts { sequence: Some(SequenceFact { id, start, end }), now_microseconds, ..PlainFacts::default() };
    router.route("m", RequestedVersion::Any, &facts).unwrap()
}

const ID: SequenceIdFact<'static> = SequenceIdFact::Text("conversation");

#[test]
fn a_live_sequence_stays_when_its_arm_leaves_the_table() {
    let router = Router::new(LIMITS);
    set(&router, two_arms(1, 10_000));
    let first = send(&router, ID, true, false, 0);
    assert_eq!((first.version, first.reason), (ServedVersion::Number(2), Reason::Sticky));
    let only_stable = ModelTraffic { arms: vec![arm("stable", 1, 10_000)], ..ModelTraffic::default() };
    set(&router, TrafficTable { version: 2, models: BTreeMap::from([("m".to_owned(), only_stable)]) });
    let second = send(&router, ID, false, false, 10);
    assert_eq!((second.version, second.reason, second.table_version), (first.version, Reason::PinnedSequence, 1));
    assert_eq!(second.arm, first.arm);
    set(&router, TrafficTable { version: 3, models: BTreeMap::new() });
    let last = send(&router, ID, false, true, 20);
    assert_eq!(last.arm, first.arm);
    assert_eq!(router.pin_counts().live, 0);
    assert_eq!(send(&router, ID, true, false, 30).reason, Reason::NoEntry);
}

#[test]
fn a_sequence_that_began_without_an_entry_stays_without() {
    let router = Router::new(LIMITS);
    assert_eq!(send(&router, ID, true, false, 0).reason, Reason::NoEntry);
    router.resolve_sequence("m", ID, 1);
    set(&router, two_arms(1, 10_000));
    let next = send(&router, ID, false, false, 10);
    assert_eq!((next.arm, next.version, next.reason), (None, ServedVersion::Number(1), Reason::PinnedSequence));
    // The same id of another model, or as a number, is another sequence.
    assert_eq!(send(&router, SequenceIdFact::Number(7), false, false, 10).reason, Reason::Sticky);
}

#[test]
fn a_start_begins_anew_and_idleness_ends() {
    let router = Router::new(LIMITS);
    set(&router, two_arms(1, 10_000));
    send(&router, ID, true, false, 0);
    set(&router, two_arms(2, 0));
    assert_eq!(send(&router, ID, false, false, 1_000).version, ServedVersion::Number(2));
    assert_eq!(send(&router, ID, false, false, 2_001).version, ServedVersion::Number(1), "idle for 1,001 us");
    set(&router, two_arms(3, 10_000));
    assert_eq!(send(&router, ID, false, false, 2_002).version, ServedVersion::Number(1));
    assert_eq!(send(&router, ID, true, false, 2_003).version, ServedVersion::Number(2));
}

#[test]
fn a_request_outside_sequences_leaves_no_pin() {
    let router = Router::new(LIMITS);
    set(&router, two_arms(1, 5_000));
    router.route("m", RequestedVersion::Any, &PlainFacts::default()).unwrap();
    send(&router, ID, true, true, 0);
    let explicit = SequenceFact { id: ID, start: true, end: false };
    let facts = PlainFacts { sequence: Some(explicit), ..PlainFacts::default() };
    router.route("m", RequestedVersion::Number(1), &facts).unwrap();
    assert_eq!(router.pin_counts(), PinCounts { live: 0, refused: 0 });
}

#[test]
fn full_places_refuse_the_newcomer_until_somebody_is_idle() {
    let router = Router::new(PinLimits { capacity: 64, idle_microseconds: 1_000 });
    set(&router, two_arms(1, 5_000));
    for id in 1..=10_000 {
        send(&router, SequenceIdFact::Number(id), true, false, 0);
    }
    let full = router.pin_counts();
    assert_eq!((full.live, full.refused), (64, 9_936));
    // Not pinned, but the hash of the id holds as long as weights do.
    for id in 1..=10_000 {
        let again = send(&router, SequenceIdFact::Number(id), false, false, 500);
        let first = send(&router, SequenceIdFact::Number(id), false, false, 501);
        assert_eq!(again.arm, first.arm);
    }
    for id in 20_000..=30_000 {
        send(&router, SequenceIdFact::Number(id), true, false, 10_000);
    }
    assert_eq!(router.pin_counts().live, 64, "idle places went to newcomers");
}

#[test]
fn a_sequence_is_shadowed_whole_and_no_longer_than_declared() {
    let router = Router::new(LIMITS);
    let shadowed = |version, share| {
        let target = ShadowTargetDeclaration::Version { model: Some("next".to_owned()), version: VersionName::Latest };
        let shadow = ShadowDeclaration { target, share_basis_points: share, compare: "c".to_owned() };
        let mut table = two_arms(version, 0);
        table.models.get_mut("m").unwrap().shadow = vec![shadow];
        table
    };
    set(&router, shadowed(1, 5_000));
    let copied: Vec<bool> =
        (1..=400).map(|id| !send(&router, SequenceIdFact::Number(id), true, false, 0).shadows.is_empty()).collect();
    let count = copied.iter().filter(|&&copied| copied).count();
    assert!((150..=250).contains(&count), "{count} of 400");
    set(&router, shadowed(2, 10_000));
    for (id, copied) in (1..=400).zip(&copied) {
        let next = send(&router, SequenceIdFact::Number(id), false, false, 1);
        assert_eq!(!next.shadows.is_empty(), *copied, "a shadow must not enter a sequence midway");
    }
    set(&router, two_arms(3, 0));
    assert!((1..=400).all(|id| send(&router, SequenceIdFact::Number(id), false, false, 2).shadows.is_empty()));
}

#[derive(Clone, Debug)]
enum Step {
    Request { id: u64, start: bool, end: bool, header: u8 },
    Table { canary: u16, third: bool, sticky: bool, entry: bool },
    Eject { arm: usize, admission: u16 },
    Wait,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1_u64..12, prop::bool::weighted(0.1), prop::bool::weighted(0.1), any::<u8>())
            .prop_map(|(id, start, end, header)| Step::Request { id, start, end, header }),
        3 => (0_u16..=10_000, any::<bool>(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(canary, third, sticky, entry)| Step::Table { canary, third, sticky, entry }),
        2 => (0_usize..3, prop::sample::select(vec![0_u16, 1_000, 10_000]))
            .prop_map(|(arm, admission)| Step::Eject { arm, admission }),
        1 => Just(Step::Wait),
    ]
}

proptest! {
    /// Whatever tables, ejections, headers and pauses come: between its first request and its end a sequence has one arm
    /// and one version.
    #[test]
    fn live_sequences_never_change_arm(steps in prop::collection::vec(any_step(), 1..200)) {
        let router = Router::new(LIMITS);
        let mut live: HashMap<u64, (Option<std::sync::Arc<Arm>>, ServedVersion, u64)> = HashMap::new();
        let mut now = 0;
        for step in steps {
            now += 100;
            match step {
                Step::Request { id, start, end, header } => {
                    let sequence = SequenceFact { id: SequenceIdFact::Number(id), start, end };
                    let headers = [("x-user", &[header][..])];
                    let facts = PlainFacts {
                        headers: &headers, sequence: Some(sequence), now_microseconds: now, ..PlainFacts::default()
                    };
                    let decision = router.route("m", RequestedVersion::Any, &facts).unwrap();
                    match live.get(&id) {
                        Some((arm, version, last)) if !start && now - last <= LIMITS.idle_microseconds => {
                            prop_assert_eq!((&decision.arm, decision.version), (arm, *version));
                            prop_assert_eq!(decision.reason, Reason::PinnedSequence);
                        }
                        _ => prop_assert_ne!(decision.reason, Reason::PinnedSequence),
                    }
                    if end { live.remove(&id); } else { live.insert(id, (decision.arm, decision.version, now)); }
                }
                Step::Table { canary, third, sticky, entry } => {
                    let mut table = two_arms(router.tables().version() + 1, canary);
                    let traffic = table.models.get_mut("m").unwrap();
                    if third {
                        traffic.arms[0].weight_basis_points = 0;
                        traffic.arms.push(arm("third", 3, 10_000 - canary));
                    }
                    if sticky {
                        traffic.sticky = Sticky::Header("x-user".to_owned());
                    }
                    if !entry {
                        table.models.clear();
                    }
                    set(&router, table);
                }
                Step::Eject { arm, admission } => {
                    if let Some(health) = router.tables().in_force().health("m") {
                        health.admit(arm, admission);
                    }
                }
                Step::Wait => now += 950,
            }
        }
        prop_assert!(router.pin_counts().live >= live.len() as u64);
    }
}

#[test]
fn a_sequence_is_observed_as_soon_as_somebody_reads() {
    let router = Router::new(LIMITS);
    let table = |version, unobserved| {
        let mut table = two_arms(version, 5_000);
        table.models.values_mut().for_each(|entry| entry.unobserved = unobserved);
        table
    };
    set(&router, table(1, true));
    assert!(!send(&router, ID, true, false, 0).observed);
    set(&router, table(2, false));
    let next = send(&router, ID, false, false, 1);
    assert_eq!((next.observed, next.reason), (true, Reason::PinnedSequence));
    // Arms that may be ejected are always observed: that is how it is known that they fail.
    let mut guarded = table(3, true);
    guarded.models.values_mut().for_each(|entry| entry.outlier_ejection = Some(OutlierPolicy::default()));
    set(&router, guarded);
    assert!(send(&router, ID, false, false, 2).observed);
}

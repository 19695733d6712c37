//! Compare-and-set, the kill switch, and a thousand swaps under load without a torn table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use hanok_routing::{
    Applied, ArmDeclaration, ModelTraffic, PlainFacts, RequestNumbers, RequestedVersion, Router, ServedVersion,
    TableError, TableHandle, TrafficTable, VersionName,
};

/// A table in which everything says its version.
fn table(version: u64) -> TrafficTable {
    let arm = |side: &str, weight_basis_points| ArmDeclaration {
        name: format!("{side}-{version}"),
        model: Some(format!("model-{version}")),
        version: VersionName::Number(version),
        weight_basis_points,
    };
    let canary = u16::try_from(version % 10_001).unwrap();
    let entry = ModelTraffic { arms: vec![arm("a", 10_000 - canary), arm("b", canary)], ..ModelTraffic::default() };
    TrafficTable { version, models: BTreeMap::from([("m".to_owned(), entry)]) }
}

#[test]
fn compare_and_set_has_one_winner_and_no_surprise() {
    let handle = TableHandle::default();
    assert_eq!(handle.version(), 0);
    assert_eq!(handle.compare_and_set(0, table(3)), Ok(Applied::Replaced));
    assert_eq!(handle.compare_and_set(0, table(3)), Ok(Applied::AlreadyInForce), "a repeated write is no error");
    assert_eq!(handle.compare_and_set(3, table(3)), Ok(Applied::AlreadyInForce));
    let other = TrafficTable { version: 3, ..table(4) };
    assert_eq!(handle.compare_and_set(3, other), Err(TableError::NotNew { offered: 3, in_force: 3 }));
    assert_eq!(handle.compare_and_set(0, table(4)), Err(TableError::Conflict { expected: 0, in_force: 3 }));
    assert_eq!(handle.compare_and_set(3, table(2)), Err(TableError::NotNew { offered: 2, in_force: 3 }));
    let invalid = TrafficTable { models: BTreeMap::from([("x".to_owned(), ModelTraffic::default())]), ..table(9) };
    assert!(matches!(handle.compare_and_set(3, invalid), Err(TableError::Invalid(_))));
    assert_eq!(*handle.in_force().table(), table(3), "a refused table changes nothing");
    assert_eq!(handle.compare_and_set(3, table(9)), Ok(Applied::Replaced));
}

#[test]
fn the_kill_switch_brings_the_good_table_back() {
    let handle = TableHandle::default();
    assert!(matches!(handle.restore_last_good(0), Err(TableError::NoGoodTable)));
    handle.compare_and_set(0, table(1)).unwrap();
    handle.compare_and_set(1, table(2)).unwrap();
    handle.mark_good(1).unwrap();
    assert_eq!(handle.mark_good(7), Err(TableError::Unknown { version: 7 }));
    handle.compare_and_set(2, table(5)).unwrap();
    let restored = handle.restore_last_good(0).unwrap();
    assert_eq!((restored.version(), &restored.table().models), (6, &table(1).models));
    assert_eq!(handle.restore_last_good(100).unwrap().version(), 6, "again changes nothing");
    assert!(matches!(handle.compare_and_set(5, table(6)), Err(TableError::NotNew { .. })), "a late writer loses");
    assert!(matches!(handle.compare_and_set(5, table(7)), Err(TableError::Conflict { .. })), "a late writer loses");
    handle.compare_and_set(6, table(7)).unwrap();
    assert_eq!(handle.restore_last_good(100).unwrap().version(), 100);
    for version in 101..=120 {
        handle.compare_and_set(version - 1, table(version)).unwrap();
    }
    assert_eq!(handle.mark_good(103), Err(TableError::Unknown { version: 103 }));
    handle.mark_good(104).unwrap();
}

#[test]
fn writers_race_and_each_version_is_won_once() {
    let handle = TableHandle::default();
    let wins = AtomicU64::new(0);
    thread::scope(|scope| {
        for writer in 1..=4_u64 {
            let (handle, wins) = (&handle, &wins);
            scope.spawn(move || {
                for _ in 0..250 {
                    // Each writer offers other content under the next version, so that one of them can win it.
                    let expected = handle.version();
                    let mut next = table(expected + 1);
                    next.models.get_mut("m").unwrap().salt = Some(writer.to_string());
                    if handle.compare_and_set(expected, next) == Ok(Applied::Replaced) {
                        wins.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(handle.version(), wins.load(Relaxed));
}

#[test]
fn a_thousand_swaps_under_load_tear_nothing() {
    let router = Router::default();
    router.tables().compare_and_set(0, table(1)).unwrap();
    let done = AtomicBool::new(false);
    let requests = AtomicU64::new(0);
    thread::scope(|scope| {
        for key in 0..3 {
            let (router, done, requests) = (&router, &done, &requests);
            scope.spawn(move || {
                let numbers = RequestNumbers::new(key);
                let mut seen = 0;
                while !done.load(Relaxed) {
                    let floor = router.tables().version();
                    let facts = PlainFacts { number: numbers.draw(), ..PlainFacts::default() };
                    let decision = router.route("m", RequestedVersion::Any, &facts).unwrap();
                    let version = decision.table_version;
                    let side = if facts.number % 10_000 < version % 10_001 { "b" } else { "a" };
                    let arm = decision.arm.as_ref().unwrap();
                    assert_eq!(*arm.name, *format!("{side}-{version}"));
                    assert_eq!(decision.model("m"), format!("model-{version}"));
                    assert_eq!(decision.version, ServedVersion::Number(version));
                    assert!(version >= floor && version >= seen, "a table came back");
                    seen = version;
                    requests.fetch_add(1, Relaxed);
                }
            });
        }
        for version in 2..=1_001 {
            // At least one request for each table.
            let before = requests.load(Relaxed);
            while requests.load(Relaxed) == before {
                thread::yield_now();
            }
            router.tables().compare_and_set(version - 1, table(version)).unwrap();
        }
        done.store(true, Relaxed);
    });
    assert_eq!(router.tables().version(), 1_001);
    assert!(requests.load(Relaxed) >= 1_000);
}

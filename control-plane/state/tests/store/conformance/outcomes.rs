//! Clauses on the join of served requests and outcomes.

use std::collections::BTreeMap;

use hanok_state::{
    CommitOutcome, CursorAdvance, ErrorCode, JoinedPair, Outcome, OutcomeCounts, OutcomeReceipt, OutcomeWindow,
    ReadFrom, Sequence, StateStore, StoreSettings, Stream, Transaction,
};
use serde_json::json;

use super::Place;
use super::values::{at, machine, numbers_below, outcome, served, transaction};

const WINDOW_MILLIS: u64 = 1_000;

fn settings() -> StoreSettings {
    let window = OutcomeWindow { window_millis: WINDOW_MILLIS, max_served: 1_000, max_waiting: 1_000 };
    StoreSettings { window, ..StoreSettings::default() }
}

fn serve(store: &StateStore, ids: &[&str], millis: i64) {
    let rows: Vec<_> = ids.iter().map(|id| served(id, at(millis))).collect();
    let receipt = store.record_served(rows, at(millis)).unwrap();
    assert_eq!((receipt.accepted, receipt.no_room, receipt.invalid.len()), (ids.len(), 0, 0));
    store.flush_served().wait().unwrap();
}

fn report(store: &StateStore, id: &str, value: f64, millis: i64) -> OutcomeReceipt {
    store.record_outcomes(vec![outcome(id, value, at(millis))], at(millis)).wait().unwrap().remove(0)
}

fn pairs(store: &StateStore) -> Vec<JoinedPair> {
    store.pairs(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap().records
}

fn counts(store: &StateStore) -> OutcomeCounts {
    store.outcome_counts().wait().unwrap()
}

pub(crate) fn joins_in_either_order_exactly_once(place: &dyn Place) {
    let store = place.open(settings());
    serve(&store, &["a", "b"], 0);
    assert_eq!(report(&store, "a", 1.0, 10), OutcomeReceipt::Joined(Sequence(1)));
    assert_eq!(report(&store, "c", 0.5, 20), OutcomeReceipt::Held);
    assert_eq!(counts(&store).waiting, 1);
    serve(&store, &["c", "d"], 30);
    let joined = pairs(&store);
    assert_eq!(joined.len(), 2);
    assert_eq!((&joined[0].served, &joined[0].outcome), (&served("a", at(0)), &outcome("a", 1.0, at(10))));
    assert_eq!((&joined[1].served, &joined[1].outcome), (&served("c", at(30)), &outcome("c", 0.5, at(20))));
    assert_eq!((joined[1].sequence, joined[1].joined_at), (Sequence(2), at(30)));
    // Another metric of the same request is another pair; the same one again is not.
    let clicked = Outcome { metric: "clicked".to_owned(), ..outcome("a", 0.0, at(40)) };
    let receipts = store.record_outcomes(vec![clicked.clone(), clicked], at(40)).wait().unwrap();
    assert_eq!(receipts, [OutcomeReceipt::Joined(Sequence(3)), OutcomeReceipt::Duplicate]);
    // The request again changes nothing.
    serve(&store, &["a", "c"], 50);
    assert_eq!(pairs(&store).len(), 3);
    let counts = counts(&store);
    assert_eq!((counts.served, counts.served_duplicates, counts.joined, counts.waiting), (4, 2, 3, 0));
    store.verify().wait().unwrap();
}

pub(crate) fn duplicates_and_conflicts_are_told_apart(place: &dyn Place) {
    let store = place.open(settings());
    serve(&store, &["a"], 0);
    report(&store, "a", 1.0, 0);
    report(&store, "b", 2.0, 0);
    for (id, recorded) in [("a", 1.0), ("b", 2.0)] {
        assert_eq!(report(&store, id, recorded, 5), OutcomeReceipt::Duplicate);
        assert_eq!(report(&store, id, 3.0, 5), OutcomeReceipt::Conflicting { recorded });
    }
    // Within one call too, where the first one stands; and bad ones do not keep the good ones out.
    let call = vec![
        outcome("c", 1.0, at(5)),
        outcome("c", 2.0, at(5)),
        outcome("", 1.0, at(5)),
        outcome("d", f64::NAN, at(5)),
        outcome("c", 1.0, at(5)),
        outcome("e", 1.0, at(5)),
    ];
    let receipts = store.record_outcomes(call, at(5)).wait().unwrap();
    assert_eq!(receipts[0], OutcomeReceipt::Held);
    assert_eq!(receipts[1], OutcomeReceipt::Conflicting { recorded: 1.0 });
    for index in [2, 3] {
        let OutcomeReceipt::Invalid(error) = &receipts[index] else { panic!("{:?}", receipts[index]) };
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }
    assert_eq!(receipts[4..], [OutcomeReceipt::Duplicate, OutcomeReceipt::Held]);
    serve(&store, &["b", "c"], 6);
    let values: Vec<f64> = pairs(&store).iter().map(|pair| pair.outcome.value).collect();
    assert_eq!(values, [1.0, 2.0, 1.0]);
}

pub(crate) fn the_window_is_bounded_in_time(place: &dyn Place) {
    let store = place.open(settings());
    serve(&store, &["a", "b"], 0);
    assert_eq!(report(&store, "a", 1.0, 1_000), OutcomeReceipt::Joined(Sequence(1)));
    assert_eq!(report(&store, "b", 1.0, 1_001), OutcomeReceipt::TooLate);
    // An outcome waits for as long, no longer.
    assert_eq!(report(&store, "c", 1.0, 2_000), OutcomeReceipt::Held);
    assert_eq!(report(&store, "d", 1.0, 2_000), OutcomeReceipt::Held);
    store.expire_outcomes(at(3_000)).wait().unwrap();
    assert_eq!((counts(&store).waiting, counts(&store).expired, counts(&store).served_evicted), (2, 0, 2));
    serve(&store, &["c"], 3_000);
    assert_eq!(counts(&store).joined, 2);
    store.expire_outcomes(at(3_001)).wait().unwrap();
    serve(&store, &["d"], 3_002);
    let counts = counts(&store);
    assert_eq!((counts.joined, counts.expired, counts.waiting, counts.too_late), (2, 1, 0, 1));
    // A request that is itself too old when it comes is not joined to what waits.
    assert_eq!(report(&store, "e", 1.0, 4_000), OutcomeReceipt::Held);
    store.record_served(vec![served("e", at(2_000))], at(4_000)).unwrap();
    store.flush_served().wait().unwrap();
    assert_eq!(store.outcome_counts().wait().unwrap().joined, 2);
    store.verify().wait().unwrap();
}

pub(crate) fn the_window_is_bounded_in_number(place: &dyn Place) {
    let window = OutcomeWindow { window_millis: WINDOW_MILLIS, max_served: 3, max_waiting: 2 };
    let store = place.open(StoreSettings { window, served_buffer_rows: 4, ..StoreSettings::default() });
    serve(&store, &["a", "b", "c"], 0);
    assert_eq!(report(&store, "a", 1.0, 0), OutcomeReceipt::Joined(Sequence(1)));
    serve(&store, &["d", "e"], 1);
    assert_eq!(counts(&store).served_evicted, 2);
    // Gone from the window, `a` and `b` are unknown; there is room for two.
    assert_eq!(report(&store, "b", 1.0, 2), OutcomeReceipt::Held);
    assert_eq!(report(&store, "x", 1.0, 2), OutcomeReceipt::Held);
    assert_eq!(report(&store, "y", 1.0, 2), OutcomeReceipt::NoRoom { limit: 2 });
    assert_eq!(report(&store, "x", 1.0, 2), OutcomeReceipt::Duplicate);
    assert_eq!(report(&store, "e", 1.0, 2), OutcomeReceipt::Joined(Sequence(2)));
    store.expire_outcomes(at(2_000)).wait().unwrap();
    assert_eq!(report(&store, "y", 1.0, 2_000), OutcomeReceipt::Held);
    // The buffer is bounded as well, and says what it did not take.
    let rows = (0..6).map(|number| served(&format!("r{number}"), at(2_000))).collect();
    let receipt = store.record_served(rows, at(2_000)).unwrap();
    assert_eq!((receipt.accepted, receipt.no_room), (4, 2));
    assert_eq!(counts(&store).served_refused, 2);
    store.verify().wait().unwrap();
}

/// A random mixture of requests, outcomes, repetitions and time, against plain maps.
pub(crate) fn follows_a_model_of_itself(place: &dyn Place) {
    let store = place.open(settings());
    let mut random = numbers_below(0x0A7C_0DE5);
    let mut requests = BTreeMap::<String, i64>::new();
    let mut recorded = BTreeMap::<String, (f64, i64, bool)>::new();
    let mut expected = Vec::new();
    let window = i64::try_from(WINDOW_MILLIS).unwrap();
    let mut now = 0_i64;
    for _ in 0..150 {
        now += i64::try_from(random(40)).unwrap();
        let ids: Vec<String> = (0..=random(4)).map(|_| format!("r{}", random(400))).collect();
        if random(2) == 0 {
            serve(&store, &ids.iter().map(String::as_str).collect::<Vec<_>>(), now);
            for id in ids {
                if requests.contains_key(&id) {
                    continue;
                }
                requests.insert(id.clone(), now);
                if let Some((value, held_at, joined)) = recorded.get_mut(&id).filter(|(_, _, joined)| !joined)
                    && now <= *held_at + window
                {
                    *joined = true;
                    expected.push((id, *value));
                }
            }
            // Whatever has left the window may be forgotten; forget it here as well, once nothing can tell.
            store.expire_outcomes(at(now)).wait().unwrap();
            recorded.retain(|id, (_, held_at, joined)| {
                if *joined {
                    requests.get(id).is_some_and(|served| now <= *served + window)
                } else {
                    now <= *held_at + window
                }
            });
            requests.retain(|_, served| now <= *served + window);
        } else {
            for id in ids {
                let value = f64::from(u32::try_from(random(2)).unwrap());
                let receipt = report(&store, &id, value, now);
                let wanted = match (recorded.get(&id), requests.get(&id)) {
                    (Some((known, ..)), _) if *known == value => OutcomeReceipt::Duplicate,
                    (Some((known, ..)), _) => OutcomeReceipt::Conflicting { recorded: *known },
                    (None, Some(served)) if now > *served + window => OutcomeReceipt::TooLate,
                    (None, served) => {
                        recorded.insert(id.clone(), (value, now, served.is_some()));
                        if served.is_some() {
                            expected.push((id.clone(), value));
                            OutcomeReceipt::Joined(Sequence(expected.len() as u64))
                        } else {
                            OutcomeReceipt::Held
                        }
                    }
                };
                assert_eq!(receipt, wanted, "{id} at {now}");
            }
        }
    }
    let mut joined: Vec<_> =
        pairs(&store).into_iter().map(|pair| (pair.outcome.request_id, pair.outcome.value)).collect();
    assert!(joined.len() > 30, "the mixture joined only {}", joined.len());
    joined.sort_by(|left, right| left.partial_cmp(right).unwrap());
    expected.sort_by(|left, right| left.partial_cmp(right).unwrap());
    assert_eq!(joined, expected);
    store.verify().wait().unwrap();
}

/// Folds pairs into a machine and moves the cursor in one transaction, with another consumer of the same name at it too.
pub(crate) fn a_consumer_uses_each_pair_exactly_once(place: &dyn Place) {
    let store = place.open(settings());
    let ids: Vec<String> = (0..60).map(|number| format!("r{number}")).collect();
    serve(&store, &ids.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    store.record_outcomes(ids.iter().map(|id| outcome(id, 1.0, at(1))).collect(), at(1)).wait().unwrap();
    store.register_cursor(Stream::Pairs, "rollout", Sequence::NONE, at(1)).wait().unwrap();
    let consume = |store: &StateStore| loop {
        let seen = store.machine("rollout", "sum").wait().unwrap();
        let from = store.cursors(Stream::Pairs).wait().unwrap()[0].position;
        let page = store.pairs(ReadFrom::After(from), 7).wait().unwrap();
        if page.records.is_empty() {
            return;
        }
        let (version, sum) = seen.map_or((0, 0.0), |machine| (machine.version.0, machine.state.as_f64().unwrap()));
        let sum = sum + page.records.iter().map(|pair| pair.outcome.value).sum::<f64>();
        let step = CursorAdvance { stream: Stream::Pairs, name: "rollout".to_owned(), expected: from, to: page.next };
        let machines = vec![machine("sum", version, Some(json!(sum)))];
        match store.commit(Transaction { machines, cursors: vec![step], ..transaction() }).wait() {
            Ok(CommitOutcome::Committed(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!(error.code(), ErrorCode::Conflict),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| consume(&store));
        }
    });
    assert_eq!(store.machine("rollout", "sum").wait().unwrap().unwrap().state, json!(60.0));
}

pub(crate) fn served_requests_survive_closing(place: &dyn Place) {
    let store = place.open(settings());
    store.record_served(vec![served("a", at(0))], at(0)).unwrap();
    store.close().wait().unwrap();
    drop(store);
    let store = place.open(settings());
    store.record_served(vec![served("b", at(0))], at(0)).unwrap();
    drop(store);
    let store = place.open(settings());
    assert_eq!(report(&store, "a", 1.0, 1), OutcomeReceipt::Joined(Sequence(1)));
    assert_eq!(report(&store, "b", 1.0, 1), OutcomeReceipt::Joined(Sequence(2)));
}

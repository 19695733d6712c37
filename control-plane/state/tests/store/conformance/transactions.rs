//! Clauses on transactions: all or nothing, once, by compare-and-set.

use hanok_state::{
    CommitOutcome, CursorAdvance, ErrorCode, Expectation, MachineVersion, ReadFrom, Revision, Sequence, StateStore,
    StoreSettings, Stream, Transaction,
};
use serde_json::json;

use super::Place;
use super::values::{at, committed, event, machine, put, refusal, transaction, write};

fn decision(step: u64) -> Transaction {
    Transaction {
        expectations: vec![Expectation::Collection("declared".to_owned(), Revision(0))],
        resources: vec![write("traffic", step, vec![put("flight_delay", json!({ "step": step }))])],
        machines: vec![machine("flight_delay", step, Some(json!({ "step": step })))],
        events: vec![event(&format!("step-{step}")), event(&format!("traffic-{step}"))],
        ..transaction()
    }
}

/// Everything that a refused transaction must not have touched.
fn snapshot(store: &StateStore) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        store.resources("traffic", None).wait().unwrap(),
        store.machines("rollout", "", 100).wait().unwrap(),
        store.journal(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap(),
        store.cursors(Stream::Journal).wait().unwrap(),
    )
}

pub(crate) fn all_parts_happen_together(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let first = committed(store.commit(decision(0)));
    assert_eq!(first.revisions[0].revision, Revision(1));
    assert_eq!(first.machine_versions, [MachineVersion(1)]);
    assert_eq!(first.sequences, [Sequence(1), Sequence(2)]);
    store.register_cursor(Stream::Journal, "alerts", Sequence::NONE, at(0)).wait().unwrap();
    let step =
        CursorAdvance { stream: Stream::Journal, name: "alerts".to_owned(), expected: Sequence(0), to: Sequence(2) };
    let second = committed(store.commit(Transaction { cursors: vec![step], ..decision(1) }));
    assert_eq!(second.sequences, [Sequence(3), Sequence(4)]);
    assert_eq!(store.cursors(Stream::Journal).wait().unwrap()[0].position, Sequence(2));
    let machine = store.machine("rollout", "flight_delay").wait().unwrap().unwrap();
    assert_eq!((machine.version, machine.state, machine.updated_at), (MachineVersion(2), json!({ "step": 1 }), at(0)));
    store.verify().wait().unwrap();
}

pub(crate) fn any_refusal_undoes_all_parts(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    committed(store.commit(decision(0)));
    store.register_cursor(Stream::Journal, "alerts", Sequence::NONE, at(0)).wait().unwrap();
    let before = snapshot(&store);
    let step = |expected, to| CursorAdvance {
        stream: Stream::Journal,
        name: "alerts".to_owned(),
        expected: Sequence(expected),
        to: Sequence(to),
    };
    let mut other_content = event("step-0");
    other_content.data = Some(json!("something else"));
    let other_machine = Expectation::Machine("rollout".to_owned(), "another".to_owned(), MachineVersion(1));
    let refused = [
        (
            ErrorCode::Conflict,
            Transaction { machines: vec![machine("flight_delay", 0, Some(json!(1)))], ..decision(1) },
        ),
        (
            ErrorCode::Conflict,
            Transaction { resources: vec![write("traffic", 0, vec![put("x", json!(1))])], ..decision(1) },
        ),
        (ErrorCode::Conflict, Transaction { expectations: vec![other_machine], ..decision(1) }),
        (ErrorCode::Conflict, Transaction { cursors: vec![step(1, 2)], ..decision(1) }),
        (ErrorCode::InvalidArgument, Transaction { cursors: vec![step(0, 3)], ..decision(1) }),
        (ErrorCode::NotFound, Transaction { machines: vec![machine("nobody", 0, None)], ..decision(1) }),
        (ErrorCode::AlreadyExists, Transaction { events: vec![other_content], ..decision(1) }),
        (ErrorCode::AlreadyExists, Transaction { events: vec![event("step-0"), event("new")], ..decision(1) }),
    ];
    for (code, transaction) in refused {
        let described = format!("{transaction:?}");
        assert_eq!(refusal(store.commit(transaction)), code, "{described}");
        assert_eq!(snapshot(&store), before, "{described}");
    }
    store.verify().wait().unwrap();
}

pub(crate) fn the_same_transaction_again_is_recognised(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    committed(store.commit(decision(0)));
    committed(store.commit(decision(1)));
    let before = snapshot(&store);
    let again = store.commit(decision(0)).wait().unwrap();
    assert_eq!(again, CommitOutcome::AlreadyCommitted { sequences: vec![Sequence(1), Sequence(2)] });
    // Decided again by another clock, with the members of the document in another order.
    let mut later = decision(1);
    later.now = at(5_000);
    later.events[0].time = at(5_000);
    let again = store.commit(later).wait().unwrap();
    assert_eq!(again, CommitOutcome::AlreadyCommitted { sequences: vec![Sequence(3), Sequence(4)] });
    assert_eq!(snapshot(&store), before);
}

pub(crate) fn machines_are_written_by_compare_and_set(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let write =
        |expected, state| store.commit(Transaction { machines: vec![machine("m", expected, state)], ..transaction() });
    assert_eq!(refusal(write(1, Some(json!(1)))), ErrorCode::Conflict);
    assert_eq!(committed(write(0, Some(json!(1)))).machine_versions, [MachineVersion(1)]);
    assert_eq!(refusal(write(0, Some(json!(2)))), ErrorCode::Conflict);
    assert_eq!(committed(write(1, None)).machine_versions, [MachineVersion(2)]);
    assert_eq!(store.machine("rollout", "m").wait().unwrap(), None);
    assert!(store.machines("rollout", "", 10).wait().unwrap().is_empty());
    // Made again, it is not mistaken for what it was.
    assert_eq!(committed(write(0, Some(json!(3)))).machine_versions, [MachineVersion(3)]);
    assert_eq!(refusal(write(1, Some(json!(4)))), ErrorCode::Conflict);
    for name in ["b", "a", "B", "모델"] {
        committed(store.commit(Transaction { machines: vec![machine(name, 0, Some(json!(null)))], ..transaction() }));
    }
    let page = |after: &str, limit| {
        let machines = store.machines("rollout", after, limit).wait().unwrap();
        machines.into_iter().map(|machine| machine.name).collect::<Vec<_>>()
    };
    assert_eq!(page("", 10), ["B", "a", "b", "m", "모델"]);
    assert_eq!(page("a", 2), ["b", "m"]);
}

/// Several threads on several handles add to one machine; each addition is there, and none twice.
pub(crate) fn many_callers_lose_no_update(place: &dyn Place) {
    const ADDITIONS: u64 = 25;
    let store = place.open(StoreSettings::default());
    committed(store.commit(Transaction { machines: vec![machine("sum", 0, Some(json!(0)))], ..transaction() }));
    let adders: Vec<_> = (0..4)
        .map(|adder| {
            let store = store.clone();
            std::thread::spawn(move || {
                for addition in 0..ADDITIONS {
                    loop {
                        let present = store.machine("rollout", "sum").wait().unwrap().unwrap();
                        let sum = present.state.as_u64().unwrap() + 1;
                        let next = Transaction {
                            machines: vec![machine("sum", present.version.0, Some(json!(sum)))],
                            events: vec![event(&format!("{adder}-{addition}"))],
                            ..transaction()
                        };
                        match store.commit(next).wait() {
                            Ok(CommitOutcome::Committed(_)) => break,
                            Ok(other) => panic!("{other:?}"),
                            Err(error) => assert_eq!(error.code(), ErrorCode::Conflict),
                        }
                    }
                }
            })
        })
        .collect();
    for adder in adders {
        adder.join().unwrap();
    }
    let sum = store.machine("rollout", "sum").wait().unwrap().unwrap();
    assert_eq!((sum.state, sum.version), (json!(4 * ADDITIONS), MachineVersion(4 * ADDITIONS + 1)));
    let page = store.journal(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap();
    assert_eq!((page.records.len() as u64, page.last), (4 * ADDITIONS, Sequence(4 * ADDITIONS)));
}

pub(crate) fn survives_reopening(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    committed(store.commit(decision(0)));
    let before = snapshot(&store);
    store.close().wait().unwrap();
    drop(store);
    let store = place.open(StoreSettings::default());
    assert_eq!(snapshot(&store), before);
    committed(store.commit(decision(1)));
}

//! Clauses on what is refused before it reaches the database.

use hanok_state::{
    BATCH_ROWS, CLOCK_SKEW_MILLIS, CloudEvent, CursorAdvance, DOCUMENT_BYTES, Edit, ErrorCode, PAGE_RECORDS, ReadFrom,
    ResourceWrite, Revision, Sequence, ServedRequest, StateError, StoreSettings, Stream, TRANSACTION_ITEMS,
    Transaction,
};
use serde_json::{Value, json};

use super::Place;
use super::values::{at, delete, event, machine, outcome, put, refusal, served, transaction, write};

pub(crate) fn bad_values_are_refused_by_code(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let megabyte = "x".repeat(1 << 20);
    let far = at(0).plus_millis(CLOCK_SKEW_MILLIS + 1);
    let deep = (0..1_000).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let large = Value::String("x".repeat(DOCUMENT_BYTES));
    let half = Value::String("x".repeat(DOCUMENT_BYTES / 2 + 1));
    let step =
        CursorAdvance { stream: Stream::Journal, name: String::new(), expected: Sequence::NONE, to: Sequence::NONE };
    let resources = |writes: Vec<ResourceWrite>| Transaction { resources: writes, ..transaction() };
    let transactions = [
        transaction(),
        resources(vec![write("", 0, vec![put("a", json!(1))])]),
        resources(vec![write("declared", 0, vec![put("", json!(1))])]),
        resources(vec![write("declared", 0, vec![put("a\0b", json!(1))])]),
        resources(vec![write("declared", 0, vec![put(&megabyte, json!(1))])]),
        resources(vec![write("declared", 0, vec![put("a", deep)])]),
        resources(vec![write("declared", 0, vec![put("a", large)])]),
        resources(vec![write("declared", 0, vec![put("a", json!(1)), delete("a")])]),
        resources(vec![write("declared", 0, vec![]), write("declared", 0, vec![])]),
        resources(vec![ResourceWrite { author: " ".to_owned(), ..write("declared", 0, vec![]) }]),
        resources(vec![write("declared", 0, (0..16).map(|name| put(&name.to_string(), half.clone())).collect())]),
        resources(vec![write(
            "declared",
            0,
            (0..=TRANSACTION_ITEMS).map(|name| put(&name.to_string(), json!(1))).collect(),
        )]),
        Transaction { machines: vec![machine("", 0, None)], ..transaction() },
        Transaction { machines: vec![machine("m", 0, None), machine("m", 1, None)], ..transaction() },
        Transaction { events: vec![event("a"), event("a")], ..transaction() },
        Transaction { events: vec![CloudEvent { time: far, ..event("a") }], ..transaction() },
        Transaction { events: vec![event(&megabyte)], ..transaction() },
        Transaction { cursors: vec![step.clone()], ..transaction() },
    ];
    for (index, transaction) in transactions.into_iter().enumerate() {
        assert_eq!(refusal(store.commit(transaction)), ErrorCode::InvalidArgument, "transaction {index}");
    }
    let invalid = ErrorCode::InvalidArgument;
    assert_eq!(refusal(store.append(Vec::new(), None, at(0))), invalid);
    assert_eq!(refusal(store.advance_cursor(step, at(0))), invalid);
    assert_eq!(refusal(store.register_cursor(Stream::Pairs, "\n", Sequence::NONE, at(0))), invalid);
    assert_eq!(refusal(store.journal(ReadFrom::After(Sequence::NONE), 0)), invalid);
    assert_eq!(refusal(store.pairs(ReadFrom::After(Sequence::NONE), PAGE_RECORDS + 1)), invalid);
    assert_eq!(refusal(store.machines("rollout", &megabyte, 1)), invalid);
    assert_eq!(refusal(store.revisions("declared", Revision(1), 0)), invalid);
    assert_eq!(refusal(store.acquire_lease("", "a", 1, at(0))), invalid);
    assert_eq!(refusal(store.acquire_lease("a", "a", 0, at(0))), invalid);
    let restore = ResourceWrite { edit: Edit::Restore(Revision(u64::MAX)), ..write("declared", 0, vec![]) };
    assert_eq!(refusal(store.commit(resources(vec![restore]))), ErrorCode::NotFound);

    let row = served("a", at(0));
    let rows = vec![
        ServedRequest { request_id: megabyte.clone(), ..row.clone() },
        ServedRequest { request_id: String::new(), ..row.clone() },
        ServedRequest { arm: String::new(), ..row.clone() },
        ServedRequest { segment: Some(String::new()), ..row.clone() },
        ServedRequest { probability: f64::NAN, ..row.clone() },
        ServedRequest { probability: 0.0, ..row.clone() },
        ServedRequest { probability: 1.1, ..row.clone() },
        ServedRequest { served_at: far, ..row.clone() },
        ServedRequest { version: u64::MAX, ..row.clone() },
        row.clone(),
    ];
    let receipt = store.record_served(rows, at(0)).unwrap();
    assert_eq!((receipt.accepted, receipt.invalid.len()), (1, 9));
    assert!(receipt.invalid.iter().all(|(_, error)| error.code() == invalid));
    let too_many = vec![row; BATCH_ROWS + 1];
    assert_eq!(store.record_served(too_many, at(0)).unwrap_err().code(), invalid);
    assert_eq!(refusal(store.record_outcomes(Vec::new(), at(0))), invalid);
    assert_eq!(refusal(store.record_outcomes(vec![outcome("a", 1.0, at(0)); BATCH_ROWS + 1], at(0))), invalid);
    for bad in [outcome(&megabyte, 1.0, at(0)), outcome("a", f64::INFINITY, at(0)), outcome("a", 1.0, far)] {
        let receipt = store.record_outcomes(vec![bad], at(0)).wait().unwrap().remove(0);
        assert!(matches!(receipt, hanok_state::OutcomeReceipt::Invalid(StateError::Invalid { .. })), "{receipt:?}");
    }
    store.verify().wait().unwrap();
}

pub(crate) fn a_closed_store_says_so(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    store.close().wait().unwrap();
    // The thread ends right after it answered; until the queue is gone a call is answered by its end.
    assert_eq!(store.machine("rollout", "m").wait().unwrap_err(), StateError::Closed);
    assert_eq!(store.flush_served().wait().unwrap_err(), StateError::Closed);
}

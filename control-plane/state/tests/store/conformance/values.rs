//! Values that the clauses are written with.

use hanok_state::{
    Change, CloudEvent, CommitOutcome, Committed, Edit, ErrorCode, MachineVersion, MachineWrite, Outcome, Pending,
    ResourceWrite, Revision, ServedRequest, Timestamp, Transaction,
};
use serde_json::Value;

/// An instant `millis` after the start of the tests' time, 2024-01-01T00:00:00Z.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_704_067_200_000 + millis).unwrap()
}

pub(crate) fn event(id: &str) -> CloudEvent {
    CloudEvent {
        id: id.to_owned(),
        source: "/hanok/rollouts/flight_delay".to_owned(),
        event_type: "io.hanok.rollout.decided".to_owned(),
        subject: None,
        time: at(0),
        data: Some(serde_json::json!({ "decision": id })),
    }
}

pub(crate) fn put(name: &str, document: Value) -> Change {
    Change::Put { kind: "model".to_owned(), name: name.to_owned(), document }
}

pub(crate) fn delete(name: &str) -> Change {
    Change::Delete { kind: "model".to_owned(), name: name.to_owned() }
}

pub(crate) fn write(collection: &str, expected: u64, changes: Vec<Change>) -> ResourceWrite {
    ResourceWrite {
        collection: collection.to_owned(),
        expected: Revision(expected),
        author: "tests".to_owned(),
        edit: Edit::Change(changes),
    }
}

pub(crate) fn machine(name: &str, expected: u64, state: Option<Value>) -> MachineWrite {
    MachineWrite { kind: "rollout".to_owned(), name: name.to_owned(), expected: MachineVersion(expected), state }
}

pub(crate) fn transaction() -> Transaction {
    Transaction { now: at(0), ..Transaction::default() }
}

pub(crate) fn served(id: &str, served_at: Timestamp) -> ServedRequest {
    ServedRequest {
        request_id: id.to_owned(),
        model: "flight_delay".to_owned(),
        arm: "canary".to_owned(),
        version: 2,
        served_at,
        probability: 0.25,
        segment: Some("ICN".to_owned()),
    }
}

pub(crate) fn outcome(id: &str, value: f64, observed_at: Timestamp) -> Outcome {
    Outcome { request_id: id.to_owned(), metric: "delayed".to_owned(), value, observed_at }
}

/// What a transaction wrote that must have been done now.
pub(crate) fn committed(pending: Pending<CommitOutcome>) -> Committed {
    match pending.wait().unwrap() {
        CommitOutcome::Committed(committed) => committed,
        other => panic!("expected a commit, found {other:?}"),
    }
}

/// The code of a call that must have been refused.
pub(crate) fn refusal<T: std::fmt::Debug>(pending: Pending<T>) -> ErrorCode {
    pending.wait().unwrap_err().code()
}

/// Numbers below a bound from a fixed seed (splitmix64, Steele et al., OOPSLA 2014).
pub(crate) fn numbers_below(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

//! Clauses on leases: one holder, growing tokens, and nothing done under an old one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanok_state::{
    ErrorCode, FencingToken, LeaseAnswer, LeaseGrant, StateStore, StoreSettings, Timestamp, Transaction,
};
use serde_json::json;

use super::Place;
use super::values::{event, machine, refusal, transaction};

/// Longer than any test.
const LONG_MILLIS: u64 = 3_600_000;

fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_unix_millis(i64::try_from(millis).unwrap()).unwrap()
}

fn acquire(store: &StateStore, holder: &str, term_millis: u64) -> LeaseAnswer {
    store.acquire_lease("controller", holder, term_millis, now()).wait().unwrap()
}

fn granted(answer: LeaseAnswer) -> LeaseGrant {
    match answer {
        LeaseAnswer::Granted(grant) => grant,
        held @ LeaseAnswer::Held { .. } => panic!("{held:?}"),
    }
}

fn act(store: &StateStore, grant: &LeaseGrant, id: &str) -> Result<(), ErrorCode> {
    let transaction = Transaction { lease: Some(grant.clone()), events: vec![event(id)], ..transaction() };
    store.commit(transaction).wait().map(|_| ()).map_err(|error| error.code())
}

pub(crate) fn exactly_one_holder_and_growing_tokens(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let first = granted(acquire(&store, "a", LONG_MILLIS));
    assert_eq!(first.token, FencingToken(1));
    match acquire(&store, "b", LONG_MILLIS) {
        LeaseAnswer::Held { holder, expires_at } => assert_eq!((holder.as_str(), expires_at), ("a", first.expires_at)),
        granted => panic!("{granted:?}"),
    }
    let renewed = store.renew_lease(first.clone(), 2 * LONG_MILLIS, now()).wait().unwrap();
    assert!(renewed.expires_at > first.expires_at && renewed.token == first.token);
    // The holder restarts: a new grant, and its former self is fenced off.
    let second = granted(acquire(&store, "a", LONG_MILLIS));
    assert_eq!(second.token, FencingToken(2));
    assert_eq!(refusal(store.renew_lease(first.clone(), 1, now())), ErrorCode::Fenced);
    assert_eq!(refusal(store.release_lease(first)), ErrorCode::Fenced);
    store.release_lease(second.clone()).wait().unwrap();
    assert_eq!(refusal(store.release_lease(second.clone())), ErrorCode::Fenced);
    let third = granted(acquire(&store, "b", LONG_MILLIS));
    assert!(third.token > second.token);
    // Another lease is another matter.
    let other = store.acquire_lease("janitor", "a", LONG_MILLIS, now()).wait().unwrap();
    assert_eq!(granted(other).token, FencingToken(1));
}

pub(crate) fn a_fenced_holder_changes_nothing(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let first = granted(acquire(&store, "a", LONG_MILLIS));
    assert_eq!(act(&store, &first, "by-first"), Ok(()));
    let second = granted(acquire(&store, "a", LONG_MILLIS));
    assert_eq!(act(&store, &first, "by-first-again"), Err(ErrorCode::Fenced));
    let write =
        Transaction { lease: Some(first.clone()), machines: vec![machine("m", 0, Some(json!(1)))], ..transaction() };
    assert_eq!(refusal(store.commit(write)), ErrorCode::Fenced);
    assert_eq!(store.machine("rollout", "m").wait().unwrap(), None);
    assert_eq!(refusal(store.append(vec![event("x")], Some(first.clone()), now())), ErrorCode::Fenced);
    // What it did commit it may still ask about.
    assert_eq!(act(&store, &first, "by-first"), Ok(()));
    assert_eq!(act(&store, &second, "by-second"), Ok(()));
    assert_eq!(store.append(vec![event("y")], Some(second), now()).wait().unwrap().len(), 1);
    let unknown = LeaseGrant { name: "unheard-of".to_owned(), ..first };
    assert_eq!(act(&store, &unknown, "z"), Err(ErrorCode::NotFound));
}

/// Waits for the lease by asking for it, for there is no other sign that a term has ended.
pub(crate) fn a_lease_that_ran_out_is_taken_over(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let first = granted(acquire(&store, "a", 30));
    // After its end, but before anybody came, the holder may act and renew.
    let give_up = Instant::now() + Duration::from_secs(20);
    let second = loop {
        assert!(Instant::now() < give_up, "the lease never ran out");
        match acquire(&store, "b", LONG_MILLIS) {
            LeaseAnswer::Granted(grant) => break grant,
            LeaseAnswer::Held { holder, .. } => assert_eq!(holder, "a"),
        }
    };
    assert!(second.token > first.token);
    assert_eq!(act(&store, &first, "late"), Err(ErrorCode::Fenced));
    assert_eq!(act(&store, &second, "fine"), Ok(()));
}

//! Clauses on collections of resources and their revisions.

use std::collections::BTreeMap;

use hanok_state::{Edit, ErrorCode, ResourceWrite, Revision, StateStore, StoreSettings, Transaction};
use serde_json::{Value, json};

use super::Place;
use super::values::{at, committed, delete, numbers_below, put, refusal, transaction, write};

fn apply(store: &StateStore, write: ResourceWrite) -> u64 {
    committed(store.commit(Transaction { resources: vec![write], ..transaction() })).revisions[0].revision.0
}

fn set(store: &StateStore, at: Option<u64>) -> BTreeMap<String, Value> {
    let set = store.resources("declared", at.map(Revision)).wait().unwrap();
    set.resources.into_iter().map(|resource| (resource.name, resource.document)).collect()
}

pub(crate) fn revisions_are_whole_sets(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    assert!(set(&store, None).is_empty());
    assert_eq!(apply(&store, write("declared", 0, vec![put("a", json!(1)), put("b", json!(1))])), 1);
    assert_eq!(apply(&store, write("declared", 1, vec![put("a", json!(2)), delete("b"), put("c", json!(1))])), 2);
    // Nothing differs: no revision.
    let same = committed(
        store.commit(Transaction { resources: vec![write("declared", 2, vec![put("a", json!(2))])], ..transaction() }),
    );
    assert_eq!((same.revisions[0].revision, same.revisions[0].changed), (Revision(2), false));
    assert_eq!(set(&store, Some(0)), BTreeMap::new());
    assert_eq!(set(&store, Some(1)), BTreeMap::from([("a".into(), json!(1)), ("b".into(), json!(1))]));
    assert_eq!(set(&store, None), BTreeMap::from([("a".into(), json!(2)), ("c".into(), json!(1))]));
    // Another collection counts for itself.
    assert_eq!(apply(&store, write("traffic", 0, vec![put("a", json!(9))])), 1);
    assert_eq!(set(&store, None).len(), 2);
    let history = store.revisions("declared", Revision(u64::MAX), 10).wait().unwrap();
    assert_eq!(history.iter().map(|info| info.revision.0).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((history[0].author.as_str(), history[0].created_at, history[0].restores), ("tests", at(0), None));
    assert_eq!(store.revisions("declared", Revision(2), 1).wait().unwrap()[0].revision, Revision(1));
    assert_eq!(refusal(store.resources("declared", Some(Revision(3)))), ErrorCode::NotFound);
}

pub(crate) fn an_earlier_set_comes_back_as_a_new_revision(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    apply(&store, write("declared", 0, vec![put("a", json!({"weight": 0.5})), put("b", json!(1))]));
    apply(&store, write("declared", 1, vec![delete("a"), put("b", json!(2)), put("c", json!(3))]));
    let restore = |expected, target| ResourceWrite {
        edit: Edit::Restore(Revision(target)),
        ..write("declared", expected, Vec::new())
    };
    assert_eq!(apply(&store, restore(2, 1)), 3);
    assert_eq!(set(&store, None), set(&store, Some(1)));
    let history = store.revisions("declared", Revision(u64::MAX), 1).wait().unwrap();
    assert_eq!(history[0].restores, Some(Revision(1)));
    // What the present set shares with the target keeps the revision that changed it.
    assert_eq!(apply(&store, restore(3, 0)), 4);
    assert!(set(&store, None).is_empty());
    assert_eq!(apply(&store, restore(4, 2)), 5);
    assert_eq!(set(&store, None), set(&store, Some(2)));
    let missing = store.commit(Transaction { resources: vec![restore(5, 6)], ..transaction() });
    assert_eq!(refusal(missing), ErrorCode::NotFound);
}

pub(crate) fn a_wrong_revision_changes_nothing(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    apply(&store, write("declared", 0, vec![put("a", json!(1))]));
    for expected in [0, 2, u64::MAX] {
        let stale =
            Transaction { resources: vec![write("declared", expected, vec![put("a", json!(2))])], ..transaction() };
        assert_eq!(refusal(store.commit(stale)), ErrorCode::Conflict);
    }
    let missing =
        Transaction { resources: vec![write("declared", 1, vec![put("z", json!(1)), delete("b")])], ..transaction() };
    assert_eq!(refusal(store.commit(missing)), ErrorCode::NotFound);
    assert_eq!(set(&store, None), BTreeMap::from([("a".into(), json!(1))]));
    store.verify().wait().unwrap();
}

/// Random changes and restorations against plain maps, one per revision.
pub(crate) fn follows_a_model_of_itself(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    let mut random = numbers_below(0x5EED);
    let mut sets = vec![BTreeMap::<String, Value>::new()];
    for _ in 0..120 {
        let present = sets.last().unwrap().clone();
        let expected = sets.len() as u64 - 1;
        let (edit, next) = if random(8) == 0 {
            let target = random(sets.len() as u64);
            (Edit::Restore(Revision(target)), sets[usize::try_from(target).unwrap()].clone())
        } else {
            let mut next = present.clone();
            let mut changes = Vec::new();
            for name in ["a", "b", "c", "d", "e"] {
                match random(4) {
                    0 if present.contains_key(name) => {
                        next.remove(name);
                        changes.push(delete(name));
                    }
                    1 => {
                        let document = json!({ "value": random(3) });
                        next.insert(name.to_owned(), document.clone());
                        changes.push(put(name, document));
                    }
                    _ => {}
                }
            }
            (Edit::Change(changes), next)
        };
        let write = ResourceWrite { edit, ..write("declared", expected, Vec::new()) };
        let after = committed(store.commit(Transaction { resources: vec![write], ..transaction() })).revisions[0];
        assert_eq!(after.changed, next != present);
        if after.changed {
            sets.push(next);
        }
        assert_eq!(after.revision.0, sets.len() as u64 - 1);
    }
    for (revision, expected) in sets.iter().enumerate() {
        assert_eq!(set(&store, Some(revision as u64)), *expected, "revision {revision}");
    }
    store.verify().wait().unwrap();
}

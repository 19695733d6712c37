//! Clauses on the journal, its readers and its retention.

use hanok_state::{
    Appended, CursorAdvance, ErrorCode, Page, ReadFrom, Retention, Sequence, StateStore, StoreSettings, Stream,
};
use serde_json::json;

use super::Place;
use super::values::{at, event, refusal};

/// Keeps what age and size allow; a reader may be ten records behind.
const POLICY: Retention = Retention { max_age_millis: 1_000, max_bytes: u64::MAX, max_unread: 10 };

fn append(store: &StateStore, id: &str, millis: i64) -> Appended {
    store.append(vec![event(id)], None, at(millis)).wait().unwrap()[0]
}

fn fill(store: &StateStore, count: usize, millis: i64) {
    let events = (0..count).map(|number| event(&format!("{millis}-{number}"))).collect();
    store.append(events, None, at(millis)).wait().unwrap();
}

fn advance(name: &str, expected: u64, to: u64) -> CursorAdvance {
    CursorAdvance { stream: Stream::Journal, name: name.to_owned(), expected: Sequence(expected), to: Sequence(to) }
}

fn sequences<T>(page: &Page<T>, sequence: impl Fn(&T) -> Sequence) -> Vec<u64> {
    page.records.iter().map(|record| sequence(record).0).collect()
}

pub(crate) fn ids_are_recorded_once(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    assert_eq!(append(&store, "a", 0), Appended::Recorded(Sequence(1)));
    assert_eq!(append(&store, "a", 5), Appended::Duplicate(Sequence(1)));
    let mixed = store.append(vec![event("b"), event("a"), event("b")], None, at(9)).wait().unwrap();
    assert_eq!(
        mixed,
        [Appended::Recorded(Sequence(2)), Appended::Duplicate(Sequence(1)), Appended::Duplicate(Sequence(2))]
    );
    let mut elsewhere = event("a");
    elsewhere.source = "/hanok/experiments/flight_delay".to_owned();
    let other_source = store.append(vec![elsewhere], None, at(9)).wait().unwrap();
    assert_eq!(other_source, [Appended::Recorded(Sequence(3))]);
    // Other content under a known id is refused, and takes its whole call with it.
    let mut different = event("a");
    different.data = Some(json!("different"));
    assert_eq!(refusal(store.append(vec![event("c"), different], None, at(9))), ErrorCode::AlreadyExists);
    assert_eq!(append(&store, "c", 9), Appended::Recorded(Sequence(4)));
    let page = store.journal(ReadFrom::After(Sequence::NONE), 10).wait().unwrap();
    assert_eq!(page.records[0].event, event("a"));
    assert_eq!((page.records[0].recorded_at, page.records[1].recorded_at), (at(0), at(9)));
}

pub(crate) fn pages_have_no_gap(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    fill(&store, 25, 0);
    let mut read = Vec::new();
    let mut after = Sequence::NONE;
    loop {
        let page = store.journal(ReadFrom::After(after), 10).wait().unwrap();
        assert_eq!((page.last, page.missed), (Sequence(25), 0));
        if page.records.is_empty() {
            assert_eq!(page.next, after);
            break;
        }
        read.extend(sequences(&page, |record| record.sequence));
        after = page.next;
    }
    assert_eq!(read, (1..=25).collect::<Vec<_>>());
    let beyond = store.journal(ReadFrom::After(Sequence(u64::MAX)), 10).wait().unwrap();
    assert!(beyond.records.is_empty());
}

pub(crate) fn cursors_are_durable_and_compare_and_set(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    fill(&store, 5, 0);
    let register = |store: &StateStore, name: &str, after| {
        store.register_cursor(Stream::Journal, name, Sequence(after), at(1)).wait().unwrap().position.0
    };
    assert_eq!(register(&store, "alerts", 0), 0);
    assert_eq!(register(&store, "late", u64::MAX), 5);
    store.advance_cursor(advance("alerts", 0, 3), at(2)).wait().unwrap();
    for (step, code) in [
        (advance("alerts", 0, 4), ErrorCode::Conflict),
        (advance("alerts", 3, 2), ErrorCode::InvalidArgument),
        (advance("alerts", 3, 6), ErrorCode::InvalidArgument),
        (advance("nobody", 0, 1), ErrorCode::NotFound),
    ] {
        assert_eq!(refusal(store.advance_cursor(step, at(2))), code);
    }
    store.close().wait().unwrap();
    drop(store);
    let store = place.open(StoreSettings::default());
    // Registering again does not move it.
    assert_eq!(register(&store, "alerts", 0), 3);
    let page = store.journal(ReadFrom::Cursor("alerts".to_owned()), 10).wait().unwrap();
    assert_eq!(sequences(&page, |record| record.sequence), [4, 5]);
    let names = |store: &StateStore| {
        store.cursors(Stream::Journal).wait().unwrap().into_iter().map(|cursor| cursor.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&store), ["alerts", "late"]);
    store.remove_cursor(Stream::Journal, "alerts").wait().unwrap();
    assert_eq!(refusal(store.remove_cursor(Stream::Journal, "alerts")), ErrorCode::NotFound);
    assert_eq!(refusal(store.journal(ReadFrom::Cursor("alerts".to_owned()), 10)), ErrorCode::NotFound);
    assert_eq!(names(&store), ["late"]);
}

pub(crate) fn retention_waits_for_readers_within_the_bound(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    fill(&store, 20, 0);
    store.register_cursor(Stream::Journal, "slow", Sequence::NONE, at(0)).wait().unwrap();
    store.register_cursor(Stream::Journal, "fast", Sequence(20), at(0)).wait().unwrap();
    store.advance_cursor(advance("slow", 0, 12), at(0)).wait().unwrap();
    // All are too old, but `slow` has eight to read.
    let report = store.retain(Stream::Journal, POLICY, at(10_000)).wait().unwrap();
    assert_eq!((report.dropped, report.readers_behind), (12, 0));
    let page = store.journal(ReadFrom::Cursor("slow".to_owned()), 100).wait().unwrap();
    assert_eq!((page.records.len(), page.missed), (8, 0));
    // Twelve more: it is twenty behind and `fast` is twelve, where ten are allowed.
    fill(&store, 12, 1);
    let report = store.retain(Stream::Journal, POLICY, at(10_000)).wait().unwrap();
    assert_eq!((report.dropped, report.readers_behind), (10, 2));
    let page = store.journal(ReadFrom::Cursor("slow".to_owned()), 100).wait().unwrap();
    assert_eq!((page.records.len(), page.missed, page.next), (10, 10, Sequence(32)));
    let missed: Vec<u64> =
        store.cursors(Stream::Journal).wait().unwrap().into_iter().map(|cursor| cursor.missed).collect();
    assert_eq!(missed, [2, 10], "`fast`, then `slow`");
    store.advance_cursor(advance("slow", 12, 32), at(0)).wait().unwrap();
    let report = store.retain(Stream::Journal, POLICY, at(10_000)).wait().unwrap();
    assert_eq!(report.dropped, 0, "`fast` still has twelve to read, ten of them kept: {report:?}");
    store.remove_cursor(Stream::Journal, "fast").wait().unwrap();
    assert_eq!(store.retain(Stream::Journal, POLICY, at(10_000)).wait().unwrap().dropped, 10);
    // Numbering goes on where it was.
    assert_eq!(append(&store, "next", 10_000), Appended::Recorded(Sequence(33)));
    let page = store.journal(ReadFrom::After(Sequence::NONE), 100).wait().unwrap();
    assert_eq!((sequences(&page, |record| record.sequence), page.missed), (vec![33], 32));
    store.verify().wait().unwrap();
}

pub(crate) fn retention_by_age_and_size(place: &dyn Place) {
    let store = place.open(StoreSettings::default());
    for millis in [0, 1_000, 2_000] {
        fill(&store, 10, millis);
    }
    let aged = store.retain(Stream::Journal, POLICY, at(2_000)).wait().unwrap();
    assert_eq!((aged.dropped, aged.more), (10, false), "exactly a second old stays");
    // Each record is some eighty bytes: room for about five.
    let policy = Retention { max_age_millis: u64::MAX, max_bytes: 500, ..POLICY };
    let report = store.retain(Stream::Journal, policy, at(2_000)).wait().unwrap();
    let page = store.journal(ReadFrom::After(Sequence(10)), 100).wait().unwrap();
    assert_eq!(report.dropped + page.records.len() as u64, 20);
    assert!((4..=8).contains(&page.records.len()), "{}", page.records.len());
    assert_eq!(store.retain(Stream::Journal, policy, at(2_000)).wait().unwrap().dropped, 0);
    // More than one pass holds.
    for call in 0..12 {
        fill(&store, 1_000, 10_000 + call);
    }
    let first = store.retain(Stream::Journal, POLICY, at(100_000)).wait().unwrap();
    assert_eq!((first.dropped, first.more), (10_000, true));
    let second = store.retain(Stream::Journal, POLICY, at(100_000)).wait().unwrap();
    assert!(!second.more && second.dropped >= 2_000, "{second:?}");
    store.verify().wait().unwrap();
}

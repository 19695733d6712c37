//! The observation stream: every record is read once or counted as dropped once, and writers never wait.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use hanok_routing::observation::{Latency, Observation, OutcomeKind, observation_stream};
use hanok_routing::{Arm, Reason, ServedVersion};
use proptest::prelude::*;

fn observation(id: u64, finished_microseconds: u64) -> Observation {
    Observation {
        request_id: id.to_string().into(),
        arm: None,
        model: "m".into(),
        version: 1,
        probability_basis_points: 10_000,
        reason: Reason::NoEntry,
        table_version: 0,
        sticky_key_hash: id,
        segment: None,
        outcome: OutcomeKind::Success,
        latency: Latency { total_microseconds: 3, queue_microseconds: 1, compute_microseconds: 2 },
        finished_microseconds,
    }
}

#[test]
fn a_record_survives_the_network() {
    let arm = Arm {
        public_model: "public".into(),
        name: "canary".into(),
        model: "served".into(),
        version: ServedVersion::Number(4),
    };
    let record = Observation { arm: Some(Arc::new(arm)), ..observation(7, 9) };
    assert_eq!((record.public_model(), observation(7, 9).public_model()), ("public", "m"));
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Observation>(&text).unwrap(), record);
}

#[test]
fn many_writers_one_reader_nothing_lost_nothing_twice() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 50_000;
    let (sender, mut reader) = observation_stream(4, 4_096);
    let finished = AtomicU64::new(0);
    let mut read: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last_of_writer = BTreeMap::new();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (sender, finished) = (sender.clone(), &finished);
            scope.spawn(move || {
                (0..EACH).for_each(|index| sender.push(observation(writer * EACH + index, index)));
                finished.fetch_add(1, Relaxed);
            });
        }
        let mut batch = Vec::new();
        loop {
            let over = finished.load(Relaxed) == WRITERS;
            let count = reader.drain(&mut batch, 1_000);
            assert!(count <= 1_000 && count == batch.len());
            assert!(batch.is_sorted_by_key(|record| record.finished_microseconds));
            for record in batch.drain(..) {
                assert_eq!(*record.request_id, *record.sticky_key_hash.to_string(), "a torn record");
                *read.entry(record.sticky_key_hash).or_default() += 1;
                let before = last_of_writer.insert(record.sticky_key_hash / EACH, record.sticky_key_hash);
                assert!(before.is_none_or(|before| before < record.sticky_key_hash), "out of order within a writer");
            }
            if over && count == 0 {
                break;
            }
            thread::yield_now();
        }
    });
    assert!(read.values().all(|&times| times == 1));
    let counts = sender.counts();
    assert_eq!((counts.waiting, read.len() as u64 + counts.dropped), (0, WRITERS * EACH));
}

proptest! {
    /// Against a model of one bounded queue: what fits is read in order, what does not is counted.
    #[test]
    fn a_ring_is_a_bounded_queue(capacity in 1_usize..20, steps in prop::collection::vec(prop::option::of(0_usize..8), 0..80)) {
        let (sender, mut reader) = observation_stream(1, capacity);
        let (mut expected, mut dropped, mut next) = (std::collections::VecDeque::new(), 0, 0);
        for step in steps {
            match step {
                None => {
                    sender.push(observation(next, next));
                    if expected.len() < capacity { expected.push_back(next) } else { dropped += 1 }
                    next += 1;
                }
                Some(most) => {
                    let mut batch = Vec::new();
                    reader.drain(&mut batch, most);
                    let read: Vec<u64> = batch.iter().map(|record| record.sticky_key_hash).collect();
                    let due: Vec<u64> = expected.drain(..most.min(expected.len())).collect();
                    prop_assert_eq!(read, due);
                }
            }
            let counts = reader.counts();
            prop_assert_eq!((counts.waiting, counts.dropped), (expected.len() as u64, dropped));
        }
    }
}

//! Properties of the sequence table: order, pinning, bounds, ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payload {
    sequence: u64,
    number: u32,
}

impl Joins for Payload {
    fn joins(&self, _first: &Self) -> bool {
        true
    }
}

fn batcher(instances: usize, slots: usize) -> SequenceBatcher<Payload> {
    bounded(instances, slots, 0)
}

fn bounded(instances: usize, slots: usize, max_queue: usize) -> SequenceBatcher<Payload> {
    SequenceBatcher::new(SequenceSettings {
        model: "m".into(),
        instances,
        slots,
        max_idle: Duration::from_secs(1),
        max_queue,
    })
}

fn control(id: u64, start: bool, end: bool) -> SequenceControl {
    SequenceControl { id: SequenceId::Number(id), start, end }
}

fn push(batcher: &mut SequenceBatcher<Payload>, control: &SequenceControl, now: Instant, number: u32) -> Ticket {
    let SequenceId::Number(sequence) = control.id else { panic!("numbers only") };
    batcher.admit(Some(control), 1).expect("admitted");
    batcher.push(control, None, now, Payload { sequence, number })
}

fn run(batcher: &mut SequenceBatcher<Payload>, instance: usize, now: Instant) -> Vec<Payload> {
    let (mut dropped, mut taken) = (Vec::new(), Vec::new());
    if let Decision::Dispatch { requests, .. } = batcher.look(instance, now, &mut dropped) {
        batcher.take(instance, requests, &mut taken);
        batcher.note_executed(instance, now);
    }
    assert!(dropped.is_empty());
    taken.into_iter().map(|(payload, _)| payload).collect()
}

#[test]
fn refusals_have_the_words_that_clients_know() {
    let batcher = batcher(1, 1);
    let message = |control: Option<&SequenceControl>, rows| batcher.admit(control, rows).unwrap_err().to_string();
    assert_eq!(message(None, 1), "inference request to model 'm' must specify a non-zero or non-empty correlation ID");
    assert_eq!(
        message(Some(&control(7, false, true)), 1),
        "inference request for sequence 7 to model 'm' must specify the START flag on the first request of the sequence"
    );
    assert!(message(Some(&control(7, true, false)), 2).contains("must specify batch-size 1"));
}

#[test]
fn a_sequence_waits_for_a_slot_and_gets_it_when_another_ends() {
    let now = Instant::now();
    let mut batcher = batcher(1, 2);
    push(&mut batcher, &control(1, true, false), now, 0);
    push(&mut batcher, &control(2, true, true), now, 0);
    push(&mut batcher, &control(3, true, false), now, 0);
    let at = |sequence| Payload { sequence, number: 0 };
    assert_eq!(run(&mut batcher, 0, now), [at(1), at(2)]);
    assert_eq!(run(&mut batcher, 0, now), [at(3)]);
    assert!(batcher.admit(Some(&control(2, false, false)), 1).is_err());
    assert!(batcher.admit(Some(&control(1, false, false)), 1).is_ok());
}

#[test]
fn idle_sequences_end() {
    let now = Instant::now();
    let mut batcher = batcher(1, 1);
    push(&mut batcher, &control(1, true, false), now, 0);
    push(&mut batcher, &control(2, true, false), now, 0);
    assert_eq!(run(&mut batcher, 0, now).len(), 1);
    let end = now + Duration::from_secs(1);
    assert_eq!(batcher.look(0, now, &mut Vec::new()), Decision::WaitUntil(end));
    assert_eq!(run(&mut batcher, 0, end), [Payload { sequence: 2, number: 0 }]);
    assert!(batcher.admit(Some(&control(1, false, false)), 1).is_err());
}

#[test]
fn a_sequence_that_lost_its_start_is_ended() {
    let now = Instant::now();
    let mut batcher = batcher(1, 1);
    let start = push(&mut batcher, &control(1, true, false), now, 0);
    push(&mut batcher, &control(1, false, false), now, 1);
    let mut dropped = Vec::new();
    assert!(batcher.withdraw(start, &mut dropped).is_some() && dropped.is_empty());
    assert_eq!(batcher.look(0, now, &mut dropped), Decision::Idle);
    assert_eq!(dropped, [(Payload { sequence: 1, number: 1 }, DropReason::SequenceLost)]);
    assert_eq!((batcher.len(), batcher.sequences.len()), (0, 0));
}

#[test]
fn those_that_wait_do_not_lock_out_those_that_have_a_slot() {
    let now = Instant::now();
    let mut batcher = bounded(1, 1, 10);
    push(&mut batcher, &control(1, true, false), now, 0);
    assert_eq!(run(&mut batcher, 0, now).len(), 1);
    for id in 100..110 {
        push(&mut batcher, &control(id, true, true), now, 0);
    }
    // Full for a new one and for one that waits, not for the one that has the slot, up to its own bound.
    assert!(batcher.admit(Some(&control(110, true, false)), 1).is_err());
    assert!(batcher.admit(Some(&control(100, true, false)), 1).is_err());
    for number in 1..10 {
        push(&mut batcher, &control(1, false, false), now, number);
    }
    push(&mut batcher, &control(1, false, true), now, 10);
    assert!(batcher.admit(Some(&control(1, true, false)), 1).is_err());
    assert_eq!(batcher.len(), 20);
    let executed: Vec<_> = (0..20).flat_map(|_| run(&mut batcher, 0, now)).map(|payload| payload.sequence).collect();
    assert_eq!(executed, [vec![1; 10], (100..110).collect()].concat());
    assert_eq!((batcher.len(), batcher.waiting, batcher.sequences.len()), (0, 0, 0));
}

#[test]
fn waiting_sequences_whose_start_is_withdrawn_take_no_place() {
    let now = Instant::now();
    let mut batcher = bounded(1, 1, 10);
    push(&mut batcher, &control(1, true, false), now, 0);
    assert_eq!(run(&mut batcher, 0, now).len(), 1);
    let starts: Vec<_> = (100..105).map(|id| push(&mut batcher, &control(id, true, false), now, 0)).collect();
    for id in 100..105 {
        push(&mut batcher, &control(id, false, false), now, 1);
    }
    let mut dropped = Vec::new();
    for start in starts {
        assert!(batcher.withdraw(start, &mut dropped).is_some());
    }
    let lost = (100..105).map(|sequence| (Payload { sequence, number: 1 }, DropReason::SequenceLost));
    assert_eq!(dropped, lost.collect::<Vec<_>>());
    assert_eq!((batcher.len(), batcher.waiting, batcher.sequences.len(), batcher.backlog.len()), (0, 0, 1, 0));
    // What is no start leaves alone.
    push(&mut batcher, &control(200, true, false), now, 0);
    let second = push(&mut batcher, &control(200, false, true), now, 1);
    assert!(batcher.withdraw(second, &mut dropped).is_some() && dropped.len() == 5);
    assert_eq!((batcher.len(), batcher.waiting), (1, 1));
}

#[test]
fn a_lost_instance_ends_its_sequences() {
    let now = Instant::now();
    let mut batcher = batcher(2, 1);
    push(&mut batcher, &control(1, true, false), now, 0);
    push(&mut batcher, &control(2, true, false), now, 0);
    assert_eq!(batcher.lose_instance(0).len(), 1);
    assert_eq!(batcher.len(), 1);
    assert_eq!(run(&mut batcher, 1, now).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_queue_is_bounded_and_whoever_has_a_slot_can_always_end(
        steps in prop::collection::vec((0u64..12, 0u8..6), 1..200),
        instances in 1usize..3,
        slots in 1usize..3,
        max_queue in 1usize..6,
    ) {
        let now = Instant::now();
        let mut batcher = bounded(instances, slots, max_queue);
        let (mut tickets, mut dropped) = (Vec::new(), Vec::new());
        for (id, kind) in steps {
            let instance = usize::try_from(id).unwrap() % instances;
            match kind {
                0..4 => {
                    let control = control(id, kind < 2, kind % 2 == 1);
                    if batcher.admit(Some(&control), 1).is_ok() {
                        tickets.push(batcher.push(&control, None, now, Payload { sequence: id, number: 0 }));
                    }
                }
                4 => if let Some(ticket) = tickets.pop() {
                    batcher.withdraw(ticket, &mut dropped);
                },
                _ => {
                    let mut taken = Vec::new();
                    if let Decision::Dispatch { requests, .. } = batcher.look(instance, now, &mut dropped) {
                        batcher.take(instance, requests, &mut taken);
                        batcher.note_executed(instance, now);
                    }
                }
            }
            let queued = |placed: bool| batcher.sequences.values().filter(move |one| one.place.is_some() == placed);
            let waiting: usize = queued(false).map(|one| one.requests.len()).sum();
            let placed: usize = queued(true).map(|one| one.requests.len()).sum();
            prop_assert_eq!((batcher.waiting, batcher.len()), (waiting, waiting + placed));
            prop_assert!(waiting <= max_queue && waiting + placed <= 2 * max_queue);
            prop_assert_eq!(batcher.backlog.len(), queued(false).count());
            prop_assert!(queued(false).all(|one| !one.broken && !one.requests.is_empty()));
            for one in batcher.places.iter().flatten().flatten() {
                let end = SequenceControl { id: one.clone(), start: true, end: true };
                prop_assert!(placed >= max_queue || batcher.admit(Some(&end), 1).is_ok());
            }
        }
    }

    #[test]
    fn order_within_a_sequence_is_kept_and_it_stays_where_it_is(
        steps in prop::collection::vec((0u64..6, 0u8..8, prop::bool::ANY), 1..150),
        instances in 1usize..3,
        slots in 1usize..4,
    ) {
        let now = Instant::now();
        let mut batcher = batcher(instances, slots);
        let mut sent: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut executed: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut open: BTreeMap<u64, bool> = BTreeMap::new();
        let mut homes: BTreeMap<(u64, usize), usize> = BTreeMap::new();
        let mut generation: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut number = 0;
        let mut note = |executed: &mut BTreeMap<u64, Vec<u32>>, generation: &BTreeMap<u64, Vec<usize>>, instance, batch: Vec<Payload>| {
            prop_assert!(batch.len() <= slots);
            for payload in batch {
                let done = executed.entry(payload.sequence).or_default();
                let which = generation[&payload.sequence][done.len()];
                done.push(payload.number);
                let home = *homes.entry((payload.sequence, which)).or_insert(instance);
                prop_assert_eq!(home, instance);
            }
            Ok(())
        };
        for (id, kind, execute) in steps {
            let is_open = open.get(&id).copied().unwrap_or(false);
            let control = control(id, !is_open, kind == 0);
            number += 1;
            push(&mut batcher, &control, now, number);
            sent.entry(id).or_default().push(number);
            let generations = generation.entry(id).or_default();
            let current = generations.last().copied().unwrap_or(0) + usize::from(!is_open);
            generations.push(current);
            open.insert(id, kind != 0);
            if execute {
                for instance in 0..instances {
                    let batch = run(&mut batcher, instance, now);
                    note(&mut executed, &generation, instance, batch)?;
                }
            }
        }
        // End whatever is open, so that all who wait get a slot.
        for (id, is_open) in &open {
            if *is_open {
                number += 1;
                push(&mut batcher, &control(*id, false, true), now, number);
                sent.entry(*id).or_default().push(number);
                let generations = generation.entry(*id).or_default();
                generations.push(generations.last().copied().unwrap_or(0));
            }
        }
        let mut idle = 0;
        while idle < instances {
            idle = 0;
            for instance in 0..instances {
                let batch = run(&mut batcher, instance, now);
                idle += usize::from(batch.is_empty());
                note(&mut executed, &generation, instance, batch)?;
            }
        }
        prop_assert_eq!(executed, sent);
        prop_assert_eq!((batcher.len(), batcher.sequences.len(), batcher.backlog.len()), (0, 0, 0));
    }
}

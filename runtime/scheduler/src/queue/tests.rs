//! Properties of the queue: nothing lost, nothing twice, order, bounds, time-outs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use hanok_model_config::{QueuePolicy, TimeoutAction};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payload {
    id: u32,
    shape: u8,
}

impl Joins for Payload {
    fn joins(&self, first: &Self) -> bool {
        self.shape == first.shape
    }
}

fn queue(levels: &[QueuePolicy]) -> RequestQueue<Payload> {
    RequestQueue::new(QueuePolicies::with_levels(levels.to_vec(), 1), 0)
}

fn arrival(rows: u32) -> Arrival {
    Arrival { rows, priority: 0, timeout_microseconds: 0, deadline: None }
}

fn look(now: Instant) -> Look {
    Look { now, max_rows: 8, max_requests: usize::MAX, service: None }
}

fn payload(id: u32) -> Payload {
    Payload { id, shape: 0 }
}

fn ids(taken: &[Taken<Payload>]) -> Vec<u32> {
    taken.iter().map(|(payload, _)| payload.id).collect()
}

#[test]
fn sizes_count_per_level_and_in_all() {
    let mut small = QueuePolicy::default();
    small.max_queue_size = 1;
    let mut queue = RequestQueue::new(QueuePolicies::with_levels(vec![small, QueuePolicy::default()], 2), 3);
    let now = Instant::now();
    let at = |priority| Arrival { priority, ..arrival(1) };
    queue.push(&at(1), now, payload(0));
    assert_eq!(queue.admit(1).unwrap_err().message(), "Exceeds maximum queue size");
    assert!(queue.admit(2).is_ok());
    queue.push(&at(2), now, payload(1));
    let ticket = queue.push(&at(0), now, payload(2));
    assert!(queue.admit(2).is_err());
    assert_eq!(queue.withdraw(ticket), Some(payload(2)));
    assert_eq!(queue.withdraw(ticket), None);
    assert!(queue.admit(2).is_ok());
    assert_eq!((queue.len(), queue.rows()), (2, 2));
}

#[test]
fn timeouts_reject_or_delay() {
    let mut reject = QueuePolicy::default();
    reject.default_timeout = Duration::from_micros(10);
    let mut delay = reject.clone();
    delay.timeout_action = TimeoutAction::Delay;
    let now = Instant::now();
    let later = now + Duration::from_micros(10);

    let mut rejecting = queue(&[reject]);
    rejecting.push(&arrival(1), now, payload(0));
    rejecting.push(&arrival(1), later, payload(1));
    let mut dropped = Vec::new();
    assert_eq!(rejecting.view(&look(later), &mut dropped).rows.len(), 1);
    assert_eq!(dropped, [(payload(0), DropReason::Timeout)]);
    assert_eq!(rejecting.len(), 1);

    let mut delaying = queue(&[delay]);
    let ticket = delaying.push(&arrival(1), now, payload(0));
    delaying.push(&arrival(1), now, payload(1));
    delaying.push(&arrival(1), later, payload(2));
    dropped.clear();
    assert_eq!(delaying.view(&look(later), &mut dropped).rows.len(), 3);
    assert!(dropped.is_empty());
    assert_eq!(delaying.withdraw(ticket), Some(payload(0)));
    let mut taken = Vec::new();
    delaying.take(2, &mut taken);
    assert_eq!(ids(&taken), [2, 1]);
    assert!(delaying.is_empty());
}

#[test]
fn what_cannot_meet_its_deadline_is_dropped() {
    let mut queue = queue(&[QueuePolicy::default()]);
    let now = Instant::now();
    let deadline = |ms| Arrival { deadline: Some(now + Duration::from_millis(ms)), ..arrival(1) };
    queue.push(&deadline(0), now, payload(0));
    queue.push(&deadline(5), now, payload(1));
    queue.push(&deadline(15), now, payload(2));
    let mut dropped = Vec::new();
    let view = queue.view(&Look { service: Some(Duration::from_millis(10)), ..look(now) }, &mut dropped);
    assert_eq!(dropped, [(payload(0), DropReason::Deadline), (payload(1), DropReason::Deadline)]);
    assert_eq!(view.rows.len(), 1);
    let reserve = Duration::from_millis(10) + Duration::from_micros(2700);
    assert_eq!(view.latest_start, Some(now + Duration::from_millis(15) - reserve));
}

#[test]
fn a_batch_ends_at_the_first_that_cannot_join() {
    let mut queue = queue(&[QueuePolicy::default()]);
    let now = Instant::now();
    for (id, shape) in [(0, 0), (1, 0), (2, 1), (3, 0)] {
        queue.push(&arrival(1), now, Payload { id, shape });
    }
    let view = queue.view(&look(now), &mut Vec::new());
    assert_eq!((view.rows.len(), view.closed), (2, Some(Closed::Incompatible)));
}

#[test]
fn withdrawals_leave_no_memory_behind() {
    let mut queue = queue(&[QueuePolicy::default()]);
    let now = Instant::now();
    queue.push(&arrival(1), now, payload(0));
    for id in 1..10_000 {
        let ticket = queue.push(&arrival(1), now, payload(id));
        assert!(queue.withdraw(ticket).is_some());
        assert!(queue.gaps() <= 20);
    }
    assert_eq!(queue.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Push { rows: u32, priority: u32, shape: u8, timeout: u64, deadline: Option<u64> },
    Withdraw(usize),
    Dispatch,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..6, 0u32..5, 0u8..2, 0u64..40, prop::option::of(0u64..60)).prop_map(
            |(rows, priority, shape, timeout, deadline)| Step::Push { rows, priority, shape, timeout, deadline }
        ),
        1 => (0usize..64).prop_map(Step::Withdraw),
        2 => Just(Step::Dispatch),
        2 => (0u64..30).prop_map(Step::Advance),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    ticket: Ticket,
    level: usize,
    rows: u32,
    shape: u8,
    timeout: Option<Instant>,
    deadline: Option<Instant>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_lost_doubled_reordered_or_executed_late(
        steps in prop::collection::vec(step(), 1..120),
        delaying: [bool; 3],
        service_us in prop::option::of(1u64..20),
    ) {
        let policies: Vec<QueuePolicy> = delaying.iter().map(|&delaying| {
            let mut policy = QueuePolicy::default();
            policy.allow_timeout_override = true;
            policy.timeout_action = if delaying { TimeoutAction::Delay } else { TimeoutAction::Reject };
            policy
        }).collect();
        let mut queue = queue(&policies);
        let mut now = Instant::now();
        let mut waiting: BTreeMap<u32, Sent> = BTreeMap::new();
        let mut next_id = 0;
        let micros = Duration::from_micros;
        for step in steps {
            match step {
                Step::Push { rows, priority, shape, timeout, deadline } => {
                    let level = if priority == 0 || priority > 3 { 0 } else { priority as usize - 1 };
                    let deadline = deadline.map(|us| now + micros(us));
                    let arrival = Arrival { rows, priority, timeout_microseconds: timeout, deadline };
                    let ticket = queue.push(&arrival, now, Payload { id: next_id, shape });
                    let timeout = (timeout > 0).then(|| now + micros(timeout));
                    waiting.insert(next_id, Sent { ticket, level, rows, shape, timeout, deadline });
                    next_id += 1;
                }
                Step::Withdraw(nth) => {
                    let chosen = waiting.keys().nth(nth).copied();
                    if let Some(id) = chosen {
                        let sent = waiting.remove(&id).unwrap();
                        prop_assert_eq!(queue.withdraw(sent.ticket).map(|payload| payload.id), Some(id));
                        prop_assert_eq!(queue.withdraw(sent.ticket), None);
                    }
                }
                Step::Advance(us) => now += micros(us),
                Step::Dispatch => {
                    let mut dropped = Vec::new();
                    let service = service_us.map(micros);
                    let view = queue.view(&Look { service, ..look(now) }, &mut dropped);
                    for (payload, reason) in dropped {
                        let sent = waiting.remove(&payload.id).expect("dropped what was not waiting");
                        match reason {
                            DropReason::Deadline => {
                                prop_assert!(sent.deadline.unwrap() < now + service.unwrap_or(micros(0)) * 9 / 8 + Duration::from_nanos(2));
                            }
                            DropReason::SequenceLost => prop_assert!(false, "there are no sequences here"),
                            DropReason::Timeout => prop_assert!(sent.timeout.unwrap() <= now && !delaying[sent.level]),
                        }
                    }
                    let mut taken = Vec::new();
                    queue.take(view.rows.len(), &mut taken);
                    prop_assert_eq!(taken.len(), view.rows.len());
                    let batch: Vec<(u32, Sent)> = taken.iter().map(|(payload, _)| {
                        (payload.id, waiting.remove(&payload.id).expect("executed what was not waiting"))
                    }).collect();
                    prop_assert!(batch.iter().map(|(_, sent)| sent.rows).sum::<u32>() <= 8);
                    for (_, sent) in &batch {
                        prop_assert_eq!(sent.shape, batch[0].1.shape);
                        prop_assert!(sent.deadline.is_none_or(|deadline| deadline > now));
                        prop_assert!(delaying[sent.level] || sent.timeout.is_none_or(|timeout| timeout > now));
                    }
                    let late = |sent: &Sent| sent.timeout.is_some_and(|timeout| timeout <= now);
                    for pair in batch.windows(2) {
                        let ((before_id, before), (after_id, after)) = (pair[0], pair[1]);
                        prop_assert!(before.level <= after.level);
                        if before.level == after.level && !late(&before) && !late(&after) {
                            prop_assert!(before_id < after_id);
                        }
                    }
                    // Whoever is left behind in time was not overtaken by a later one of the same level.
                    if let Some((last_id, last)) = batch.last() {
                        for (id, sent) in &waiting {
                            if sent.level == last.level && !late(sent) && !late(last) {
                                prop_assert!(id > last_id);
                            }
                            prop_assert!(sent.level >= last.level || late(sent));
                        }
                    }
                }
            }
            prop_assert_eq!(queue.len(), waiting.len());
            prop_assert_eq!(queue.rows(), waiting.values().map(|sent| u64::from(sent.rows)).sum::<u64>());
        }
        let mut rest = ids(&queue.drain());
        rest.sort_unstable();
        prop_assert_eq!(rest, waiting.keys().copied().collect::<Vec<_>>());
    }
}

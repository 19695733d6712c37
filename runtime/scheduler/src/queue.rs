//! The queue of one model: priority levels, time-outs, withdrawal, and the prefix that may become a batch.
//!
//! A plain data structure over any payload: no clock, no lock, no thread. Order of dispatch: levels from the highest;
//! within a level arrival order, and after those the requests that a time-out delayed. Invariants: a request leaves
//! exactly once (taken, dropped, withdrawn or drained); counts are those of requests that are still wanted; a
//! withdrawn request gives its memory back at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hanok_backend::ServingError;

use crate::dynamic_batching::{Closed, QueueView};
use crate::queue_policy::{QueuePolicies, admits, delays, timeout};

/// Whether a payload can be in one batch with another.
pub(crate) trait Joins {
    /// Whether `self` can be in the batch that `first` starts.
    fn joins(&self, first: &Self) -> bool;
}

/// What the queue needs to know about a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) rows: u32,
    pub(crate) priority: u32,
    pub(crate) timeout_microseconds: u64,
    pub(crate) deadline: Option<Instant>,
}

/// Finds a queued request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) level: usize,
    pub(crate) number: u64,
}

/// Limits of one look at the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) now: Instant,
    pub(crate) max_rows: u32,
    pub(crate) max_requests: usize,
    /// How long an execution takes at least, when that is known: what cannot end before its deadline is dropped.
    pub(crate) service: Option<Duration>,
}

/// Why a request is dropped before it is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The queue's time-out passed, and its policy rejects.
    Timeout,
    /// The deadline passed, or cannot be met any more.
    Deadline,
    /// Its sequence ended before it: the first request was withdrawn or came too late.
    SequenceLost,
}

/// A request taken out for execution, with the instant at which it entered.
pub(crate) type Taken<T> = (T, Instant);

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    rows: u32,
    entered: Instant,
    timeout: Option<Instant>,
    deadline: Option<Instant>,
    /// `None` once the request left out of turn; the place is cleaned up later.
    payload: Option<T>,
}

/// First in, first out, with gaps where requests left out of turn.
#[derive(Debug)]
struct Lane<T> {
    entries: VecDeque<Entry<T>>,
    gaps: usize,
}

impl<T> Lane<T> {
    const fn new() -> Self {
        Self { entries: VecDeque::new(), gaps: 0 }
    }

    /// Takes the payload at `index`, leaving a gap; gaps at the front, and many of them, are closed.
    fn extract(&mut self, index: usize) -> Option<T> {
        let payload = self.entries.get_mut(index)?.payload.take()?;
        self.gaps += 1;
        Some(payload)
    }

    fn close_gaps(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.payload.is_none()) {
            self.entries.pop_front();
            self.gaps -= 1;
        }
        if self.gaps > 16 && self.gaps > self.entries.len() / 2 {
            self.entries.retain(|entry| entry.payload.is_some());
            self.gaps = 0;
        }
    }

    fn pop(&mut self) -> Option<Entry<T>> {
        loop {
            let entry = self.entries.pop_front()?;
            if entry.payload.is_some() {
                return Some(entry);
            }
            self.gaps -= 1;
        }
    }
}

#[derive(Debug)]
struct Level<T> {
    /// In time, in order of arrival (so that numbers ascend).
    live: Lane<T>,
    /// Past their time-out under the policy that delays.
    delayed: Lane<T>,
    /// Requests in both.
    count: usize,
}

impl<T> Level<T> {
    fn lane(&mut self, delayed: bool) -> &mut Lane<T> {
        if delayed { &mut self.delayed } else { &mut self.live }
    }
}

/// Requests that wait for an instance.
#[derive(Debug)]
pub(crate) struct RequestQueue<T> {
    policies: QueuePolicies,
    max_queue: usize,
    levels: Vec<Level<T>>,
    next_number: u64,
    count: usize,
    rows: u64,
}

impl<T: Joins> RequestQueue<T> {
    /// An empty queue of at most `max_queue` requests; 0 for no bound beyond the policies'.
    pub(crate) fn new(policies: QueuePolicies, max_queue: usize) -> Self {
        let level = |_| Level { live: Lane::new(), delayed: Lane::new(), count: 0 };
        Self {
            levels: policies.levels().iter().map(level).collect(),
            policies,
            max_queue,
            next_number: 0,
            count: 0,
            rows: 0,
        }
    }

    /// Requests that wait.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Rows of the requests that wait.
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether one more request of this priority fits.
    pub(crate) fn admit(&self, priority: u32) -> Result<(), ServingError> {
        let level = self.policies.level_of(priority);
        let full = self.max_queue > 0 && self.count >= self.max_queue;
        if full || !admits(&self.policies.levels()[level], self.levels[level].count) {
            return Err(ServingError::unavailable("Exceeds maximum queue size"));
        }
        Ok(())
    }

    /// Appends a request that was admitted.
    pub(crate) fn push(&mut self, arrival: &Arrival, now: Instant, payload: T) -> Ticket {
        let level = self.policies.level_of(arrival.priority);
        let policy = &self.policies.levels()[level];
        let number = self.next_number;
        self.next_number += 1;
        self.count += 1;
        self.rows += u64::from(arrival.rows);
        self.levels[level].count += 1;
        self.levels[level].live.entries.push_back(Entry {
            number,
            rows: arrival.rows,
            entered: now,
            timeout: timeout(policy, arrival.timeout_microseconds).and_then(|timeout| now.checked_add(timeout)),
            deadline: arrival.deadline,
            payload: Some(payload),
        });
        Ticket { level, number }
    }

    /// Takes a request out of turn; `None` when it left already. Counts change at once.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Option<T> {
        let level = self.levels.get(ticket.level)?;
        if let Ok(index) = level.live.entries.binary_search_by_key(&ticket.number, |entry| entry.number)
            && level.live.entries[index].payload.is_some()
        {
            return self.extract(ticket.level, false, index);
        }
        let index = level.delayed.entries.iter().position(|entry| entry.number == ticket.number)?;
        self.extract(ticket.level, true, index)
    }

    fn extract(&mut self, level: usize, delayed: bool, index: usize) -> Option<T> {
        let level = &mut self.levels[level];
        let lane = level.lane(delayed);
        let rows = lane.entries.get(index)?.rows;
        let payload = lane.extract(index)?;
        lane.close_gaps();
        level.count -= 1;
        self.count -= 1;
        self.rows -= u64::from(rows);
        Some(payload)
    }

    /// Looks at the requests that may be in the next batch. On the way, those whose time-out or deadline passed are
    /// moved to `dropped`, or behind the others.
    pub(crate) fn view(&mut self, look: &Look, dropped: &mut Vec<(T, DropReason)>) -> QueueView {
        let mut view = QueueView::default();
        let mut total = 0;
        let mut first: Option<(usize, bool, usize)> = None;
        for level in 0..self.levels.len() {
            for delayed in [false, true] {
                let mut index = 0;
                while index < self.levels[level].lane(delayed).entries.len() {
                    if self.discard_if_late(level, delayed, index, look, dropped) {
                        index += 1;
                        continue;
                    }
                    let entry = &self.lane(level, delayed)[index];
                    let grown = total + u64::from(entry.rows);
                    if first.is_some() && grown > u64::from(look.max_rows) {
                        view.closed = Some(Closed::Full);
                        return view;
                    }
                    match first {
                        None => first = Some((level, delayed, index)),
                        Some((level, delayed, index)) => {
                            let first = &self.lane(level, delayed)[index];
                            if let (Some(first), Some(next)) = (&first.payload, &entry.payload)
                                && !next.joins(first)
                            {
                                view.closed = Some(Closed::Incompatible);
                                return view;
                            }
                        }
                    }
                    total = grown;
                    note(&mut view, entry, look);
                    if total >= u64::from(look.max_rows) || view.rows.len() >= look.max_requests {
                        view.closed = Some(Closed::Full);
                        return view;
                    }
                    index += 1;
                }
            }
        }
        view
    }

    fn lane(&self, level: usize, delayed: bool) -> &VecDeque<Entry<T>> {
        let level = &self.levels[level];
        if delayed { &level.delayed.entries } else { &level.live.entries }
    }

    /// Drops or delays the entry at this place when it is late; true when there is nothing to execute there (any more).
    fn discard_if_late(
        &mut self,
        level: usize,
        delayed: bool,
        index: usize,
        look: &Look,
        dropped: &mut Vec<(T, DropReason)>,
    ) -> bool {
        let entry = &self.lane(level, delayed)[index];
        if entry.payload.is_none() {
            return true;
        }
        // An eighth more than the mean: in overload everything starts at the last moment, and half of all executions
        // take longer than the mean.
        let needed = look.service.map_or(Duration::ZERO, |service| service + service / 8);
        let too_late = entry.deadline.is_some_and(|deadline| {
            look.now >= deadline || look.now.checked_add(needed).is_none_or(|end| end > deadline)
        });
        let timed_out = entry.timeout.is_some_and(|timeout| look.now >= timeout);
        let rejected = timed_out && !delays(&self.policies.levels()[level]);
        if !too_late && !timed_out {
            return false;
        }
        let here = &mut self.levels[level];
        let entry = &mut here.lane(delayed).entries[index];
        let (number, rows, entered, deadline) = (entry.number, entry.rows, entry.entered, entry.deadline);
        let Some(payload) = here.lane(delayed).extract(index) else { return true };
        if too_late || rejected {
            here.count -= 1;
            self.count -= 1;
            self.rows -= u64::from(rows);
            dropped.push((payload, if too_late { DropReason::Deadline } else { DropReason::Timeout }));
        } else {
            let entry = Entry { number, rows, entered, timeout: None, deadline, payload: Some(payload) };
            here.delayed.entries.push_back(entry);
        }
        true
    }

    /// Takes the first `requests` requests; after [`RequestQueue::view`] these are the ones in view.
    pub(crate) fn take(&mut self, requests: usize, taken: &mut Vec<Taken<T>>) {
        let mut left = requests;
        for level in &mut self.levels {
            for delayed in [false, true] {
                while left > 0 {
                    let Some(entry) = level.lane(delayed).pop() else { break };
                    let Some(payload) = entry.payload else { continue };
                    level.count -= 1;
                    self.count -= 1;
                    self.rows -= u64::from(entry.rows);
                    left -= 1;
                    taken.push((payload, entry.entered));
                }
                level.lane(delayed).close_gaps();
            }
        }
    }

    /// Takes everything.
    pub(crate) fn drain(&mut self) -> Vec<Taken<T>> {
        let mut taken = Vec::with_capacity(self.count);
        self.take(self.count, &mut taken);
        taken
    }

    /// Places held by requests that left out of turn, for tests.
    #[cfg(test)]
    pub(crate) fn gaps(&self) -> usize {
        self.levels.iter().map(|level| level.live.gaps + level.delayed.gaps).sum()
    }
}

fn note<T>(view: &mut QueueView, entry: &Entry<T>, look: &Look) {
    let earliest = |known: Option<Instant>, new: Instant| Some(known.map_or(new, |known| known.min(new)));
    view.rows.push(entry.rows);
    view.oldest = earliest(view.oldest, entry.entered);
    if let Some(timeout) = entry.timeout {
        view.next_timeout = earliest(view.next_timeout, timeout);
    }
    if let Some(deadline) = entry.deadline {
        // A quarter of the service time, and the time a thread takes to wake, are kept in reserve.
        let service = look.service.unwrap_or_default();
        let reserve = service + service / 4 + Duration::from_micros(200);
        view.latest_start = earliest(view.latest_start, deadline.checked_sub(reserve).unwrap_or(look.now));
    }
}

#[cfg(test)]
mod tests;

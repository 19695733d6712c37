//! Sequences and their slots: Triton's direct strategy.
//!
//! A pure table, no clock and no lock. Each sequence is pinned to one slot of one instance from its first request to
//! its last; requests of one sequence are executed one at a time, in order. Sequences without a slot wait in arrival
//! order. A sequence without a request for the idle time is ended. Differences from Triton: a batch holds only the slots
//! that have a request (no padding rows), and a sequence whose first request was withdrawn or came too late is ended.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use hanok_backend::{SequenceControl, SequenceId, ServingError};
use hanok_telemetry::BatchTrigger;

use crate::dynamic_batching::Decision;
use crate::queue::{DropReason, Joins, Taken, Ticket};

/// Sequences that may wait for a slot, where the server sets no bound on the queue.
const MAX_WAITING_SEQUENCES: usize = 4096;

#[derive(Debug)]
struct Queued<T> {
    number: u64,
    entered: Instant,
    deadline: Option<Instant>,
    start: bool,
    payload: T,
}

#[derive(Debug)]
struct Sequence<T> {
    /// Instance and slot; `None` while it waits for one.
    place: Option<(usize, usize)>,
    requests: VecDeque<Queued<T>>,
    executing: bool,
    /// Whether its next request may come without START.
    open: bool,
    /// Its first request was lost: what is queued cannot be executed.
    broken: bool,
    last_active: Instant,
}

/// What a sequence batcher is made from.
#[derive(Clone, Debug)]
pub(crate) struct SequenceSettings {
    pub(crate) model: String,
    pub(crate) instances: usize,
    pub(crate) slots: usize,
    pub(crate) max_idle: Duration,
    /// Most queued requests; 0 for no bound. A sequence without a slot is refused when so many are queued in all; one
    /// with a slot when so many are queued that have one, or those who wait would keep it from ending and wait forever.
    pub(crate) max_queue: usize,
}

/// All sequences of one model.
#[derive(Debug)]
pub(crate) struct SequenceBatcher<T> {
    settings: SequenceSettings,
    places: Vec<Vec<Option<SequenceId>>>,
    sequences: HashMap<SequenceId, Sequence<T>>,
    backlog: VecDeque<SequenceId>,
    next_number: u64,
    count: usize,
    /// Those of `count` whose sequence has no slot.
    waiting: usize,
}

impl<T: Joins> SequenceBatcher<T> {
    pub(crate) fn new(settings: SequenceSettings) -> Self {
        Self {
            places: vec![vec![None; settings.slots.max(1)]; settings.instances],
            settings,
            sequences: HashMap::new(),
            backlog: VecDeque::new(),
            next_number: 0,
            count: 0,
            waiting: 0,
        }
    }

    /// Requests that wait.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Whether this sequence has begun and has not ended.
    pub(crate) fn holds(&self, id: &SequenceId) -> bool {
        self.sequences.contains_key(id)
    }

    /// Whether a request may enter, and with which place in a sequence.
    pub(crate) fn admit<'a>(
        &self,
        control: Option<&'a SequenceControl>,
        rows: u32,
    ) -> Result<&'a SequenceControl, ServingError> {
        let model = &self.settings.model;
        let Some(control) = control else {
            return Err(ServingError::invalid(format!(
                "inference request to model '{model}' must specify a non-zero or non-empty correlation ID"
            )));
        };
        if rows != 1 {
            return Err(ServingError::invalid(format!(
                "inference request to model '{model}' must specify batch-size 1 due to requirements of sequence batcher"
            )));
        }
        let known = self.sequences.get(&control.id);
        if !control.start && !known.is_some_and(|sequence| sequence.open && !sequence.broken) {
            let id = match &control.id {
                SequenceId::Number(number) => number.to_string(),
                SequenceId::Text(text) => text.to_string(),
            };
            return Err(ServingError::invalid(format!(
                "inference request for sequence {id} to model '{model}' must specify the START flag on the first \
                 request of the sequence"
            )));
        }
        let max_queue = self.settings.max_queue;
        let has_place = known.is_some_and(|sequence| sequence.place.is_some());
        let before = if has_place { self.count - self.waiting } else { self.count };
        let max_waiting = if max_queue > 0 { max_queue } else { MAX_WAITING_SEQUENCES };
        if (max_queue > 0 && before >= max_queue) || (known.is_none() && self.backlog.len() >= max_waiting) {
            return Err(ServingError::unavailable("Exceeds maximum queue size"));
        }
        Ok(control)
    }

    /// Appends an admitted request to its sequence.
    pub(crate) fn push(
        &mut self,
        control: &SequenceControl,
        deadline: Option<Instant>,
        now: Instant,
        payload: T,
    ) -> Ticket {
        if !self.sequences.contains_key(&control.id) {
            let sequence = Sequence {
                place: None,
                requests: VecDeque::new(),
                executing: false,
                open: true,
                broken: false,
                last_active: now,
            };
            self.sequences.insert(control.id.clone(), sequence);
            self.backlog.push_back(control.id.clone());
            self.fill_places();
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(sequence) = self.sequences.get_mut(&control.id) {
            sequence.open = !control.end;
            sequence.broken &= !(control.start && sequence.requests.is_empty());
            sequence.last_active = now;
            sequence.requests.push_back(Queued { number, entered: now, deadline, start: control.start, payload });
            self.count += 1;
            self.waiting += usize::from(sequence.place.is_none());
        }
        Ticket { level: 0, number }
    }

    /// Gives free slots to the sequences that wait longest, the emptiest instance first.
    fn fill_places(&mut self) {
        while !self.backlog.is_empty() {
            let free = |slots: &Vec<Option<SequenceId>>| slots.iter().filter(|slot| slot.is_none()).count();
            let emptiest = (0..self.places.len()).max_by_key(|&at| (free(&self.places[at]), usize::MAX - at));
            let Some(instance) = emptiest else { return };
            let Some(slot) = self.places[instance].iter().position(Option::is_none) else { return };
            let Some(id) = self.backlog.pop_front() else { return };
            if let Some(sequence) = self.sequences.get_mut(&id) {
                sequence.place = Some((instance, slot));
                self.waiting -= sequence.requests.len();
                self.places[instance][slot] = Some(id);
            }
        }
    }

    fn end(&mut self, id: &SequenceId) -> VecDeque<Queued<T>> {
        let Some(sequence) = self.sequences.remove(id) else { return VecDeque::new() };
        match sequence.place {
            Some((instance, slot)) => self.places[instance][slot] = None,
            None => {
                self.backlog.retain(|waiting| waiting != id);
                self.waiting -= sequence.requests.len();
            }
        }
        self.count -= sequence.requests.len();
        sequence.requests
    }

    /// Takes a request out whose caller is gone. A sequence that waits for a slot ends with its first request, since
    /// no instance looks at it: what else it queued is moved to `dropped`.
    pub(crate) fn withdraw(&mut self, ticket: Ticket, dropped: &mut Vec<(T, DropReason)>) -> Option<T> {
        let (id, index) = self.sequences.iter().find_map(|(id, sequence)| {
            let index = sequence.requests.iter().position(|queued| queued.number == ticket.number)?;
            Some((id.clone(), index))
        })?;
        let sequence = self.sequences.get_mut(&id)?;
        let queued = sequence.requests.remove(index)?;
        sequence.broken |= queued.start;
        self.count -= 1;
        if sequence.place.is_none() {
            self.waiting -= 1;
            if sequence.broken {
                let lost = self.end(&id);
                dropped.extend(lost.into_iter().map(|queued| (queued.payload, DropReason::SequenceLost)));
            }
        }
        Some(queued.payload)
    }

    /// Whether an instance has something to execute or to clean up.
    pub(crate) fn has_ready(&self, instance: usize) -> bool {
        self.occupants(instance).any(|sequence| !sequence.requests.is_empty() || sequence.broken)
    }

    fn occupants(&self, instance: usize) -> impl Iterator<Item = &Sequence<T>> {
        self.places[instance].iter().flatten().filter_map(|id| self.sequences.get(id))
    }

    /// Decides what an idle `instance` does; what came too late is moved to `dropped`.
    pub(crate) fn look(&mut self, instance: usize, now: Instant, dropped: &mut Vec<(T, DropReason)>) -> Decision {
        self.clean_up(instance, now, dropped);
        let first = self.occupants(instance).find_map(|sequence| sequence.requests.front());
        let Some(first) = first else {
            let idle_ends = self.occupants(instance).filter_map(|sequence| self.idle_end(sequence));
            return idle_ends.min().map_or(Decision::Idle, Decision::WaitUntil);
        };
        let fronts = self.occupants(instance).filter_map(|sequence| sequence.requests.front());
        let requests = fronts.filter(|queued| queued.payload.joins(&first.payload)).count().max(1);
        let trigger = if requests == 1 { BatchTrigger::Single } else { BatchTrigger::Idle };
        Decision::Dispatch { requests, trigger }
    }

    fn idle_end(&self, sequence: &Sequence<T>) -> Option<Instant> {
        let idle = sequence.requests.is_empty() && !sequence.executing && self.settings.max_idle > Duration::ZERO;
        idle.then(|| sequence.last_active.checked_add(self.settings.max_idle)).flatten()
    }

    /// Drops requests that are late, ends sequences that are over, idle too long or broken, until nothing changes.
    fn clean_up(&mut self, instance: usize, now: Instant, dropped: &mut Vec<(T, DropReason)>) {
        loop {
            let mut changed = false;
            for slot in 0..self.places[instance].len() {
                let Some(id) = self.places[instance][slot].clone() else { continue };
                let Some(sequence) = self.sequences.get_mut(&id) else { continue };
                let is_late = |queued: &Queued<T>| queued.deadline.is_some_and(|deadline| now >= deadline);
                while sequence.requests.front().is_some_and(is_late) {
                    let Some(late) = sequence.requests.pop_front() else { break };
                    sequence.broken |= late.start;
                    self.count -= 1;
                    dropped.push((late.payload, DropReason::Deadline));
                }
                let Some(sequence) = self.sequences.get(&id) else { continue };
                let over = sequence.requests.is_empty() && !sequence.open;
                let idle = self.idle_end(sequence).is_some_and(|end| now >= end);
                if sequence.broken || over || idle {
                    let lost = self.end(&id);
                    dropped.extend(lost.into_iter().map(|queued| (queued.payload, DropReason::SequenceLost)));
                    changed = true;
                }
            }
            if !changed {
                return;
            }
            self.fill_places();
        }
    }

    /// Takes what [`SequenceBatcher::look`] decided to dispatch: at most one request per slot, in the order of slots.
    pub(crate) fn take(&mut self, instance: usize, requests: usize, taken: &mut Vec<Taken<T>>) {
        let before = taken.len();
        for slot in &self.places[instance] {
            let Some(sequence) = slot.as_ref().and_then(|id| self.sequences.get_mut(id)) else { continue };
            let Some(queued) = sequence.requests.front() else { continue };
            if taken.len() - before >= requests
                || taken.get(before).is_some_and(|(first, _)| !queued.payload.joins(first))
            {
                continue;
            }
            let Some(queued) = sequence.requests.pop_front() else { continue };
            sequence.executing = true;
            self.count -= 1;
            taken.push((queued.payload, queued.entered));
        }
    }

    /// Notes that the batch of `instance` was executed.
    pub(crate) fn note_executed(&mut self, instance: usize, now: Instant) {
        for slot in &self.places[instance] {
            let Some(sequence) = slot.as_ref().and_then(|id| self.sequences.get_mut(id)) else { continue };
            if std::mem::take(&mut sequence.executing) {
                sequence.last_active = now;
            }
        }
        let over: Vec<SequenceId> = self.places[instance]
            .iter()
            .flatten()
            .filter(|id| self.sequences.get(id).is_some_and(|one| one.requests.is_empty() && !one.open))
            .cloned()
            .collect();
        for id in over {
            self.end(&id);
        }
        self.fill_places();
    }

    /// The instance lost its state: its sequences end, and their queued requests are given back.
    pub(crate) fn lose_instance(&mut self, instance: usize) -> Vec<Taken<T>> {
        let lost: Vec<SequenceId> = self.places[instance].iter().flatten().cloned().collect();
        let mut requests = Vec::new();
        for id in lost {
            requests.extend(self.end(&id).into_iter().map(|queued| (queued.payload, queued.entered)));
        }
        self.fill_places();
        requests
    }

    /// Takes everything and ends all sequences.
    pub(crate) fn drain(&mut self) -> Vec<Taken<T>> {
        let ids: Vec<SequenceId> = self.sequences.keys().cloned().collect();
        let queued = ids.iter().flat_map(|id| self.end(id)).map(|queued| (queued.payload, queued.entered));
        queued.collect::<Vec<_>>()
    }
}

#[cfg(test)]
mod tests;

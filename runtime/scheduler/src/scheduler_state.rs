//! What a scheduler's one lock guards: the waiting requests, the instances that are free, who sleeps, who must wake.
//!
//! Nothing here blocks, executes or answers; all methods run under the lock with `now` as an argument.
//!
//! Invariant (no lost wake-up): whenever the lock is free while something waits and an instance is free, then a thread
//! that will look is awake, or sleeps no longer than until the instant that the decision named. [`State::attend`] keeps
//! it and is called wherever it could break: after a request was queued or withdrawn, after a batch was taken, and when
//! an instance is given back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_backend::ServingError;
use hanok_telemetry::BatchTrigger;

use crate::batch_source::BatchSource;
use crate::dynamic_batcher::Surroundings;
use crate::dynamic_batching::Decision;
use crate::execution::{Outcome, Report};
use crate::instance_pool::InstanceRunner;
use crate::queue::{DropReason, Taken};
use crate::release_order::{OrderNumber, ReleaseOrder};
use crate::request_sink::Job;
use crate::service_time::ServiceTimes;

/// Failures in a row after which a scheduler counts as unhealthy.
const UNHEALTHY_AFTER: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// How far the life of a scheduler has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    Serving,
    /// No new requests; what is queued is executed.
    Draining,
    /// Threads end.
    Stopping,
}

/// What an instance's thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// Awake: looks at the state before it sleeps again, or executes.
    Awake,
    /// Asleep until it is woken, at the latest at the instant.
    Asleep(Option<Instant>),
}

/// Whether an instance can be used.
#[derive(Debug)]
pub(crate) enum Occupancy {
    /// Free: whoever takes the runner out has it alone.
    Free(Box<InstanceRunner>),
    /// Executing, on its own thread or on a caller's.
    Leased,
    /// Lost to a panic; its thread makes a new one, not before the instant.
    Broken { retry_at: Instant, backoff: Duration },
}

/// One instance and its thread.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) occupancy: Occupancy,
    pub(crate) thread: ThreadState,
    /// A request for this instance alone (warm-up).
    pub(crate) directed: Option<Taken<Job>>,
}

/// What a free instance's thread does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Execute the batch that was taken; `None` for a trigger means that it is not counted.
    Execute(Box<InstanceRunner>, Option<BatchTrigger>),
    /// Make a new instance.
    Replace,
    /// Sleep, at the latest until the instant.
    Sleep(Option<Instant>),
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) source: BatchSource,
    pub(crate) times: ServiceTimes,
    pub(crate) slots: Vec<Slot>,
    pub(crate) phase: Phase,
    /// Requests in execution.
    pub(crate) executing: usize,
    /// Failures in a row, of executions by panic and of replacements.
    pub(crate) failures: u32,
    /// Queue depth as last published.
    published_depth: usize,
    /// Present when answers leave in the order of dispatch.
    order: Option<(Arc<ReleaseOrder>, u64)>,
}

impl State {
    #[allow(clippy::vec_box, reason = "runners stay boxed: they are moved in and out under the lock")]
    pub(crate) fn new(source: BatchSource, runners: Vec<Box<InstanceRunner>>, preserve_ordering: bool) -> Self {
        let slot = |runner| Slot { occupancy: Occupancy::Free(runner), thread: ThreadState::Awake, directed: None };
        Self {
            source,
            times: ServiceTimes::new(),
            slots: runners.into_iter().map(slot).collect(),
            phase: Phase::Serving,
            executing: 0,
            failures: 0,
            published_depth: 0,
            order: preserve_ordering.then(|| (Arc::new(ReleaseOrder::default()), 0)),
        }
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        let works = |slot: &&Slot| !matches!(slot.occupancy, Occupancy::Broken { .. });
        Surroundings {
            executing: self.executing,
            instances: self.slots.iter().filter(works).count(),
            draining: self.phase >= Phase::Draining,
        }
    }

    pub(crate) const fn is_healthy(&self) -> bool {
        self.failures < UNHEALTHY_AFTER
    }

    /// Whether new requests are taken, apart from the room in the queue.
    pub(crate) fn check_open(&self, now: Instant) -> Result<(), ServingError> {
        if self.phase >= Phase::Draining {
            return Err(ServingError::unavailable("the model is being unloaded and takes no new requests"));
        }
        let closed = |slot: &Slot| matches!(slot.occupancy, Occupancy::Broken { retry_at, .. } if now < retry_at);
        if self.slots.iter().all(closed) {
            return Err(ServingError::unavailable("the model has no working instance at the moment"));
        }
        Ok(())
    }

    /// Whether nothing waits and nothing is executed.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.executing == 0 && self.source.len() == 0 && self.slots.iter().all(|slot| slot.directed.is_none())
    }

    /// Change of the queue depth since it was last asked for.
    pub(crate) fn depth_change(&mut self) -> i64 {
        let depth = self.source.len();
        let before = std::mem::replace(&mut self.published_depth, depth);
        i64::try_from(depth).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
    }

    /// The number in the order of release of a request that leaves the queue now.
    pub(crate) fn next_order(&mut self) -> Option<OrderNumber> {
        let (gate, next) = self.order.as_mut()?;
        let number = *next;
        *next += 1;
        Some(OrderNumber { gate: Arc::clone(gate), number })
    }

    /// A free instance for a request that came to an empty queue, if there is one without work of its own.
    pub(crate) fn free_slot(&self) -> Option<usize> {
        let free = |slot: &Slot| matches!(slot.occupancy, Occupancy::Free(_)) && slot.directed.is_none();
        self.slots.iter().position(free)
    }

    /// Whether the instance, which is free, executes on a GPU.
    pub(crate) fn is_on_device(&self, index: usize) -> bool {
        matches!(&self.slots[index].occupancy, Occupancy::Free(runner) if runner.device.is_some())
    }

    /// Takes an idle instance out that is lost with its device; what depended on it is put into `lost`.
    pub(crate) fn take_lost(
        &mut self,
        index: usize,
        now: Instant,
        lost: &mut Vec<Taken<Job>>,
    ) -> Option<Box<InstanceRunner>> {
        let slot = &mut self.slots[index];
        if !matches!(&slot.occupancy, Occupancy::Free(runner) if runner.device.is_some() && runner.instance.is_lost()) {
            return None;
        }
        let broken = Occupancy::Broken { retry_at: now, backoff: FIRST_BACKOFF };
        let Occupancy::Free(runner) = std::mem::replace(&mut slot.occupancy, broken) else { return None };
        lost.append(&mut self.source.lose_instance(index));
        Some(runner)
    }

    /// Notes that somebody has to look at the instance at `index`: whether its thread must be woken for that. It counts as
    /// awake from here on.
    pub(crate) fn rouse(&mut self, index: usize) -> bool {
        let thread = &mut self.slots[index].thread;
        std::mem::replace(thread, ThreadState::Awake) != ThreadState::Awake
    }

    /// Takes the runner of a free instance.
    pub(crate) fn lease(&mut self, index: usize, requests: usize) -> Option<Box<InstanceRunner>> {
        let slot = &mut self.slots[index];
        match std::mem::replace(&mut slot.occupancy, Occupancy::Leased) {
            Occupancy::Free(runner) => {
                self.executing += requests;
                Some(runner)
            }
            other => {
                slot.occupancy = other;
                None
            }
        }
    }

    /// What the thread of this instance does next. A batch to execute is put into `batch`.
    pub(crate) fn next(
        &mut self,
        index: usize,
        now: Instant,
        batch: &mut Vec<Taken<Job>>,
        dropped: &mut Vec<(Job, DropReason)>,
    ) -> Next {
        match self.slots[index].occupancy {
            Occupancy::Leased => return Next::Sleep(None),
            Occupancy::Broken { retry_at, backoff } => {
                let wanted = backoff == FIRST_BACKOFF
                    || self.slots[index].directed.is_some()
                    || self.source.may_have_work(index);
                return match (wanted, now >= retry_at) {
                    (true, true) => Next::Replace,
                    (true, false) => Next::Sleep(Some(retry_at)),
                    (false, _) => Next::Sleep(None),
                };
            }
            Occupancy::Free(_) => {}
        }
        let around = self.surroundings();
        let trigger = if let Some(mut directed) = self.slots[index].directed.take() {
            directed.0.sink.begin(directed.1, now, None);
            batch.push(directed);
            None
        } else {
            match self.source.look(index, now, &self.times, around, dropped) {
                Decision::Idle => return Next::Sleep(None),
                Decision::WaitUntil(until) => return Next::Sleep(Some(until)),
                Decision::Dispatch { requests, trigger } => {
                    self.source.take(index, (requests, trigger), now, around, batch);
                    for (job, entered) in batch.iter_mut() {
                        let order = self.next_order();
                        job.sink.begin(*entered, now, order);
                    }
                    Some(trigger)
                }
            }
        };
        match self.lease(index, batch.len()) {
            Some(runner) => Next::Execute(runner, trigger),
            None => Next::Sleep(None),
        }
    }

    /// Takes the batch that the instance at `index`, which computes one, may start meanwhile, into `batch`: only one that
    /// waiting would not make larger, and only while no other instance is free for it.
    pub(crate) fn ahead(
        &mut self,
        index: usize,
        now: Instant,
        batch: &mut Vec<Taken<Job>>,
        dropped: &mut Vec<(Job, DropReason)>,
    ) -> Option<BatchTrigger> {
        let own_work = self.slots[index].directed.is_some();
        let may = self.source.is_common() && self.source.may_have_work(index) && self.phase < Phase::Stopping;
        if own_work || !may || self.free_slot().is_some() {
            return None;
        }
        let around = self.surroundings();
        let decision = self.source.look(index, now, &self.times, around, dropped);
        let Decision::Dispatch { requests, trigger: trigger @ (BatchTrigger::Full | BatchTrigger::Preferred) } =
            decision
        else {
            return None;
        };
        self.source.take(index, (requests, trigger), now, around, batch);
        for (job, entered) in batch.iter_mut() {
            let order = self.next_order();
            job.sink.begin(*entered, now, order);
        }
        self.executing += batch.len();
        Some(trigger)
    }

    /// Notes what an execution came to; the instance may still have another batch.
    pub(crate) fn note_report(&mut self, index: usize, report: &Report) {
        self.executing -= report.requests;
        match report.outcome {
            Outcome::Executed => {
                self.times.record(report.rows, report.elapsed, report.ended);
                self.failures = 0;
            }
            Outcome::Failed => self.failures = 0,
            Outcome::Broken => self.failures = self.failures.saturating_add(1),
        }
        self.source.note_executed(index, report.requests, report.ended);
    }

    /// Takes an instance back after an execution; without a runner it was lost. What depended on a lost one is put into
    /// `lost`.
    pub(crate) fn give_back(
        &mut self,
        index: usize,
        runner: Option<Box<InstanceRunner>>,
        report: &Report,
        lost: &mut Vec<Taken<Job>>,
    ) {
        self.note_report(index, report);
        if let Some(runner) = runner {
            self.slots[index].occupancy = Occupancy::Free(runner);
        } else {
            lost.append(&mut self.source.lose_instance(index));
            self.slots[index].occupancy = Occupancy::Broken { retry_at: report.ended, backoff: FIRST_BACKOFF };
        }
    }

    /// Notes that an instance was made anew, or that it could not be. What nobody can execute now is put into `lost`.
    pub(crate) fn note_replacement(
        &mut self,
        index: usize,
        runner: Option<Box<InstanceRunner>>,
        now: Instant,
        lost: &mut Vec<Taken<Job>>,
    ) {
        if let Some(runner) = runner {
            self.slots[index].occupancy = Occupancy::Free(runner);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Occupancy::Broken { retry_at, backoff } = &mut self.slots[index].occupancy {
            *retry_at = now.checked_add(*backoff).unwrap_or(now);
            *backoff = (*backoff * 2).min(LAST_BACKOFF);
        }
        lost.extend(self.slots[index].directed.take());
        if self.slots.iter().all(|slot| matches!(slot.occupancy, Occupancy::Broken { .. })) {
            lost.append(&mut self.source.drain());
        } else if !self.source.is_common() {
            lost.append(&mut self.source.lose_instance(index));
        }
    }

    /// Sees to it that somebody attends to what waits: gives the instance whose thread must be woken now, if any. That
    /// thread counts as awake from here on.
    pub(crate) fn attend(&mut self, now: Instant, dropped: &mut Vec<(Job, DropReason)>) -> Option<usize> {
        let chosen = if self.source.is_common() { self.attend_common(now, dropped) } else { self.attend_own(now) }?;
        self.slots[chosen].thread = ThreadState::Awake;
        Some(chosen)
    }

    fn attend_common(&mut self, now: Instant, dropped: &mut Vec<(Job, DropReason)>) -> Option<usize> {
        if !self.source.may_have_work(0) {
            return None;
        }
        let (mut sleeper, mut keeper, mut mender) = (None, None, None);
        for (index, slot) in self.slots.iter().enumerate() {
            match (&slot.occupancy, slot.thread) {
                // It will look, and wake a further one if it leaves something behind.
                (Occupancy::Free(_), ThreadState::Awake) => return None,
                (Occupancy::Free(_), ThreadState::Asleep(Some(until))) => keeper = keeper.or(Some((index, until))),
                (Occupancy::Free(_), ThreadState::Asleep(None)) => sleeper = sleeper.or(Some(index)),
                (Occupancy::Broken { .. }, ThreadState::Asleep(None)) => mender = mender.or(Some(index)),
                _ => {}
            }
        }
        let Some(candidate) = keeper.map(|(index, _)| index).or(sleeper) else { return mender };
        let around = self.surroundings();
        match self.source.look(candidate, now, &self.times, around, dropped) {
            Decision::Idle => None,
            Decision::Dispatch { .. } => Some(candidate),
            Decision::WaitUntil(until) => match keeper {
                Some((_, kept)) if kept <= until => None,
                _ => Some(candidate),
            },
        }
    }

    fn attend_own(&self, now: Instant) -> Option<usize> {
        let sleeps = |slot: &Slot| match (&slot.occupancy, slot.thread) {
            (Occupancy::Free(_), ThreadState::Asleep(_)) => true,
            (Occupancy::Broken { retry_at, .. }, ThreadState::Asleep(until)) => until.is_none() || now >= *retry_at,
            _ => false,
        };
        (0..self.slots.len()).find(|&index| sleeps(&self.slots[index]) && self.source.may_have_work(index))
    }
}

//! The dynamic batcher's state: the queue, the rules, and what was learned about waiting.
//!
//! Pure over any payload: `now` is an argument and nothing here blocks. It turns the decision into bookkeeping: which
//! wait is on, whether it was fruitful, what leaves.

use std::time::{Duration, Instant};

use hanok_backend::{ErrorCode, ServingError};
use hanok_telemetry::BatchTrigger;

use crate::delay_learner::DelayLearner;
use crate::dynamic_batching::{BatchRules, Closed, Decision, QueueView, decide};
use crate::queue::{Arrival, DropReason, Joins, Look, RequestQueue, Taken, Ticket};
use crate::queue_policy::QueuePolicies;
use crate::request_rate::RequestRate;
use crate::service_time::ServiceTimes;

/// The text that clients know for a request that waited too long.
pub(crate) const TIMEOUT_TEXT: &str = "Request timeout expired";

/// What it costs to hand a request to an instance's thread and the answer back (a wake-up and a switch each way, measured
/// at 10 to 20 us on servers without load). A model whose executions take less gains nothing from waiting for company.
const HAND_OVER: Duration = Duration::from_micros(10);

/// What the batcher must know of the world around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// Requests in execution.
    pub(crate) executing: usize,
    /// Instances that work.
    pub(crate) instances: usize,
    /// Nothing further will arrive.
    pub(crate) draining: bool,
}

/// Queue and batching of one model.
#[derive(Debug)]
pub(crate) struct DynamicBatcher<T> {
    queue: RequestQueue<T>,
    rules: BatchRules,
    has_levels: bool,
    learner: DelayLearner,
    rate: RequestRate,
    /// The wait that is on: its level and its start.
    wait: Option<(usize, Instant)>,
    /// A batch left without a wait: its level, and until when a wait would have lasted.
    unwaited: Option<(usize, Instant)>,
}

/// The answer to a request that was dropped from the queue.
pub(crate) fn drop_error(reason: DropReason) -> ServingError {
    match reason {
        DropReason::Timeout => ServingError::unavailable(TIMEOUT_TEXT),
        DropReason::Deadline => ServingError::new(ErrorCode::DeadlineExceeded, TIMEOUT_TEXT),
        DropReason::SequenceLost => {
            ServingError::invalid("the sequence was ended: its first request was cancelled or came too late")
        }
    }
}

impl<T: Joins> DynamicBatcher<T> {
    pub(crate) fn new(policies: QueuePolicies, rules: BatchRules, max_queue: usize) -> Self {
        Self {
            has_levels: policies.levels().len() > 1,
            queue: RequestQueue::new(policies, max_queue),
            rules,
            learner: DelayLearner::new(),
            rate: RequestRate::default(),
            wait: None,
            unwaited: None,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Rows of the next batch at most.
    pub(crate) fn next_rows(&self) -> u32 {
        u32::try_from(self.queue.rows()).unwrap_or(u32::MAX).min(self.rules.max_rows)
    }

    /// Whether a request may enter: there is room, and it can still be answered in time as far as is known.
    pub(crate) fn admit(
        &self,
        arrival: &Arrival,
        now: Instant,
        times: &ServiceTimes,
        around: Surroundings,
    ) -> Result<(), ServingError> {
        if let Some(deadline) = arrival.deadline
            && now.checked_add(self.least_time(arrival.rows, now, times, around)).is_none_or(|end| end > deadline)
        {
            return Err(drop_error(DropReason::Deadline));
        }
        self.queue.admit(arrival.priority)
    }

    /// The least time to an answer: the full batches ahead, then its own execution. With priority levels, only the
    /// latter: nobody knows who will overtake whom.
    fn least_time(&self, rows: u32, now: Instant, times: &ServiceTimes, around: Surroundings) -> Duration {
        let own = times.fresh_estimate(rows, now).unwrap_or_default();
        if self.has_levels || self.queue.is_empty() {
            return own;
        }
        let (ahead, size) = if self.rules.max_requests == 1 {
            (self.queue.len() as u64, 1)
        } else {
            (self.queue.rows() / u64::from(self.rules.max_rows), self.rules.max_rows)
        };
        let turns = u32::try_from(ahead / around.instances.max(1) as u64).unwrap_or(u32::MAX);
        own.saturating_add(times.fresh_estimate(size, now).unwrap_or_default().saturating_mul(turns))
    }

    /// Appends an admitted request.
    pub(crate) fn push(&mut self, arrival: &Arrival, now: Instant, payload: T) -> Ticket {
        self.note_arrival(now);
        self.queue.push(arrival, now, payload)
    }

    fn note_arrival(&mut self, now: Instant) {
        if let Some((level, _)) = self.wait.take() {
            self.learner.fruitful(level);
        }
        if let Some((level, until)) = self.unwaited.take()
            && now < until
        {
            self.learner.fruitful(level);
        }
    }

    /// Takes a request out whose caller is gone.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Option<T> {
        self.queue.withdraw(ticket)
    }

    /// Decides what an idle instance does; what came too late is moved to `dropped`.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        times: &ServiceTimes,
        around: Surroundings,
        dropped: &mut Vec<(T, DropReason)>,
    ) -> Decision {
        let look = Look {
            now,
            max_rows: self.rules.max_rows,
            max_requests: self.rules.max_requests,
            service: times.fresh_estimate(self.next_rows(), now),
        };
        let view = self.queue.view(&look, dropped);
        let level = self.queue.len() + around.executing;
        let first = view.rows.first().copied().unwrap_or(1);
        let pays = self.waiting_pays(level, first, times, around, now);
        let decision = decide(&view, &self.rules, pays, now);
        if matches!(decision, Decision::WaitUntil(_)) && self.wait.is_none_or(|(waiting, _)| waiting != level) {
            self.wait = Some((level, now));
        }
        decision
    }

    /// Whether waiting for company can win: something may come, and the time that a joint execution saves is more than
    /// what the wait's hand-over to a thread costs.
    fn waiting_pays(&self, level: usize, rows: u32, times: &ServiceTimes, around: Surroundings, now: Instant) -> bool {
        // A lone request is the occasion to learn what it takes alone.
        let is_quick = || match level {
            0 | 1 => times.may_be_below(rows, HAND_OVER, now),
            _ => times.estimate(rows).is_some_and(|alone| alone < HAND_OVER),
        };
        let saves_little = || self.rate.is_busy(now) && is_quick();
        !around.draining && self.learner.waiting_pays(level) && !saves_little()
    }

    /// Whether a request that comes to an idle instance and an empty queue leaves at once.
    pub(crate) fn leaves_at_once(&self, rows: u32, now: Instant, times: &ServiceTimes, around: Surroundings) -> bool {
        if !self.queue.is_empty() {
            return false;
        }
        if self.rules.max_delay == Duration::ZERO {
            return true;
        }
        let view = QueueView {
            rows: smallvec::smallvec![rows],
            closed: (rows >= self.rules.max_rows).then_some(Closed::Full),
            oldest: Some(now),
            ..QueueView::default()
        };
        let pays = self.waiting_pays(around.executing + 1, rows, times, around, now);
        matches!(decide(&view, &self.rules, pays, now), Decision::Dispatch { .. })
    }

    /// Notes that a request left at once, without having been queued.
    pub(crate) fn note_lone(&mut self, now: Instant, around: Surroundings) {
        if self.rules.max_delay > Duration::ZERO {
            self.note_arrival(now);
            self.note_skip(around.executing + 1, now);
        }
    }

    fn note_skip(&mut self, level: usize, now: Instant) {
        self.learner.skipped(level);
        self.unwaited = now.checked_add(self.rules.max_delay).map(|until| (level, until));
    }

    /// Takes what [`DynamicBatcher::look`] decided to dispatch.
    pub(crate) fn take(
        &mut self,
        requests: usize,
        trigger: BatchTrigger,
        now: Instant,
        around: Surroundings,
        taken: &mut Vec<Taken<T>>,
    ) {
        if self.rules.max_delay > Duration::ZERO {
            let wait = self.wait.take();
            match (trigger, wait) {
                // A wait that was nearly over when its last request came tells nothing.
                (BatchTrigger::Delay, Some((level, since)))
                    if now.saturating_duration_since(since) >= self.rules.max_delay / 8 =>
                {
                    self.learner.fruitless(level);
                }
                (BatchTrigger::Single | BatchTrigger::Idle, _) => {
                    self.note_skip(self.queue.len() + around.executing, now);
                }
                _ => {}
            }
        }
        self.queue.take(requests, taken);
    }

    /// Notes that an execution of `requests` ended: what arrives from now on may be its consequence.
    pub(crate) fn note_executed(&mut self, requests: usize, now: Instant) {
        self.unwaited = None;
        if self.rules.max_delay > Duration::ZERO {
            self.rate.record(requests, now);
        }
    }

    /// Takes everything.
    pub(crate) fn drain(&mut self) -> Vec<Taken<T>> {
        self.queue.drain()
    }
}

#[cfg(test)]
mod tests;

//! What callers and instance threads of one model share: the lock, what it guards, and how to wake each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hanok_backend::{InstancePlacement, Model, ServingError};
use hanok_model_config::ModelConfig;
use hanok_telemetry::ModelStatistics;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::completion::Withdraw;
use crate::dynamic_batcher::drop_error;
use crate::execution::{Executor, Outcome, Report};
use crate::instance_pool::InstanceRunner;
use crate::queue::{DropReason, Taken, Ticket};
use crate::request_sink::Job;
use crate::scheduler_state::{Occupancy, Phase, State};

/// Shared by all who work on one model.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) statistics: Arc<ModelStatistics>,
    pub(crate) default_deadline: Option<Duration>,
    pub(crate) placements: Vec<InstancePlacement>,
    /// Held for short, never while a model executes or an answer goes out.
    pub(crate) state: Mutex<State>,
    /// One per instance: its thread sleeps here.
    pub(crate) wakes: Vec<Condvar>,
    /// Those who wait until nothing is left.
    pub(crate) at_rest: Condvar,
    /// By instance: the GPU whose memory it reads by itself, or [`NO_DEVICE`].
    pub(crate) devices: Vec<AtomicU32>,
}

/// In the place of an ordinal: an instance that computes on the host's memory.
pub(crate) const NO_DEVICE: u32 = u32::MAX;

impl Core {
    /// Notes where the new instance of `runner`, which is at `index`, computes, and lets it call its thread when it is lost while
    /// it is idle.
    pub(crate) fn watch(self: &Arc<Self>, index: usize, runner: &mut InstanceRunner) {
        if let Some(device) = self.devices.get(index) {
            device.store(runner.device.unwrap_or(NO_DEVICE), Ordering::Relaxed);
        }
        let core = Arc::downgrade(self);
        runner.instance.watch_loss(Arc::new(move || {
            if let Some(core) = core.upgrade() {
                core.rouse(index);
            }
        }));
    }

    /// As [`Core::watch`], for every instance, before its thread runs.
    pub(crate) fn watch_all(self: &Arc<Self>) {
        for (index, slot) in self.state.lock().slots.iter_mut().enumerate() {
            if let Occupancy::Free(runner) = &mut slot.occupancy {
                self.watch(index, runner);
            }
        }
    }

    fn rouse(&self, index: usize) {
        let mut state = self.state.lock();
        let wake = state.rouse(index).then_some(index);
        self.unlock(state, wake);
    }

    pub(crate) fn executor(&self) -> Executor<'_> {
        Executor { config: &self.config, statistics: &self.statistics }
    }

    /// Ends a use of the lock: publishes the queue depth, tells those who wait for rest, unlocks, and wakes the thread
    /// that [`State::attend`] chose.
    pub(crate) fn unlock(&self, mut state: MutexGuard<'_, State>, wake: Option<usize>) {
        self.publish(&mut state);
        drop(state);
        if let Some(condvar) = wake.and_then(|index| self.wakes.get(index)) {
            condvar.notify_one();
        }
    }

    /// Publishes what changed, before the lock is given up.
    pub(crate) fn publish(&self, state: &mut State) {
        let change = state.depth_change();
        if change != 0 {
            self.statistics.queue_depth_add(change);
        }
        if state.phase >= Phase::Draining && state.is_at_rest() {
            self.at_rest.notify_all();
        }
    }
}

/// Answers requests that were dropped from the queue. Not under the lock.
pub(crate) fn answer_dropped(dropped: &mut Vec<(Job, DropReason)>) {
    for (mut job, reason) in dropped.drain(..) {
        job.sink.end_with(drop_error(reason));
    }
}

/// Answers requests that nobody can execute. Not under the lock.
pub(crate) fn answer_lost(lost: &mut Vec<Taken<Job>>, error: &ServingError) {
    for (mut job, _) in lost.drain(..) {
        job.sink.end_with(error.clone());
    }
}

/// The answer to requests whose instance broke and was not replaced in time.
pub(crate) fn lost_instance_error() -> ServingError {
    ServingError::unavailable("the model has no working instance at the moment")
}

/// The instance, unless its execution broke it. Not under the lock, since dropping an instance may take long.
pub(crate) fn unbroken(runner: Box<InstanceRunner>, report: &Report) -> Option<Box<InstanceRunner>> {
    if report.outcome == Outcome::Broken {
        runner.discard();
        return None;
    }
    Some(runner)
}

impl Withdraw for Core {
    fn withdraw(&self, ticket: Ticket) {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let job = state.source.withdraw(ticket, &mut dropped);
        let wake = if state.source.is_common() { None } else { state.attend(Instant::now(), &mut dropped) };
        self.unlock(state, wake);
        answer_dropped(&mut dropped);
        drop(job);
    }
}

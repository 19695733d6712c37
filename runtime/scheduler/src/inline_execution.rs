//! Execution of a lone request on its caller's thread: no queue, no hop to another thread and back.
//!
//! Only where the model's own measured time is tens of microseconds, an instance is free and nothing waits. Never on an
//! instance of a GPU: libraries keep what they have there (captured graphs among it) for each thread. What was
//! queued meanwhile is executed here too, within a small budget; for the rest the instance's thread is woken. The caller
//! is held up for about [`INLINE_BUDGET`] at most, as far as measured times can tell.

use std::time::{Duration, Instant};

use hanok_telemetry::BatchTrigger;

use crate::batch_source::BatchSource;
use crate::execution::Report;
use crate::instance_pool::InstanceRunner;
use crate::queue::{DropReason, Taken};
use crate::request_sink::Job;
use crate::scheduler_core::{Core, answer_dropped, answer_lost, lost_instance_error, unbroken};
use crate::scheduler_state::{Next, Occupancy, State, ThreadState};

/// Longest measured execution that may run on a caller's thread.
pub(crate) const INLINE_LIMIT: Duration = Duration::from_micros(50);
/// Longest time that a caller's thread is kept, including what was queued meanwhile.
pub(crate) const INLINE_BUDGET: Duration = Duration::from_micros(100);

/// Takes a free instance for a lone request of `rows`, when it may be executed on the caller's thread.
pub(crate) fn lease_for_lone(state: &mut State, rows: u32, now: Instant) -> Option<(usize, Box<InstanceRunner>)> {
    let BatchSource::Dynamic(batcher) = &state.source else { return None };
    let index = state.free_slot()?;
    if state.is_on_device(index) {
        return None;
    }
    let quick = state.times.estimate(rows).is_some_and(|time| time < INLINE_LIMIT);
    let around = state.surroundings();
    if !quick || !batcher.leaves_at_once(rows, now, &state.times, around) {
        return None;
    }
    let runner = state.lease(index, 1)?;
    if let BatchSource::Dynamic(batcher) = &mut state.source {
        batcher.note_lone(now, around);
    }
    Some((index, runner))
}

/// Executes the lone request, and then what was queued meanwhile, as far as the budget goes.
pub(crate) fn execute_lone(
    core: &Core,
    index: usize,
    mut runner: Box<InstanceRunner>,
    lone: &mut Taken<Job>,
    started: Instant,
) {
    let executor = core.executor();
    let trigger = Some(BatchTrigger::Single);
    let mut report = executor.execute(&mut runner, std::slice::from_mut(lone), trigger, started);
    let (mut batch, mut dropped, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let kept = unbroken(runner, &report);
        let mut state = core.state.lock();
        state.give_back(index, kept, &report, &mut lost);
        let next = if fits_budget(&state, index, started, &report) {
            state.next(index, report.ended, &mut batch, &mut dropped)
        } else {
            Next::Sleep(None)
        };
        let wake = wake_after(&mut state, index, report.ended, &mut dropped);
        core.unlock(state, wake);
        answer_dropped(&mut dropped);
        answer_lost(&mut lost, &lost_instance_error());
        let Next::Execute(leased, trigger) = next else { return };
        runner = leased;
        report = executor.execute(&mut runner, &mut batch, trigger, Instant::now());
        batch.clear();
    }
}

/// Whether what waits can be executed before the caller's time is over.
fn fits_budget(state: &State, index: usize, started: Instant, report: &Report) -> bool {
    let BatchSource::Dynamic(batcher) = &state.source else { return false };
    let usable = matches!(state.slots[index].occupancy, Occupancy::Free(_)) && state.slots[index].directed.is_none();
    if batcher.is_empty() || !usable {
        return false;
    }
    let spent = report.ended.saturating_duration_since(started);
    state.times.estimate(batcher.next_rows()).is_some_and(|time| spent + time < INLINE_BUDGET)
}

/// The thread to wake when a caller is done with an instance: its own where only that one can go on.
fn wake_after(state: &mut State, index: usize, now: Instant, dropped: &mut Vec<(Job, DropReason)>) -> Option<usize> {
    let slot = &mut state.slots[index];
    let own_work = matches!(slot.occupancy, Occupancy::Broken { .. }) || slot.directed.is_some();
    if own_work && slot.thread != ThreadState::Awake {
        slot.thread = ThreadState::Awake;
        return Some(index);
    }
    state.attend(now, dropped)
}

//! The thread of one instance: take a batch, execute it, again; sleep when there is nothing to do.
//!
//! Contains no policy: what to do next is [`State::next`]'s answer. The instance is replaced here when it broke, or was lost
//! while it was idle.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use crate::instance_pool::InstanceRunner;
use crate::overlap;
use crate::scheduler_core::{Core, answer_dropped, answer_lost, lost_instance_error, unbroken};
use crate::scheduler_state::{Next, Occupancy, Phase, State, ThreadState};

/// Works for the instance at `index` until the scheduler stops.
pub(crate) fn run(core: &Arc<Core>, index: usize) {
    let (mut batch, mut dropped, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut state = core.state.lock();
    while state.phase < Phase::Stopping {
        let now = Instant::now();
        if let Some(runner) = state.take_lost(index, now, &mut lost) {
            core.unlock(state, None);
            runner.discard();
            answer_lost(&mut lost, &lost_instance_error());
            state = core.state.lock();
            continue;
        }
        match state.next(index, now, &mut batch, &mut dropped) {
            Next::Execute(mut runner, trigger) => {
                let wake = state.attend(now, &mut dropped);
                core.unlock(state, wake);
                answer_dropped(&mut dropped);
                if let (true, Some(trigger)) = (runner.pipelined, trigger) {
                    overlap::execute(core, index, runner, std::mem::take(&mut batch), trigger, now);
                    state = core.state.lock();
                    continue;
                }
                let report = core.executor().execute(&mut runner, &mut batch, trigger, now);
                batch.clear();
                let runner = unbroken(runner, &report);
                state = core.state.lock();
                state.give_back(index, runner, &report, &mut lost);
            }
            Next::Replace => {
                core.unlock(state, None);
                let runner = replace(core, index);
                state = core.state.lock();
                state.note_replacement(index, runner, Instant::now(), &mut lost);
            }
            // What came too late is answered first; the world may have changed meanwhile.
            Next::Sleep(_) if !dropped.is_empty() => {
                core.unlock(state, None);
                answer_dropped(&mut dropped);
                state = core.state.lock();
            }
            Next::Sleep(until) => {
                core.publish(&mut state);
                sleep(core, index, &mut state, until);
            }
        }
        if !lost.is_empty() {
            core.unlock(state, None);
            answer_lost(&mut lost, &lost_instance_error());
            state = core.state.lock();
        }
    }
    let occupancy = std::mem::replace(&mut state.slots[index].occupancy, Occupancy::Leased);
    core.unlock(state, None);
    if let Occupancy::Free(runner) = occupancy {
        runner.discard();
    }
}

fn sleep(core: &Core, index: usize, state: &mut MutexGuard<'_, State>, until: Option<Instant>) {
    let Some(wake) = core.wakes.get(index) else { return };
    state.slots[index].thread = ThreadState::Asleep(until);
    match until {
        None => wake.wait(state),
        Some(until) => {
            let _timed_out = wake.wait_until(state, until);
        }
    }
    state.slots[index].thread = ThreadState::Awake;
}

fn replace(core: &Arc<Core>, index: usize) -> Option<Box<InstanceRunner>> {
    let placement = core.placements.get(index)?;
    match InstanceRunner::create(core.model.as_ref(), &core.config, placement) {
        Ok(mut runner) => {
            core.watch(index, &mut runner);
            tracing::warn!(model = core.config.name, instance = placement.name, "a broken model instance was replaced");
            Some(runner)
        }
        Err(error) => {
            tracing::error!(
                model = core.config.name,
                instance = placement.name,
                %error,
                "a broken model instance could not be replaced"
            );
            None
        }
    }
}

//! Batches one after another on an instance that takes the next while it computes one.
//!
//! The next leaves the queue early only when it is as large as it may become (full, or of a preferred size): it would be the
//! same batch later. Invariants: batches end in the order in which they began; before one is executed in another way
//! (alone, after a failure) nothing else is under way on the instance; one that panicked, or lost what it runs on, is not
//! called again.

use std::time::Instant;

use hanok_backend::ServingError;
use hanok_telemetry::BatchTrigger;
use smallvec::SmallVec;

use crate::execution::{Outcome, Ran, Report, end_all, panic_error};
use crate::instance_pool::InstanceRunner;
use crate::queue::Taken;
use crate::request_sink::Job;
use crate::scheduler_core::{Core, answer_dropped, answer_lost, lost_instance_error, unbroken};

/// A batch that left the queue.
struct Flight {
    batch: Vec<Taken<Job>>,
    trigger: BatchTrigger,
    /// When it left, or when the one before ended: what it takes is counted from there.
    since: Instant,
    /// Whether it was started; the failure else.
    begun: Ran<()>,
    /// Members that can be executed; the others are answered.
    usable: usize,
}

/// Executes `batch`, and what may follow it without a pause, on the instance at `index`; gives the instance back.
pub(crate) fn execute(
    core: &Core,
    index: usize,
    mut runner: Box<InstanceRunner>,
    batch: Vec<Taken<Job>>,
    trigger: BatchTrigger,
    started: Instant,
) {
    let mut current = begin(core, &mut runner, batch, trigger, started);
    loop {
        let next = match current.begun {
            Ok(Ok(())) => take_next(core, index, &mut runner),
            _ => None,
        };
        if next.as_ref().is_some_and(|next| next.begun.is_err()) {
            return give_up(core, index, runner, [Some(current), next]);
        }
        let ran = end(core, &mut runner, &mut current);
        if is_lost(&runner, &ran) {
            current.begun = ran.map(|result| result.map(|_ended| ()));
            return give_up(core, index, runner, [Some(current), next]);
        }
        let Some(mut next) = next else {
            let report = conclude(core, &mut runner, &mut current, ran);
            return give_back(core, index, runner, &report);
        };
        // Members of a failed batch are tried again alone: nothing else may be under way then.
        let next_ran = if matches!((&ran, &next.begun), (Ok(Err(_)), Ok(Ok(())))) {
            let ran = end(core, &mut runner, &mut next);
            if is_lost(&runner, &ran) {
                next.begun = ran.map(|result| result.map(|_ended| ()));
                return give_up(core, index, runner, [Some(current), Some(next)]);
            }
            Some(ran)
        } else {
            None
        };
        let report = conclude(core, &mut runner, &mut current, ran);
        next.since = report.ended.max(next.since);
        core.state.lock().note_report(index, &report);
        let refused = matches!(next.begun, Ok(Err(_))) && next.usable > 0;
        if report.outcome == Outcome::Broken || (refused && runner.instance.is_lost()) {
            return give_up(core, index, runner, [None, Some(next)]);
        }
        if let Some(ran) = next_ran {
            let report = conclude(core, &mut runner, &mut next, ran);
            return give_back(core, index, runner, &report);
        }
        if refused {
            // Alone on the instance it may have the room that it lacked beside the other.
            next.begun = core.executor().begin(&mut runner, &mut next.batch[..next.usable], next.since);
        }
        current = next;
    }
}

/// Whether the instance is not to be called again: it panicked, or what it runs on is lost.
fn is_lost<T>(runner: &InstanceRunner, ran: &Ran<T>) -> bool {
    match ran {
        Ok(Ok(_)) => false,
        Ok(Err(_)) => runner.instance.is_lost(),
        Err(_) => true,
    }
}

fn begin(
    core: &Core,
    runner: &mut InstanceRunner,
    mut batch: Vec<Taken<Job>>,
    trigger: BatchTrigger,
    since: Instant,
) -> Flight {
    let executor = core.executor();
    let usable = executor.fetch_regions(runner, &mut batch);
    let begun = match batch.split_at_mut(usable).0 {
        [] => Ok(Err(ServingError::internal("no member of the batch could be read"))),
        batch => executor.begin(runner, batch, since),
    };
    Flight { batch, trigger, since, begun, usable }
}

fn take_next(core: &Core, index: usize, runner: &mut InstanceRunner) -> Option<Flight> {
    let (mut batch, mut dropped) = (Vec::new(), Vec::new());
    let mut state = core.state.lock();
    let now = Instant::now();
    let trigger = state.ahead(index, now, &mut batch, &mut dropped);
    let wake = state.attend(now, &mut dropped);
    core.unlock(state, wake);
    answer_dropped(&mut dropped);
    trigger.map(|trigger| begin(core, runner, batch, trigger, now))
}

/// Ends what was begun; a batch that was not has come to what kept it from it.
fn end(core: &Core, runner: &mut InstanceRunner, flight: &mut Flight) -> Ran<Instant> {
    match std::mem::replace(&mut flight.begun, Ok(Ok(()))) {
        Ok(Ok(())) => {
            let batch = &mut flight.batch[..flight.usable];
            core.executor().end(runner, batch, Some(flight.trigger), flight.since)
        }
        Ok(Err(error)) => Ok(Err(error)),
        Err(panic) => Err(panic),
    }
}

fn conclude(core: &Core, runner: &mut InstanceRunner, flight: &mut Flight, ran: Ran<Instant>) -> Report {
    let trigger = Some(flight.trigger);
    let (outcome, ended) = match flight.batch.split_at_mut(flight.usable).0 {
        [] => (Outcome::Failed, Instant::now()),
        batch => core.executor().conclude(runner, batch, trigger, ran),
    };
    report(flight, outcome, ended)
}

/// Ends everything on an instance that is not called again. It is dropped before anybody is answered: until then its device
/// may be at work in memory that callers lent, and that is theirs again with the answer.
fn give_up(core: &Core, index: usize, runner: Box<InstanceRunner>, flights: [Option<Flight>; 2]) {
    runner.discard();
    let reports: SmallVec<[Report; 2]> = flights
        .into_iter()
        .flatten()
        .map(|mut flight| {
            let error = match std::mem::replace(&mut flight.begun, Ok(Ok(()))) {
                Err(panic) => panic_error(panic.as_ref()),
                Ok(Err(error)) => error,
                Ok(Ok(())) => {
                    ServingError::unavailable("the model failed while it executed another request; try again")
                }
            };
            end_all(&mut flight.batch, &error);
            report(&flight, Outcome::Broken, Instant::now())
        })
        .collect();
    let mut lost = Vec::new();
    let mut state = core.state.lock();
    if let Some((last, before)) = reports.split_last() {
        before.iter().for_each(|report| state.note_report(index, report));
        state.give_back(index, None, last, &mut lost);
    }
    core.unlock(state, None);
    answer_lost(&mut lost, &lost_instance_error());
}

fn report(flight: &Flight, outcome: Outcome, ended: Instant) -> Report {
    Report {
        rows: flight.batch.iter().map(|(job, _)| job.request.rows).sum(),
        requests: flight.batch.len(),
        elapsed: ended.saturating_duration_since(flight.since),
        ended,
        outcome,
    }
}

fn give_back(core: &Core, index: usize, runner: Box<InstanceRunner>, report: &Report) {
    let mut lost = Vec::new();
    let runner = unbroken(runner, report);
    let mut state = core.state.lock();
    state.give_back(index, runner, report, &mut lost);
    core.unlock(state, None);
    answer_lost(&mut lost, &lost_instance_error());
}

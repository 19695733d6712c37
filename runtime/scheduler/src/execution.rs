//! One execution: gather the members' inputs, call the instance, answer everybody.
//!
//! Whatever the model does (answers, errs, panics, forgets members), every member is answered when this returns. Which
//! requests are together was decided before; no lock is held here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hanok_backend::{
    Batch, BatchInput, InferenceRequest, Member, ModelInstance, PipelinedInstance, RequestTiming, ServingError,
};
use hanok_model_config::{ModelConfig, Scheduling, SequenceControlInput};
use hanok_telemetry::{Activity, BatchRecord, BatchTrigger, ModelStatistics};
use hanok_tensor::{AlignedBuffer, Shape, concatenate_into};
use smallvec::SmallVec;

use crate::control_tensors::fill_control;
use crate::instance_pool::{InstanceRunner, panic_text};
use crate::queue::Taken;
use crate::request_sink::Job;

/// The batch's requests as members, in an expression that uses them; a lone one costs no allocation.
macro_rules! with_members {
    ($batch:expr, |$members:ident| $work:expr) => {
        match $batch {
            [(Job { request, sink }, _)] => {
                let $members = &mut [Member::new(request, sink)];
                $work
            }
            batch => {
                let mut all: Vec<Member<'_>> =
                    batch.iter_mut().map(|(Job { request, sink }, _)| Member::new(request, sink)).collect();
                let $members = &mut all[..];
                $work
            }
        }
    };
}

/// What the execution of a batch came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) rows: u32,
    pub(crate) requests: usize,
    pub(crate) elapsed: Duration,
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The model executed it.
    Executed,
    /// The model gave an error.
    Failed,
    /// The model panicked, or lost what it runs on: its instance is not to be used again.
    Broken,
}

/// Executes batches of one model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Executor<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) statistics: &'a ModelStatistics,
}

impl Executor<'_> {
    /// Executes `batch` and answers all its members. Without a `trigger` it is not counted (warm-up).
    pub(crate) fn execute(
        &self,
        runner: &mut InstanceRunner,
        batch: &mut [Taken<Job>],
        trigger: Option<BatchTrigger>,
        started: Instant,
    ) -> Report {
        let rows = batch.iter().map(|(job, _)| job.request.rows).sum();
        let usable = self.fetch_regions(runner, batch);
        let (outcome, ended) = match batch.split_at_mut(usable).0 {
            [] => (Outcome::Failed, Instant::now()),
            batch => self.attempt(runner, batch, trigger, started),
        };
        let elapsed = ended.saturating_duration_since(started);
        Report { rows, requests: batch.len(), elapsed, ended, outcome }
    }

    /// Brings what the instance does not read by itself out of regions. Members for which that fails are answered and moved
    /// behind the others; gives how many are left.
    pub(crate) fn fetch_regions(&self, runner: &InstanceRunner, batch: &mut [Taken<Job>]) -> usize {
        let mut usable = batch.len();
        if batch.iter().all(|(job, _)| job.request.regions.is_none()) {
            return usable;
        }
        let mut index = 0;
        while index < usable {
            match batch[index].0.request.fetch_regions(self.config, runner.device) {
                Ok(()) => index += 1,
                Err(error) => {
                    batch[index].0.sink.end_with(error);
                    batch[index..usable].rotate_left(1);
                    usable -= 1;
                }
            }
        }
        usable
    }

    fn attempt(
        &self,
        runner: &mut InstanceRunner,
        batch: &mut [Taken<Job>],
        trigger: Option<BatchTrigger>,
        started: Instant,
    ) -> (Outcome, Instant) {
        let ran = guarded(|| with_members!(&mut *batch, |members| self.run(runner, members, trigger, started)));
        self.conclude(runner, batch, trigger, ran)
    }

    /// What follows an execution that `ran`: whoever has no answer gets one.
    pub(crate) fn conclude(
        &self,
        runner: &mut InstanceRunner,
        batch: &mut [Taken<Job>],
        trigger: Option<BatchTrigger>,
        ran: Ran<Instant>,
    ) -> (Outcome, Instant) {
        match ran {
            Ok(Ok(ended)) => (Outcome::Executed, ended),
            Ok(Err(error)) if runner.instance.is_lost() => {
                end_all(batch, &error);
                (Outcome::Broken, Instant::now())
            }
            Ok(Err(error)) if batch.len() > 1 && !batch.iter().any(|(job, _)| job.sink.was_answered()) => {
                tracing::debug!(members = batch.len(), %error, "a batch failed; each member is executed alone");
                self.attempt_each_alone(runner, batch, trigger)
            }
            Ok(Err(error)) => {
                end_all(batch, &error);
                (Outcome::Failed, Instant::now())
            }
            Err(panic) => {
                end_all(batch, &panic_error(panic.as_ref()));
                (Outcome::Broken, Instant::now())
            }
        }
    }

    /// Executes each member of a failed batch alone, so that one bad member cannot fail its neighbours.
    fn attempt_each_alone(
        &self,
        runner: &mut InstanceRunner,
        batch: &mut [Taken<Job>],
        trigger: Option<BatchTrigger>,
    ) -> (Outcome, Instant) {
        let retry = trigger.map(|_| BatchTrigger::Retry);
        for index in 0..batch.len() {
            if hanok_backend::ResponseSink::is_cancelled(&batch[index].0.sink) {
                continue;
            }
            let alone = &mut batch[index..=index];
            if let (Outcome::Broken, ended) = self.attempt(runner, alone, retry, Instant::now()) {
                end_all(batch, &ServingError::internal("the model failed while executing the request"));
                return (Outcome::Broken, ended);
            }
        }
        (Outcome::Failed, Instant::now())
    }

    /// Gathers, executes and, unless the model erred, answers.
    fn run<'a>(
        &'a self,
        runner: &'a mut InstanceRunner,
        members: &'a mut [Member<'a>],
        trigger: Option<BatchTrigger>,
        started: Instant,
    ) -> Result<Instant, ServingError> {
        let InstanceRunner { instance, buffers, device, .. } = runner;
        mark_members(members, Activity::ComputeStart, started);
        let inputs = gather(self.config, buffers, members, device.is_some());
        let mut batch = Batch::new(self.config, inputs, members);
        let gathered = Instant::now();
        mark_members(batch.members(), Activity::ComputeInputEnd, gathered);
        instance.execute(&mut batch)?;
        let executed = Instant::now();
        Ok(self.answer(batch, trigger, nanoseconds(gathered - started), nanoseconds(executed - gathered), executed))
    }

    /// Starts a batch, which left the queue at `since`, on an instance that overlaps them; what it came to is told by
    /// [`Executor::end`].
    pub(crate) fn begin(&self, runner: &mut InstanceRunner, batch: &mut [Taken<Job>], since: Instant) -> Ran<()> {
        let InstanceRunner { instance, buffers, .. } = runner;
        guarded(|| {
            with_members!(batch, |members| {
                mark_members(members, Activity::ComputeStart, since);
                let inputs = gather(self.config, buffers, members, true);
                let mut batch = Batch::new(self.config, inputs, members);
                pipelined(instance.as_mut())?.begin(&mut batch)
            })
        })
    }

    /// Waits for the batch that was begun first and, unless the model erred, answers. It is computed since `started`.
    pub(crate) fn end(
        &self,
        runner: &mut InstanceRunner,
        batch: &mut [Taken<Job>],
        trigger: Option<BatchTrigger>,
        started: Instant,
    ) -> Ran<Instant> {
        let instance = &mut runner.instance;
        guarded(|| {
            with_members!(batch, |members| {
                let mut batch = Batch::new(self.config, SmallVec::new(), members);
                pipelined(instance.as_mut())?.end(&mut batch)?;
                let executed = Instant::now();
                Ok(self.answer(batch, trigger, 0, nanoseconds(executed.saturating_duration_since(started)), executed))
            })
        })
    }

    /// Answers every member and counts the batch: by the device's clock where it told its times, else by the host's.
    fn answer(
        &self,
        batch: Batch<'_>,
        trigger: Option<BatchTrigger>,
        input_ns: u64,
        infer_ns: u64,
        executed: Instant,
    ) -> Instant {
        let (rows, requests, device) = (batch.rows(), batch.members().len(), batch.device_times());
        let (compute_input_ns, compute_infer_ns, copied_ns) =
            device.map_or((input_ns, infer_ns, 0), |times| (times.input_ns, times.infer_ns, times.output_ns));
        let spans = batch.device_spans();
        batch.finish(None, |request: &InferenceRequest| {
            if let Some(times) = &request.trace {
                times.mark_at(Activity::ComputeOutputStart, executed);
                if let Some(spans) = &spans {
                    times.mark_device(spans);
                }
                times.mark(Activity::ComputeEnd);
            }
            RequestTiming {
                queue_ns: 0,
                compute_input_ns,
                compute_infer_ns,
                compute_output_ns: copied_ns + nanoseconds(executed.elapsed()),
            }
        });
        let ended = Instant::now();
        if let Some(trigger) = trigger {
            self.statistics.record_batch(&BatchRecord {
                rows: u32::try_from(rows).unwrap_or(u32::MAX),
                requests: u32::try_from(requests).unwrap_or(u32::MAX),
                trigger,
                compute_input_ns,
                compute_infer_ns,
                compute_output_ns: copied_ns + nanoseconds(ended - executed),
            });
            if device.is_some() {
                self.statistics.device_busy_add(compute_infer_ns);
            }
        }
        ended
    }
}

/// Notes for those of `members` that are traced that they have come to `activity`.
fn mark_members(members: &[Member<'_>], activity: Activity, at: Instant) {
    for member in members {
        if let Some(times) = &member.request().trace {
            times.mark_at(activity, at);
        }
    }
}

/// What an execution came to: a result, or the panic of a backend.
pub(crate) type Ran<T> = std::thread::Result<Result<T, ServingError>>;

fn guarded<T>(work: impl FnOnce() -> Result<T, ServingError>) -> Ran<T> {
    catch_unwind(AssertUnwindSafe(work))
}

fn pipelined(instance: &mut dyn ModelInstance) -> Result<&mut dyn PipelinedInstance, ServingError> {
    instance.pipelined().ok_or_else(|| ServingError::internal("an instance stopped overlapping its batches"))
}

/// What the members of a batch are told in which the model panicked.
pub(crate) fn panic_error(panic: &(dyn std::any::Any + Send)) -> ServingError {
    ServingError::internal("the model failed while executing the request").with_operator_detail(panic_text(panic))
}

pub(crate) fn end_all(batch: &mut [Taken<Job>], error: &ServingError) {
    for (job, _) in batch {
        if !job.sink.is_ended() {
            job.sink.end_with(error.clone());
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The inputs of the whole batch: a lone member's bytes in place, several members' joined in the instance's buffers, or left
/// to an instance that gathers by itself.
fn gather<'a>(
    config: &'a ModelConfig,
    buffers: &'a mut [AlignedBuffer],
    members: &[Member<'a>],
    by_instance: bool,
) -> SmallVec<[Option<BatchInput<'a>>; 2]> {
    let controls: &[SequenceControlInput] = match &config.scheduling {
        Scheduling::Sequence(sequence) => &sequence.controls,
        _ => &[],
    };
    let mut inputs = SmallVec::new();
    for (index, buffer) in buffers.iter_mut().enumerate() {
        inputs.push(match index.checked_sub(config.inputs.len()) {
            None => gather_input(config, index, buffer, members, by_instance),
            Some(control) => controls.get(control).map(|control| fill_control(config, control, buffer, members)),
        });
    }
    inputs
}

fn gather_input<'a>(
    config: &ModelConfig,
    index: usize,
    buffer: &'a mut AlignedBuffer,
    members: &[Member<'a>],
    by_instance: bool,
) -> Option<BatchInput<'a>> {
    let part = |member: &Member<'a>| member.request().inputs.get(index).and_then(Option::as_ref);
    let first = members.first().and_then(part)?;
    if members.len() == 1 {
        return Some(BatchInput { shape: first.shape.clone(), data: &first.data });
    }
    let mut shape: Shape = first.shape.clone();
    if config.batches() && shape.rank() > 0 {
        let outer = |member: &Member<'a>| part(member).and_then(|input| input.shape.first().copied()).unwrap_or(0);
        shape[0] = members.iter().map(outer).sum();
    }
    if by_instance {
        return Some(BatchInput { shape, data: &[] });
    }
    concatenate_into(buffer, members.iter().filter_map(part).map(|input| &input.data[..]));
    Some(BatchInput { shape, data: buffer })
}

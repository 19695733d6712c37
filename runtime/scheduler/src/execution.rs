//! One execution: gather the members' inputs, call the instance, answer everybody.
//!
//! Whatever the model does (answers, errs, panics, forgets members), every member is answered when this returns. Which
//! requests are together was decided before; no lock is held here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hanok_backend::{Batch, BatchInput, InferenceRequest, Member, RequestTiming, ServingError};
use hanok_model_config::{ModelConfig, Scheduling, SequenceControlInput};
use hanok_telemetry::{BatchRecord, BatchTrigger, ModelStatistics};
use hanok_tensor::{AlignedBuffer, Shape, concatenate_into};
use smallvec::SmallVec;

use crate::control_tensors::fill_control;
use crate::instance_pool::{InstanceRunner, panic_text};
use crate::queue::Taken;
use crate::request_sink::Job;

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
    /// The model panicked: its instance is not to be used again.
    Panicked,
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
        let (outcome, ended) = self.attempt(runner, batch, trigger, started);
        let elapsed = ended.saturating_duration_since(started);
        Report { rows, requests: batch.len(), elapsed, ended, outcome }
    }

    fn attempt(
        &self,
        runner: &mut InstanceRunner,
        batch: &mut [Taken<Job>],
        trigger: Option<BatchTrigger>,
        started: Instant,
    ) -> (Outcome, Instant) {
        let ran = catch_unwind(AssertUnwindSafe(|| match batch {
            [(Job { request, sink }, _)] => self.run(runner, &mut [Member::new(request, sink)], trigger, started),
            _ => {
                let mut members: Vec<Member<'_>> =
                    batch.iter_mut().map(|(Job { request, sink }, _)| Member::new(request, sink)).collect();
                self.run(runner, &mut members, trigger, started)
            }
        }));
        match ran {
            Ok(Ok(ended)) => (Outcome::Executed, ended),
            Ok(Err(error)) if batch.len() > 1 && !batch.iter().any(|(job, _)| job.sink.was_answered()) => {
                tracing::debug!(members = batch.len(), %error, "a batch failed; each member is executed alone");
                self.attempt_each_alone(runner, batch, trigger)
            }
            Ok(Err(error)) => {
                end_all(batch, &error);
                (Outcome::Failed, Instant::now())
            }
            Err(panic) => {
                let error = ServingError::internal("the model failed while executing the request")
                    .with_operator_detail(panic_text(panic.as_ref()));
                end_all(batch, &error);
                (Outcome::Panicked, Instant::now())
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
            if let (Outcome::Panicked, ended) = self.attempt(runner, alone, retry, Instant::now()) {
                end_all(batch, &ServingError::internal("the model failed while executing the request"));
                return (Outcome::Panicked, ended);
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
        let InstanceRunner { instance, buffers } = runner;
        let requests = members.len();
        let inputs = gather(self.config, buffers, members);
        let mut batch = Batch::new(self.config, inputs, members);
        let rows = batch.rows();
        let gathered = Instant::now();
        instance.execute(&mut batch)?;
        let executed = Instant::now();
        let compute_input_ns = nanoseconds(gathered - started);
        let compute_infer_ns = nanoseconds(executed - gathered);
        batch.finish(None, |_: &InferenceRequest| RequestTiming {
            queue_ns: 0,
            compute_input_ns,
            compute_infer_ns,
            compute_output_ns: nanoseconds(executed.elapsed()),
        });
        let ended = Instant::now();
        if let Some(trigger) = trigger {
            self.statistics.record_batch(&BatchRecord {
                rows: u32::try_from(rows).unwrap_or(u32::MAX),
                requests: u32::try_from(requests).unwrap_or(u32::MAX),
                trigger,
                compute_input_ns,
                compute_infer_ns,
                compute_output_ns: nanoseconds(ended - executed),
            });
        }
        Ok(ended)
    }
}

fn end_all(batch: &mut [Taken<Job>], error: &ServingError) {
    for (job, _) in batch {
        if !job.sink.is_ended() {
            job.sink.end_with(error.clone());
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The inputs of the whole batch: a lone member's bytes in place, several members' joined in the instance's buffers.
fn gather<'a>(
    config: &'a ModelConfig,
    buffers: &'a mut [AlignedBuffer],
    members: &[Member<'a>],
) -> SmallVec<[Option<BatchInput<'a>>; 2]> {
    let controls: &[SequenceControlInput] = match &config.scheduling {
        Scheduling::Sequence(sequence) => &sequence.controls,
        _ => &[],
    };
    let mut inputs = SmallVec::new();
    for (index, buffer) in buffers.iter_mut().enumerate() {
        inputs.push(match index.checked_sub(config.inputs.len()) {
            None => gather_input(config, index, buffer, members),
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
    concatenate_into(buffer, members.iter().filter_map(part).map(|input| &input.data[..]));
    Some(BatchInput { shape, data: buffer })
}

//! Where a model's batches come from: the dynamic batcher's queue, or the table of sequences.
//!
//! One face for the two, so that instances and their threads need not know which it is. No clock, no lock.

use std::time::Instant;

use hanok_backend::{SequenceId, ServingError};
use hanok_model_config::{ModelConfig, Scheduling};
use hanok_telemetry::BatchTrigger;

use crate::dynamic_batcher::{DynamicBatcher, Surroundings};
use crate::dynamic_batching::{BatchRules, Decision};
use crate::queue::{Arrival, DropReason, Taken, Ticket};
use crate::queue_policy::QueuePolicies;
use crate::request_sink::Job;
use crate::sequence_batching::{SequenceBatcher, SequenceSettings};
use crate::service_time::ServiceTimes;

/// Waiting requests of one model.
#[derive(Debug)]
pub(crate) enum BatchSource {
    Dynamic(DynamicBatcher<Job>),
    Sequence(SequenceBatcher<Job>),
}

impl BatchSource {
    /// The source that a configuration asks for.
    pub(crate) fn of(config: &ModelConfig, instances: usize, max_queue: usize) -> Self {
        match &config.scheduling {
            Scheduling::Sequence(sequence) => Self::Sequence(SequenceBatcher::new(SequenceSettings {
                model: config.name.clone(),
                instances,
                slots: config.max_batch_size.max(1) as usize,
                max_idle: sequence.max_sequence_idle,
                max_queue,
            })),
            Scheduling::Dynamic(batching) => {
                Self::Dynamic(DynamicBatcher::new(QueuePolicies::of(batching), BatchRules::of(config), max_queue))
            }
            Scheduling::Default => Self::Dynamic(DynamicBatcher::new(
                QueuePolicies::first_in_first_out(),
                BatchRules::of(config),
                max_queue,
            )),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Dynamic(batcher) => batcher.len(),
            Self::Sequence(batcher) => batcher.len(),
        }
    }

    /// Whether the request may enter.
    pub(crate) fn admit(
        &self,
        job: &Job,
        arrival: &Arrival,
        now: Instant,
        times: &ServiceTimes,
        around: Surroundings,
    ) -> Result<(), ServingError> {
        match self {
            Self::Dynamic(batcher) => batcher.admit(arrival, now, times, around),
            Self::Sequence(batcher) => {
                batcher.admit(job.request.sequence.as_deref(), job.request.rows).map(|_control| ())
            }
        }
    }

    /// Appends an admitted request.
    pub(crate) fn push(&mut self, arrival: &Arrival, now: Instant, job: Job) -> Ticket {
        match self {
            Self::Dynamic(batcher) => batcher.push(arrival, now, job),
            Self::Sequence(batcher) => {
                let Some(control) = job.request.sequence.clone() else { return Ticket { level: 0, number: u64::MAX } };
                batcher.push(&control, arrival.deadline, now, job)
            }
        }
    }

    /// Takes a request out whose caller is gone; what cannot be executed without it is moved to `dropped`.
    pub(crate) fn withdraw(&mut self, ticket: Ticket, dropped: &mut Vec<(Job, DropReason)>) -> Option<Job> {
        match self {
            Self::Dynamic(batcher) => batcher.withdraw(ticket),
            Self::Sequence(batcher) => batcher.withdraw(ticket, dropped),
        }
    }

    /// Whether there may be something to do for an idle `instance`.
    pub(crate) fn may_have_work(&self, instance: usize) -> bool {
        match self {
            Self::Dynamic(batcher) => !batcher.is_empty(),
            Self::Sequence(batcher) => batcher.has_ready(instance),
        }
    }

    /// Whether any instance can do any work; if not, work belongs to the instance that holds its sequence.
    pub(crate) const fn is_common(&self) -> bool {
        matches!(self, Self::Dynamic(_))
    }

    /// Decides what an idle `instance` does.
    pub(crate) fn look(
        &mut self,
        instance: usize,
        now: Instant,
        times: &ServiceTimes,
        around: Surroundings,
        dropped: &mut Vec<(Job, DropReason)>,
    ) -> Decision {
        match self {
            Self::Dynamic(batcher) => batcher.look(now, times, around, dropped),
            Self::Sequence(batcher) => batcher.look(instance, now, dropped),
        }
    }

    /// Takes what was decided.
    pub(crate) fn take(
        &mut self,
        instance: usize,
        (requests, trigger): (usize, BatchTrigger),
        now: Instant,
        around: Surroundings,
        taken: &mut Vec<Taken<Job>>,
    ) {
        match self {
            Self::Dynamic(batcher) => batcher.take(requests, trigger, now, around, taken),
            Self::Sequence(batcher) => batcher.take(instance, requests, taken),
        }
    }

    /// Whether this sequence lives here.
    pub(crate) fn holds_sequence(&self, id: &SequenceId) -> bool {
        match self {
            Self::Dynamic(_) => false,
            Self::Sequence(batcher) => batcher.holds(id),
        }
    }

    /// Notes that a batch of so many requests was executed by `instance`.
    pub(crate) fn note_executed(&mut self, instance: usize, requests: usize, now: Instant) {
        match self {
            Self::Dynamic(batcher) => batcher.note_executed(requests, now),
            Self::Sequence(batcher) => batcher.note_executed(instance, now),
        }
    }

    /// Notes that the state of `instance` is lost; gives back the requests that depend on it.
    pub(crate) fn lose_instance(&mut self, instance: usize) -> Vec<Taken<Job>> {
        match self {
            Self::Dynamic(_) => Vec::new(),
            Self::Sequence(batcher) => batcher.lose_instance(instance),
        }
    }

    /// Takes everything.
    pub(crate) fn drain(&mut self) -> Vec<Taken<Job>> {
        match self {
            Self::Dynamic(batcher) => batcher.drain(),
            Self::Sequence(batcher) => batcher.drain(),
        }
    }
}

//! The scheduler of one model version: where requests enter, and where its threads begin and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use hanok_backend::{ErrorCode, InferenceRequest, InferenceResponse, Model, SequenceId, ServingError};
use hanok_model_config::Scheduling;
use hanok_telemetry::Activity;
use parking_lot::{Condvar, Mutex};

use crate::batch_source::BatchSource;
use crate::completion::{Answer, ResponseCell, Withdrawal};
use crate::dynamic_batcher::drop_error;
use crate::inline_execution::{execute_lone, lease_for_lone};
use crate::instance_pool::{InstanceRunner, placements, thread_name};
use crate::queue::{Arrival, DropReason, Taken, Ticket};
use crate::request_sink::{Destination, Job, RequestSink};
use crate::response_stream::StreamCell;
use crate::scheduler_core::{Core, NO_DEVICE, answer_dropped, answer_lost};
use crate::scheduler_state::{Phase, State, ThreadState};
use crate::{ResponseFuture, ResponseStream, SchedulerSettings, Submission, UnreadBudget, wait, worker};

/// Schedules one version of one model: queue, batching, instances and their threads.
///
/// Dropping it answers everything queued with `Unavailable`, lets running executions end and joins the threads: it
/// blocks as long as an execution takes, so drop it where that is allowed.
#[derive(Debug)]
pub struct ModelScheduler {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of a request that was offered.
#[allow(clippy::large_enum_variant, reason = "moved once; a box would be the allocation that inline execution saves")]
enum Entered {
    Refused(ServingError),
    Queued(Ticket),
    Executed(Job),
}

impl ModelScheduler {
    /// Creates the instances on the calling thread (may take long) and starts one thread for each.
    ///
    /// # Errors
    /// What [`Model::create_instance`] answers; `ResourceExhausted` when there are too many instances or no thread can
    /// be started.
    #[allow(clippy::needless_pass_by_value, reason = "settings are given away: their parts live on in the threads")]
    pub fn start(model: Arc<dyn Model>, settings: SchedulerSettings) -> Result<Self, ServingError> {
        let config = settings.config;
        let placements = placements(&config)?;
        let mut runners = Vec::with_capacity(placements.len());
        for placement in &placements {
            runners.push(InstanceRunner::create(model.as_ref(), &config, placement)?);
        }
        let source = BatchSource::of(&config, runners.len(), settings.max_queue);
        // Streams of decoupled models are not held back: one of them may never end.
        let preserve_ordering = !config.decoupled
            && matches!(&config.scheduling, Scheduling::Dynamic(batching) if batching.preserve_ordering);
        let core = Arc::new(Core {
            model,
            statistics: settings.statistics,
            default_deadline: settings.default_deadline,
            wakes: placements.iter().map(|_| Condvar::new()).collect(),
            devices: placements.iter().map(|_| AtomicU32::new(NO_DEVICE)).collect(),
            state: Mutex::new(State::new(source, runners, preserve_ordering)),
            at_rest: Condvar::new(),
            placements,
            config,
        });
        core.watch_all();
        let mut scheduler = Self { core, threads: Vec::new() };
        for (index, placement) in scheduler.core.placements.iter().enumerate() {
            let core = Arc::clone(&scheduler.core);
            let thread = std::thread::Builder::new()
                .name(thread_name(placement, index))
                .spawn(move || worker::run(&core, index))
                .map_err(|error| {
                    ServingError::new(ErrorCode::ResourceExhausted, "no thread could be started for a model instance")
                        .with_operator_detail(error.to_string())
                })?;
            scheduler.threads.push(thread);
        }
        Ok(scheduler)
    }

    /// Takes one request: answers it at once (executed on the calling thread, when that takes tens of microseconds, or
    /// refused) or queues it. Never blocks for longer than such an execution.
    ///
    /// Refusals: `Unavailable` when draining, when the queue is full or no instance works; `DeadlineExceeded` when the
    /// deadline passed or cannot be met; `InvalidArgument` for a sequence that was not started.
    #[must_use]
    pub fn submit(&self, request: InferenceRequest) -> Submission {
        let mut cell = None;
        let job = Job { request, sink: RequestSink::new(Destination::Inline(None)) };
        let entered = self.enter(job, |job| {
            let shared = ResponseCell::new();
            job.sink.redirect(Destination::Once(Arc::clone(&shared), None));
            cell = Some(shared);
        });
        match (entered, cell) {
            (Entered::Queued(ticket), Some(cell)) => {
                Submission::Pending(ResponseFuture::new(cell, self.withdrawal(ticket)))
            }
            (Entered::Executed(mut job), _) => {
                let forgotten = || Err(ServingError::internal("the request ended without an answer"));
                Submission::Done(job.sink.take_inline().unwrap_or_else(forgotten))
            }
            (Entered::Refused(error), _) => Submission::Done(Err(error)),
            (Entered::Queued(_), None) => {
                Submission::Done(Err(ServingError::internal("the request was queued without a way back")))
            }
        }
    }

    /// Takes one request whose responses are streamed; for decoupled models, and for streams of ordinary ones.
    ///
    /// At most 1,024 responses may lie unread, and of bytes what `unread`, the caller's budget, has room for; then the
    /// request is cancelled and the stream ends with an error.
    #[must_use]
    pub fn submit_stream(&self, request: InferenceRequest, unread: &Arc<UnreadBudget>) -> ResponseStream {
        let cell = StreamCell::new(unread);
        let job = Job { request, sink: RequestSink::new(Destination::Stream(Arc::clone(&cell))) };
        match self.enter(job, |_job| {}) {
            Entered::Queued(ticket) => ResponseStream::new(cell, Some(self.withdrawal(ticket))),
            Entered::Executed(_) => ResponseStream::new(cell, None),
            Entered::Refused(error) => {
                Destination::Stream(Arc::clone(&cell)).deliver(crate::StreamedResponse::new(Some(Err(error)), true));
                ResponseStream::new(cell, None)
            }
        }
    }

    fn withdrawal(&self, ticket: Ticket) -> Withdrawal {
        Withdrawal { queue: Arc::clone(&self.core) as Arc<dyn crate::completion::Withdraw>, ticket }
    }

    /// Refuses, executes or queues the request; `before_queueing` gives it its way back.
    fn enter(&self, mut job: Job, before_queueing: impl FnOnce(&mut Job)) -> Entered {
        let core = &*self.core;
        let now = Instant::now();
        if let Some(times) = &job.request.trace {
            times.mark_at(Activity::QueueStart, now);
        }
        let arrival = match self.arrival(&job.request, now) {
            Ok(arrival) => arrival,
            Err(error) => return refuse(job, error),
        };
        let mut state = core.state.lock();
        let around = state.surroundings();
        let admitted =
            state.check_open(now).and_then(|()| state.source.admit(&job, &arrival, now, &state.times, around));
        if let Err(error) = admitted {
            drop(state);
            return refuse(job, error);
        }
        // What lies in a region is copied, which may block.
        if !core.config.decoupled
            && job.request.regions.is_none()
            && let Some((index, runner)) = lease_for_lone(&mut state, arrival.rows, now)
        {
            let order = state.next_order();
            drop(state);
            job.sink.begin(now, now, order);
            let mut lone = (job, now);
            execute_lone(core, index, runner, &mut lone, now);
            return Entered::Executed(lone.0);
        }
        before_queueing(&mut job);
        let ticket = state.source.push(&arrival, now, job);
        let mut dropped = Vec::new();
        let wake = state.attend(now, &mut dropped);
        core.unlock(state, wake);
        answer_dropped(&mut dropped);
        Entered::Queued(ticket)
    }

    fn arrival(&self, request: &InferenceRequest, now: Instant) -> Result<Arrival, ServingError> {
        let most = self.core.config.max_batch_size.max(1);
        if request.rows > most {
            let rows = request.rows;
            return Err(ServingError::invalid(format!("expected at most `{most}` rows in a request, got `{rows}`")));
        }
        let latest = self.core.default_deadline.and_then(|limit| request.received.checked_add(limit));
        let deadline = request.deadline.or(latest);
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(drop_error(DropReason::Deadline));
        }
        Ok(Arrival {
            rows: request.rows,
            priority: request.priority,
            timeout_microseconds: request.timeout_microseconds,
            deadline,
        })
    }

    /// Executes one request on every instance, each on its own thread, and waits: for warming up on a loading thread.
    /// Not counted in the statistics.
    ///
    /// # Errors
    /// What the model answers on any instance; `Unavailable` while draining or while another warm-up runs.
    #[allow(clippy::needless_pass_by_value, reason = "a request is given away, here as elsewhere")]
    pub fn execute_warmup(&self, request: InferenceRequest) -> Result<InferenceResponse, ServingError> {
        let now = Instant::now();
        let mut state = self.core.state.lock();
        state.check_open(now)?;
        if state.slots.iter().any(|slot| slot.directed.is_some()) {
            return Err(ServingError::unavailable("the model is being warmed up already"));
        }
        let mut cells = Vec::with_capacity(state.slots.len());
        for slot in &mut state.slots {
            let cell = ResponseCell::new();
            let sink = RequestSink::new(Destination::Once(Arc::clone(&cell), None));
            slot.directed = Some((Job { request: request.clone(), sink }, now));
            slot.thread = ThreadState::Awake;
            cells.push(cell);
        }
        drop(state);
        for wake in &self.core.wakes {
            wake.notify_one();
        }
        let answers: Vec<Answer> = cells.iter().map(|cell| wait::wait_for(cell)).collect();
        answers
            .into_iter()
            .reduce(|first, next| first.and(next))
            .unwrap_or_else(|| Err(ServingError::internal("the model has no instance")))
    }

    /// Requests in the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.core.state.lock().source.len()
    }

    /// Requests submitted and not answered: queued or in execution.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = self.core.state.lock();
        state.source.len() + state.executing
    }

    /// Whether every instance reads tensors of numbers in regions on the GPU `ordinal` by itself, so that they are not brought
    /// to the host.
    #[must_use]
    pub fn reads_on_device(&self, ordinal: u32) -> bool {
        self.core.devices.iter().all(|device| device.load(Ordering::Relaxed) == ordinal)
    }

    /// Whether this sequence lives here: it was started and has neither ended nor been given up.
    #[must_use]
    pub fn holds_sequence(&self, id: &SequenceId) -> bool {
        self.core.state.lock().source.holds_sequence(id)
    }

    /// False after five failures in a row, of executions by panic or of replacing an instance; true again after one
    /// success. It goes on trying with new work.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.core.state.lock().is_healthy()
    }

    /// From now on every new request is refused with `Unavailable`; what is queued is executed without further delay.
    pub fn drain(&self) {
        let mut dropped = Vec::new();
        let mut state = self.core.state.lock();
        if state.phase < Phase::Draining {
            state.phase = Phase::Draining;
        }
        let wake = state.attend(Instant::now(), &mut dropped);
        self.core.unlock(state, wake);
        answer_dropped(&mut dropped);
    }

    /// Waits until nothing is queued or in execution; false when `until` came first. Blocks; call
    /// [`ModelScheduler::drain`] before.
    #[must_use]
    pub fn wait_drained(&self, until: Instant) -> bool {
        let mut state = self.core.state.lock();
        while !state.is_at_rest() {
            if self.core.at_rest.wait_until(&mut state, until).timed_out() {
                return state.is_at_rest();
            }
        }
        true
    }
}

fn refuse(mut job: Job, error: ServingError) -> Entered {
    job.sink.forget();
    Entered::Refused(error)
}

impl Drop for ModelScheduler {
    fn drop(&mut self) {
        let mut state = self.core.state.lock();
        state.phase = Phase::Stopping;
        let mut queued: Vec<Taken<Job>> = state.source.drain();
        queued.extend(state.slots.iter_mut().filter_map(|slot| slot.directed.take()));
        self.core.unlock(state, None);
        answer_lost(&mut queued, &ServingError::unavailable("the model was unloaded"));
        for wake in &self.core.wakes {
            wake.notify_one();
        }
        for thread in self.threads.drain(..) {
            // An answer's waker may have dropped us on one of our own threads, which cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!(model = self.core.config.name, "a model instance's thread ended by a panic");
            }
        }
    }
}

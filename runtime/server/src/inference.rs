//! One inference request, from validated to answered, the same for every protocol.
//!
//! The invariant: each request that reaches a model is counted exactly once, as a success or as a failure with its
//! reason, also when its caller goes away.

use std::time::{Duration, Instant};

use hanok_backend::{ErrorCode, InferenceRequest, InferenceResponse, Parameters, ServingError};
use hanok_repository::FilledRequest;
use hanok_routing::observation::{Latency, OutcomeKind};
use hanok_scheduler::{ResponseFuture, Submission};
use hanok_telemetry::{Activity, FailureReason, SuccessRecord, TraceTimes};

use crate::Limits;
use crate::admission::{Admission, Permit};
use crate::traffic::{Ending, Routed, Traffic, outcome_of, since_epoch};

/// Deadlines nearer than this get a timer of their own.
const TIMED_WAIT: Duration = Duration::from_secs(60);

/// Sets the deadline: the soonest of the transport's, the request's own time-out and the server's limit.
pub(crate) fn fix_deadline(request: &mut InferenceRequest, transport: Option<Duration>, limits: &Limits) {
    let mut allowed = limits.max_request_duration;
    if let Some(transport) = transport {
        allowed = allowed.min(transport);
    }
    if request.timeout_microseconds > 0 {
        allowed = allowed.min(Duration::from_micros(request.timeout_microseconds));
    }
    request.deadline = request.received.checked_add(allowed);
}

/// Admits tensors in regions: what is brought to the host is held there like a body's bytes, and counts like them.
///
/// # Errors
/// `Unsupported` where a request's inputs are read before it is executed; `ResourceExhausted` above the limit.
pub(crate) fn admit_regions(
    request: &InferenceRequest,
    routed: &Routed,
    admission: &Admission,
) -> Result<Option<Permit>, ServingError> {
    if request.regions.is_none() {
        return Ok(None);
    }
    let ready = &routed.ready;
    if ready.features.is_some() {
        return Err(ServingError::unsupported(
            "shared memory is not supported for a model whose inputs are filled with features",
        ));
    }
    let bytes = request.fetched_bytes(&ready.config, |ordinal| ready.scheduler.reads_on_device(ordinal));
    (bytes > 0).then(|| admission.body(bytes)).transpose()
}

/// Executes a request, counts its outcome, and hands a copy to those who shadow it.
pub(crate) async fn infer(
    traffic: &Traffic,
    routed: &Routed,
    request: InferenceRequest,
    id: &str,
) -> Result<InferenceResponse, ServingError> {
    let times = request.trace.clone();
    mark(times.as_deref(), Activity::RequestStart);
    let result = executed(traffic, routed, request, id, times.as_deref()).await;
    mark(times.as_deref(), Activity::RequestEnd);
    result
}

/// Notes that a request that is traced has come to `activity`.
pub(crate) fn mark(times: Option<&TraceTimes>, activity: Activity) {
    if let Some(times) = times {
        times.mark(activity);
    }
}

async fn executed(
    traffic: &Traffic,
    routed: &Routed,
    request: InferenceRequest,
    id: &str,
    times: Option<&TraceTimes>,
) -> Result<InferenceResponse, ServingError> {
    let mut outcome = Outcome::begin(traffic, routed, request.received, id);
    let deadline = request.deadline;
    let (request, told) = match &routed.ready.features {
        None => (request, Parameters::new()),
        Some(step) => match step.fill(request).await {
            Ok(FilledRequest { request, told }) => (request, told),
            Err(error) => {
                outcome.fail(&error);
                return Err(error);
            }
        },
    };
    let shadowed = routed.shadowed(&request);
    let mut result = match routed.ready.scheduler.submit(request) {
        Submission::Done(result) => result,
        Submission::Pending(answer) => by_deadline(answer, deadline).await,
    };
    mark(times, Activity::ResponseComplete);
    outcome.settle(&result);
    if let (Some(request), Ok(response)) = (shadowed, &result) {
        traffic.copy(routed, request, response);
    }
    if let (false, Ok(response)) = (told.is_empty(), &mut result) {
        response.parameters.extend(told);
    }
    result
}

/// Waits for an answer until the deadline. Dropping the answer takes the request out of its queue.
///
/// A timer is made only for deadlines that are near; the scheduler enforces the others when it forms batches.
pub(crate) async fn by_deadline(
    answer: ResponseFuture,
    deadline: Option<Instant>,
) -> Result<InferenceResponse, ServingError> {
    match deadline {
        Some(deadline) if deadline.saturating_duration_since(Instant::now()) < TIMED_WAIT => {
            let expired = || Err(ServingError::new(ErrorCode::DeadlineExceeded, "Request timeout expired"));
            tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or_else(|_| expired())
        }
        _ => answer.await,
    }
}

/// Counts one request when it is settled, or as cancelled when dropped before; and tells of it where a table routed it.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    traffic: &'a Traffic,
    routed: &'a Routed,
    received: Instant,
    id: &'a str,
    settled: bool,
}

impl<'a> Outcome<'a> {
    pub(crate) fn begin(traffic: &'a Traffic, routed: &'a Routed, received: Instant, id: &'a str) -> Self {
        Self { traffic, routed, received, id, settled: false }
    }

    pub(crate) fn settle(&mut self, result: &Result<InferenceResponse, ServingError>) {
        match result {
            Ok(response) => self.succeed(response),
            Err(error) => self.fail(error),
        }
    }

    pub(crate) fn succeed(&mut self, response: &InferenceResponse) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let timing = response.timing;
        let finished = since_epoch();
        let total_ns = self.elapsed_ns();
        self.routed.ready.statistics.record_success(&SuccessRecord {
            total_ns,
            queue_ns: timing.queue_ns,
            compute_input_ns: timing.compute_input_ns,
            compute_infer_ns: timing.compute_infer_ns,
            compute_output_ns: timing.compute_output_ns,
            finished_epoch_ms: u64::try_from(finished.as_millis()).unwrap_or(u64::MAX),
        });
        if self.routed.decision.is_some() {
            let compute_ns = timing.compute_input_ns + timing.compute_infer_ns + timing.compute_output_ns;
            let latency = Latency {
                total_microseconds: total_ns / 1000,
                queue_microseconds: timing.queue_ns / 1000,
                compute_microseconds: compute_ns / 1000,
            };
            self.tell(&Ending { outcome: OutcomeKind::Success, latency, finished });
        }
    }

    pub(crate) fn fail(&mut self, error: &ServingError) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let ready = &self.routed.ready;
        if error.code() == ErrorCode::Internal {
            let (model, version) = (&*ready.model, ready.version);
            tracing::warn!(request_id = self.id, model, version, %error, "a request failed");
        }
        ready.statistics.record_failure(failure_reason(error.code()), self.elapsed_ns());
        self.tell_failure(outcome_of(error.code()));
    }

    fn tell_failure(&self, outcome: OutcomeKind) {
        let latency = Latency { total_microseconds: self.elapsed_ns() / 1000, ..Latency::default() };
        self.tell(&Ending { outcome, latency, finished: since_epoch() });
    }

    fn tell(&self, ending: &Ending) {
        self.traffic.finished(self.routed, self.id, ending);
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.received.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.routed.ready.statistics.record_failure(FailureReason::Canceled, self.elapsed_ns());
            self.tell_failure(OutcomeKind::Cancelled);
        }
    }
}

/// The `reason` label of a failure.
fn failure_reason(code: ErrorCode) -> FailureReason {
    match code {
        ErrorCode::Unavailable | ErrorCode::ResourceExhausted | ErrorCode::DeadlineExceeded => FailureReason::Rejected,
        ErrorCode::Cancelled => FailureReason::Canceled,
        ErrorCode::Internal => FailureReason::Backend,
        ErrorCode::InvalidArgument | ErrorCode::NotFound | ErrorCode::AlreadyExists | ErrorCode::Unsupported => {
            FailureReason::Other
        }
    }
}

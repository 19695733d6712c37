//! The scheduler of one model version. (signatures first; bodies follow)

use std::sync::Arc;
use std::time::Instant;

use hanok_backend::{InferenceRequest, InferenceResponse, Model, ServingError};

use crate::{ResponseStream, SchedulerSettings, Submission};

/// Schedules one version of one model: queue, batching, instances and their threads.
///
/// Dropping it answers everything queued with `Unavailable`, lets running executions end and joins the threads: it may
/// block as long as an execution takes.
#[derive(Debug)]
pub struct ModelScheduler(());

impl ModelScheduler {
    /// Creates the instances on the calling thread (may take long) and starts one thread for each.
    ///
    /// # Errors
    /// What [`Model::create_instance`] answers; `ResourceExhausted` when there are too many instances or no thread can be started.
    pub fn start(_model: Arc<dyn Model>, _settings: SchedulerSettings) -> Result<Self, ServingError> {
        Err(ServingError::unavailable("the scheduler is not built yet"))
    }

    /// Takes one request: answers it at once (executed on the calling thread, when that takes tens of microseconds, or
    /// refused) or queues it. Never blocks for longer than such an execution.
    #[must_use]
    pub fn submit(&self, _request: InferenceRequest) -> Submission {
        Submission::Done(Err(ServingError::unavailable("the scheduler is not built yet")))
    }

    /// Takes one request whose responses are streamed; for decoupled models, and for streams of ordinary ones.
    #[must_use]
    pub fn submit_stream(&self, _request: InferenceRequest) -> ResponseStream {
        unimplemented!("signatures first")
    }

    /// Executes one request on the calling thread, which may block: for warming up on a loading thread.
    ///
    /// # Errors
    /// What the model answers; `Unavailable` while draining.
    pub fn execute_warmup(&self, _request: InferenceRequest) -> Result<InferenceResponse, ServingError> {
        Err(ServingError::unavailable("the scheduler is not built yet"))
    }

    /// Requests in the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        0
    }

    /// Requests submitted and not answered: queued or in execution.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        0
    }

    /// False after five failures in a row to execute or to replace an instance; true again after one success.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        true
    }

    /// From now on every new request is refused with `Unavailable`; what is queued is still executed.
    pub fn drain(&self) {}

    /// Waits until nothing is queued or in execution; false when `until` came first. Blocks.
    #[must_use]
    pub fn wait_drained(&self, _until: Instant) -> bool {
        true
    }
}

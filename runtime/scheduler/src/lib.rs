//! Queues requests, joins them into batches, executes them on instances, answers each exactly once.
//!
//! Decides purely, acts thinly: queue, batching decision, learners and sequence table are functions of state,
//! configuration and `now`; [`ModelScheduler`] owns the threads and the one clock reading per step. It knows no
//! protocol, file system, framework or device. Invariant: every request that was submitted gets exactly one final
//! answer, whatever the model, the caller or a time-out does.

mod completion;
mod model_scheduler;
mod settings;

pub use completion::{ResponseFuture, ResponseStream, StreamedResponse, Submission};
pub use model_scheduler::ModelScheduler;
pub use settings::SchedulerSettings;

//! Queues requests, joins them into batches, executes them on instances, answers each exactly once.
//!
//! Decides purely, acts thinly: queue, batching decision, learners and sequence table are functions of state,
//! configuration and `now`; [`ModelScheduler`] owns the threads and reads the clock. It knows no protocol, file system,
//! framework or device. Invariant: every request that was submitted gets exactly one final answer, whatever the model,
//! the caller or a time-out does.

mod batch_source;
mod completion;
mod control_tensors;
mod delay_learner;
mod dynamic_batcher;
mod dynamic_batching;
mod execution;
mod inline_execution;
mod instance_pool;
mod model_scheduler;
mod overlap;
mod queue;
mod queue_policy;
mod release_order;
mod request_rate;
mod request_sink;
mod response_stream;
mod scheduler_core;
mod scheduler_state;
mod sequence_batching;
mod service_time;
mod settings;
mod unread_budget;
mod wait;
mod worker;

pub use completion::{ResponseFuture, Submission};
pub use model_scheduler::ModelScheduler;
pub use response_stream::{ResponseStream, StreamedResponse};
pub use settings::SchedulerSettings;
pub use unread_budget::{UnreadBudget, UnreadShare};

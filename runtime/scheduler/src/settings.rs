//! What a scheduler is started with, besides the model itself.

use std::sync::Arc;
use std::time::Duration;

use hanok_model_config::ModelConfig;
use hanok_telemetry::ModelStatistics;

/// What a [`crate::ModelScheduler`] is started with.
#[derive(Clone, Debug)]
pub struct SchedulerSettings {
    /// The model's configuration: batching, queue policies, instances.
    pub config: Arc<ModelConfig>,
    /// Where batches and queue depth are counted. Requests are counted by whoever submits them.
    pub statistics: Arc<ModelStatistics>,
    /// Longest time from receipt to answer of a request that brings no deadline; `None` for no limit.
    pub default_deadline: Option<Duration>,
    /// Most requests that may be queued for this model, above all limits of the model's own; 0 for no limit. Requests
    /// of sequences that have a slot are counted by themselves.
    pub max_queue: usize,
}

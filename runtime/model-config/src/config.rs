//! A model's configuration after validation: what the runtime acts on.
//!
//! Built only by this crate ([`crate::ModelConfig::from_wire`]), so that holding one means that it is consistent. The wire
//! form (Triton's `ModelConfig` message, completed) is kept beside it, for those who ask for the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use hanok_tensor::{DataType, Shape};

use crate::wire;
use crate::wire::model_version_policy::PolicyChoice;

/// Parameter of a model's configuration that names the feature service which fills some of its inputs. It is the
/// server's: backends leave it alone.
pub const FEATURE_SERVICE: &str = "feature_service";

/// A validated, completed model configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelConfig {
    /// Name of the model: that of its folder.
    pub name: String,
    /// Triton's platform string; falls back to the backend's name in metadata (W-16).
    pub platform: String,
    /// Name of the backend: `onnxruntime`, `tract`, `builtin`, ...
    pub backend: String,
    /// Largest number of rows in one batch; 0 means that the model does not batch.
    pub max_batch_size: u32,
    /// Inputs, in order.
    pub inputs: Vec<InputSpec>,
    /// Outputs, in order.
    pub outputs: Vec<OutputSpec>,
    /// Which versions are served.
    pub version_policy: VersionPolicy,
    /// How requests become batches.
    pub scheduling: Scheduling,
    /// Instances; at least one group.
    pub instance_groups: Vec<InstanceGroup>,
    /// Name of the model file within a version folder; empty for the backend's default.
    pub default_model_filename: String,
    /// Free parameters, read by backends.
    pub parameters: BTreeMap<String, String>,
    /// Requests to execute before the model is ready.
    pub warmup: Vec<Warmup>,
    /// Whether one request may have no response or many.
    pub decoupled: bool,
    /// Triton's wire form, completed: the answer to a config request.
    pub wire: wire::ModelConfig,
}

/// Contract of one input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputSpec {
    /// Name.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions as clients send them, without the batch dimension; -1 for any.
    pub dims: Shape,
    /// Dimensions as the model wants them, without the batch dimension, when they differ.
    pub reshape: Option<Shape>,
    /// Whether a request may leave it out.
    pub optional: bool,
    /// Whether members of one batch may differ in the dimensions after the first.
    pub allow_ragged_batch: bool,
}

/// Contract of one output.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutputSpec {
    /// Name.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions as clients see them, without the batch dimension; -1 for any.
    pub dims: Shape,
    /// Dimensions as the model gives them, without the batch dimension, when they differ.
    pub reshape: Option<Shape>,
    /// File in the model's folder with one label per line, for classification.
    pub label_filename: Option<String>,
}

/// Which versions of a model are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The highest `count` versions.
    Latest {
        /// How many; at least 1.
        count: usize,
    },
    /// Every version.
    All,
    /// Exactly these versions.
    Specific(Vec<u64>),
}

impl VersionPolicy {
    /// What `wire` declares, or the default. Numbers that are no versions are passed over: validation refuses them.
    #[must_use]
    pub fn declared(wire: &wire::ModelConfig) -> Self {
        match wire.version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref()) {
            None => Self::Latest { count: 1 },
            Some(PolicyChoice::All(_)) => Self::All,
            Some(PolicyChoice::Latest(latest)) => {
                Self::Latest { count: usize::try_from(latest.num_versions).unwrap_or(usize::MAX).max(1) }
            }
            Some(PolicyChoice::Specific(specific)) => {
                let numbers = specific.versions.iter().filter_map(|version| u64::try_from(*version).ok());
                Self::Specific(numbers.filter(|number| *number > 0).collect())
            }
        }
    }
}

/// How requests become batches.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheduling {
    /// One request, one execution.
    Default,
    /// Requests are joined.
    Dynamic(DynamicBatching),
    /// Requests of one sequence go to one instance, in order (Triton's direct strategy).
    Sequence(SequenceBatching),
}

/// Settings of the dynamic batcher.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DynamicBatching {
    /// Batch sizes in rows that are worth dispatching at once; ascending, at most the maximum.
    pub preferred_batch_sizes: Vec<u32>,
    /// Longest time that the oldest request waits for company.
    pub max_queue_delay: Duration,
    /// Whether responses leave in the order in which requests came.
    pub preserve_ordering: bool,
    /// Number of priority levels; 0 means that there are none.
    pub priority_levels: u32,
    /// Level of a request that names none; 1 is the highest.
    pub default_priority_level: u32,
    /// Policy of levels that have none of their own.
    pub default_queue_policy: QueuePolicy,
    /// Policies by level.
    pub priority_queue_policies: BTreeMap<u32, QueuePolicy>,
}

impl DynamicBatching {
    /// Policy of `level` (1 is the highest; 0 where there are no levels).
    #[must_use]
    pub fn queue_policy(&self, level: u32) -> &QueuePolicy {
        self.priority_queue_policies.get(&level).unwrap_or(&self.default_queue_policy)
    }
}

/// Bounds of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePolicy {
    /// What happens to a request whose time-out passed in the queue.
    pub timeout_action: TimeoutAction,
    /// Time-out of requests that bring none; zero means none.
    pub default_timeout: Duration,
    /// Whether a request may bring a shorter time-out.
    pub allow_timeout_override: bool,
    /// Largest number of queued requests; 0 means no limit of the model's own.
    pub max_queue_size: u32,
}

/// What happens to a request whose time-out passed in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It is rejected.
    #[default]
    Reject,
    /// It is executed after all others.
    Delay,
}

/// Settings of the sequence batcher.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SequenceBatching {
    /// A sequence without a request for so long is ended.
    pub max_sequence_idle: Duration,
    /// Tensors through which the model learns start, end, ready and correlation id.
    pub controls: Vec<SequenceControlInput>,
}

/// One control tensor of a sequence model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SequenceControlInput {
    /// Name of the input tensor.
    pub name: String,
    /// What it tells.
    pub kind: SequenceControlKind,
    /// Element type.
    pub data_type: DataType,
    /// Value that means false, as text of that type; empty for the correlation id.
    pub false_value: f64,
    /// Value that means true.
    pub true_value: f64,
}

/// What a control tensor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceControlKind {
    /// First request of its sequence.
    Start,
    /// Last request of its sequence.
    End,
    /// The slot holds a request.
    Ready,
    /// Correlation id.
    CorrelationId,
}

/// Instances of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceGroup {
    /// Name, unique within the model.
    pub name: String,
    /// What the instances run on.
    pub kind: InstanceKind,
    /// Number of instances per device; at least 1.
    pub count: u32,
    /// GPU ordinals, for [`InstanceKind::Gpu`].
    pub gpus: Vec<u32>,
}

/// What the instances of a group run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceKind {
    /// A GPU where there is one, else the processors.
    Auto,
    /// The processors.
    Cpu,
    /// GPUs.
    Gpu,
    /// The model decides.
    Model,
}

/// One request to execute before the model is ready.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Warmup {
    /// Name, for the log.
    pub name: String,
    /// Rows; 0 means 1.
    pub batch_size: u32,
    /// Number of executions; 0 means 1.
    pub count: u32,
    /// Inputs.
    pub inputs: Vec<WarmupInput>,
}

/// One input of a warm-up request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WarmupInput {
    /// Name of the input.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions without the batch dimension.
    pub dims: Shape,
    /// Where the values come from.
    pub data: WarmupData,
}

/// Where warm-up values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarmupData {
    /// Zeroes, or empty strings.
    Zero,
    /// Random values.
    Random,
    /// A raw file in the model's `warmup` folder.
    File(String),
}

impl ModelConfig {
    /// Index of the input called `name`.
    #[must_use]
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|input| input.name == name)
    }

    /// Index of the output called `name`.
    #[must_use]
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Whether requests carry a batch dimension.
    #[must_use]
    pub const fn batches(&self) -> bool {
        self.max_batch_size > 0
    }
}

impl InputSpec {
    /// An input that a request may leave out, as clients and the model see it.
    #[must_use]
    pub const fn optional(name: String, data_type: DataType, dims: Shape) -> Self {
        Self { name, data_type, dims, reshape: None, optional: true, allow_ragged_batch: false }
    }

    /// Dimensions as the model wants them, without the batch dimension.
    #[must_use]
    pub fn model_dims(&self) -> &Shape {
        self.reshape.as_ref().unwrap_or(&self.dims)
    }
}

impl OutputSpec {
    /// Dimensions as the model gives them, without the batch dimension.
    #[must_use]
    pub fn model_dims(&self) -> &Shape {
        self.reshape.as_ref().unwrap_or(&self.dims)
    }
}

//! What the server says about itself and its models, as plain values that both protocols write.

use hanok_model_config::ModelConfig;
use hanok_telemetry::StatisticsSnapshot;
use hanok_tensor::{DataType, Shape};

/// Triton's extension names, in its order (W-15).
pub const TRITON_EXTENSIONS: [&str; 13] = [
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
];

/// The server (W-14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerMetadata {
    /// Name of the server; Triton's clients expect `triton`.
    pub name: String,
    /// Version of the server.
    pub version: String,
    /// Names of the protocol extensions that it offers.
    pub extensions: Vec<String>,
}

/// A model as clients see it (W-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMetadata {
    /// Name.
    pub name: String,
    /// Versions that are ready, ascending.
    pub versions: Vec<u64>,
    /// Triton's platform string, or the backend's name.
    pub platform: String,
    /// Inputs in configured order.
    pub inputs: Vec<TensorMetadata>,
    /// Outputs in configured order.
    pub outputs: Vec<TensorMetadata>,
}

/// An input or output as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMetadata {
    /// Name.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions; begins with -1 when the model batches.
    pub shape: Shape,
}

impl ModelMetadata {
    /// Metadata of a model with these ready versions.
    #[must_use]
    pub fn of(config: &ModelConfig, versions: &[u64]) -> Self {
        let tensor = |name: &str, data_type, dims: &Shape| TensorMetadata {
            name: name.to_owned(),
            data_type,
            shape: config.batches().then_some(-1).into_iter().chain(dims.iter().copied()).collect(),
        };
        Self {
            name: config.name.clone(),
            versions: versions.to_vec(),
            platform: if config.platform.is_empty() { config.backend.clone() } else { config.platform.clone() },
            inputs: config.inputs.iter().map(|spec| tensor(&spec.name, spec.data_type, &spec.dims)).collect(),
            outputs: config.outputs.iter().map(|spec| tensor(&spec.name, spec.data_type, &spec.dims)).collect(),
        }
    }
}

/// Statistics of one version of one model (W-65).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersionStatistics {
    /// Name of the model.
    pub name: String,
    /// Version.
    pub version: u64,
    /// Its counters.
    pub snapshot: StatisticsSnapshot,
}

/// State of a model version in the repository index (W-71).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelState {
    /// Nothing is known.
    Unknown,
    /// It serves.
    Ready,
    /// It does not serve.
    Unavailable,
    /// It is being loaded.
    Loading,
    /// It is being unloaded.
    Unloading,
}

impl ModelState {
    /// The protocol's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
        }
    }
}

/// One line of the repository index (W-70).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// Name of the model.
    pub name: String,
    /// Version and state; `None` for a model that was never loaded.
    pub version: Option<(u64, ModelState)>,
    /// Why it is in that state; empty for no reason.
    pub reason: String,
}

//! What the server tells of itself and of its models, in the protocols' plain forms; shared by all doors.

use hanok_backend::{ErrorCode, ServingError};
use hanok_protocol::{
    ModelMetadata, ModelState, ModelVersionStatistics, RepositoryEntry, ServerMetadata, TRITON_EXTENSIONS,
};
use hanok_repository::{ModelRepository, ReadyVersion, VersionState};

use crate::state::ServerState;

/// Name, version and extensions (W-14, W-15).
pub(crate) fn server_metadata(state: &ServerState) -> ServerMetadata {
    ServerMetadata {
        name: state.behaviour.identity.name.clone(),
        version: state.behaviour.identity.version.clone(),
        extensions: TRITON_EXTENSIONS.iter().map(ToString::to_string).collect(),
    }
}

/// The contract of a model (W-16, W-17). Inputs that features fill are not in it: clients need not send them.
///
/// # Errors
/// `NotFound` for an unknown or unloaded model, `Unavailable` for one that is being loaded.
pub(crate) fn model_metadata(
    repository: &ModelRepository,
    model: &str,
    version: Option<u64>,
) -> Result<ModelMetadata, ServingError> {
    let ready = described(repository, model, version)?;
    let versions: Vec<u64> = match version {
        Some(version) => vec![version],
        None => repository.ready().versions(model).iter().map(|ready| ready.version).collect(),
    };
    let mut metadata = ModelMetadata::of(ready.client_config(), &versions);
    if let Some(step) = &ready.features {
        metadata.inputs.truncate(step.sent_inputs());
    }
    Ok(metadata)
}

/// A version that serves, with the errors of metadata requests.
pub(crate) fn described(
    repository: &ModelRepository,
    model: &str,
    version: Option<u64>,
) -> Result<std::sync::Arc<ReadyVersion>, ServingError> {
    repository.ready().version(model, version).map_err(|unknown| match repository.version_state(model, version) {
        Some(VersionState::Loading) => {
            ServingError::unavailable(format!("Request for model '{model}' that is being loaded"))
        }
        Some(VersionState::Unavailable | VersionState::Unloading) => {
            ServingError::not_found(format!("Request for unknown model: '{model}' has no available versions"))
        }
        Some(VersionState::Ready) | None => unknown,
    })
}

/// Whether a model, or one version of it, can serve (W-13).
pub(crate) fn is_model_ready(state: &ServerState, model: &str, version: Option<u64>) -> bool {
    state.repository.ready().version(model, version).is_ok_and(|ready| ready.scheduler.is_healthy())
}

/// Counters of all models, of one, or of one version (W-19).
///
/// # Errors
/// `NotFound` for an unknown model, which Triton calls an invalid argument on this route.
pub(crate) fn statistics(
    repository: &ModelRepository,
    model: Option<&str>,
    version: Option<u64>,
) -> Result<Vec<ModelVersionStatistics>, ServingError> {
    let versions = match model {
        None => repository.ready().all(),
        Some(model) => repository.ready().versions(model),
    };
    let chosen: Vec<_> = versions
        .iter()
        .filter(|ready| version.is_none_or(|version| ready.version == version))
        .map(|ready| ModelVersionStatistics {
            name: ready.model.to_string(),
            version: ready.version,
            snapshot: ready.statistics.snapshot(),
        })
        .collect();
    match (model, chosen.is_empty()) {
        (Some(model), true) => Err(ServingError::not_found(match version {
            None => format!("requested model '{model}' is not available"),
            Some(version) => format!("requested model version is not available for model '{model}': {version}"),
        })
        .with_triton_code(ErrorCode::InvalidArgument)),
        _ => Ok(chosen),
    }
}

/// The repository index (W-70).
pub(crate) fn repository_index(repository: &ModelRepository, ready_only: bool) -> Vec<RepositoryEntry> {
    let entries = repository.index(ready_only);
    entries
        .into_iter()
        .map(|entry| RepositoryEntry {
            name: entry.name,
            version: entry.version.zip(entry.state.map(wire_state)),
            reason: entry.reason,
        })
        .collect()
}

fn wire_state(state: VersionState) -> ModelState {
    match state {
        VersionState::Ready => ModelState::Ready,
        VersionState::Unavailable => ModelState::Unavailable,
        VersionState::Loading => ModelState::Loading,
        VersionState::Unloading => ModelState::Unloading,
    }
}

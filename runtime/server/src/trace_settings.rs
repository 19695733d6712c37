//! Trace settings by request, the same for both protocols: whose they are, what they become, what is told.

use std::time::Duration;

use hanok_backend::{ErrorCode, ServingError};
use hanok_protocol::TraceView;
use hanok_routing::RequestedVersion;
use hanok_telemetry::TraceChanges;

use crate::description;
use crate::state::ServerState;

/// Longest wait for what has ended before a change to be in its file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Checks that the named model serves.
///
/// # Errors
/// As Triton, which calls a model unknown that is not ready.
pub(crate) fn check_model(state: &ServerState, model: Option<&str>) -> Result<(), ServingError> {
    let Some(model) = model else { return Ok(()) };
    match state.traffic.described(model, RequestedVersion::Any) {
        Ok((served, version)) if description::is_model_ready(state, &served, version) => Ok(()),
        _ => Err(ServingError::not_found(format!("Request for unknown model : {model}"))
            .with_triton_code(ErrorCode::InvalidArgument)),
    }
}

/// The settings of a model, or the global ones.
///
/// # Errors
/// For a model that does not serve.
pub(crate) fn told<'a>(state: &'a ServerState, model: Option<&str>) -> Result<TraceView<'a>, ServingError> {
    check_model(state, model)?;
    Ok(view(state, model))
}

/// Changes the settings of a model, which was checked, or the global ones. Traces of requests that ended before are in their
/// files when it answers, unless the disk is slow.
///
/// # Errors
/// For settings that trace and cannot be.
pub(crate) fn change<'a>(
    state: &'a ServerState,
    model: Option<&str>,
    changes: &TraceChanges,
) -> Result<TraceView<'a>, ServingError> {
    let tracer = &state.tracer;
    tracer.change(model, changes).map_err(|error| ServingError::invalid(error.to_string()))?;
    let settled = tokio::task::block_in_place(|| tracer.settle(PATIENCE));
    if !settled {
        tracing::debug!("trace settings changed before every earlier trace was written");
    }
    Ok(view(state, model))
}

fn view<'a>(state: &'a ServerState, model: Option<&str>) -> TraceView<'a> {
    TraceView { settings: state.tracer.settings(model), file: state.tracer.file() }
}

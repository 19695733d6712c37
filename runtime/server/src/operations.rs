//! What management asks for, done away from the threads that serve; shared by all doors.

use std::sync::Arc;

use hanok_backend::{ErrorCode, ServingError};
use hanok_protocol::v2_http::{CudaRegionRequest, SystemRegionRequest};
use hanok_repository::{LoadRequest, ModelRepository};
use hanok_telemetry::{LogFormat, LogLevel, LogState};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::state::ServerState;

/// Loads or reloads a model on a thread of its own.
pub(crate) async fn load(
    repository: &Arc<ModelRepository>,
    model: String,
    request: LoadRequest,
) -> Result<(), ServingError> {
    let repository = Arc::clone(repository);
    on_its_own_thread("hanok-load", move || repository.load(&model, &request)).await
}

/// Unloads a model on a thread of its own.
pub(crate) async fn unload(repository: &Arc<ModelRepository>, model: String) -> Result<(), ServingError> {
    let repository = Arc::clone(repository);
    on_its_own_thread("hanok-unload", move || repository.unload(&model)).await
}

/// Opens a client's memory on a GPU under `name`; the driver may make a context for it, which blocks.
pub(crate) fn register_cuda_region(
    state: &ServerState,
    name: &str,
    request: &CudaRegionRequest,
) -> Result<(), ServingError> {
    let is_taken = |name: &str| state.system_regions.knows(name);
    tokio::task::block_in_place(|| state.cuda_regions.register(state.repository.gpus(), name, request, is_taken))
}

/// Opens a client's memory of this machine under `name`.
pub(crate) fn register_system_region(
    state: &ServerState,
    name: &str,
    request: &SystemRegionRequest,
) -> Result<(), ServingError> {
    state.system_regions.register(name, request, |name| state.cuda_regions.knows(name))
}

/// Runs `work` on a named thread. It goes on to its end when the caller goes away, so no model is left half loaded.
async fn on_its_own_thread(
    name: &str,
    work: impl FnOnce() -> Result<(), ServingError> + Send + 'static,
) -> Result<(), ServingError> {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // A caller that is gone does not want the outcome.
        drop(sender.send(work()));
    });
    match started {
        Ok(_) => receiver.await.unwrap_or_else(|_| {
            Err(ServingError::internal("the operation ended without an outcome; the log has the reason"))
        }),
        Err(error) => Err(ServingError::new(ErrorCode::ResourceExhausted, "no thread is to be had for this operation")
            .with_operator_detail(error.to_string())),
    }
}

/// The log settings in Triton's form (W-79).
pub(crate) fn log_settings(state: &ServerState) -> Value {
    let log = state
        .logging
        .as_ref()
        .map_or(LogState { format: LogFormat::Text, level: LogLevel::Info }, |logging| logging.state());
    let verbose = match log.level {
        LogLevel::Error | LogLevel::Warning | LogLevel::Info => 0,
        LogLevel::Debug => 1,
        LogLevel::Trace => 2,
    };
    json!({
        "log_file": "",
        "log_info": log.level >= LogLevel::Info,
        "log_warning": log.level >= LogLevel::Warning,
        "log_error": true,
        "log_verbose_level": verbose,
        "log_format": "default",
    })
}

/// Changes log settings and gives them back.
///
/// # Errors
/// As Triton: an unknown key or a wrong type is refused, nothing is changed then; a log file cannot be set.
pub(crate) fn set_log_settings(state: &ServerState, body: &[u8]) -> Result<Value, ServingError> {
    let parsed: Value =
        serde_json::from_slice(body).map_err(|_| ServingError::malformed("failed to parse the request JSON buffer"))?;
    let Value::Object(changes) = parsed else {
        return Err(ServingError::malformed("log settings must be a JSON object"));
    };
    apply_log_settings(state, &changes)?;
    Ok(log_settings(state))
}

/// Applies settings by their names; see [`set_log_settings`].
pub(crate) fn apply_log_settings(state: &ServerState, changes: &Map<String, Value>) -> Result<(), ServingError> {
    let current = log_settings(state);
    let read_bool = |name: &str| match changes.get(name) {
        None => Ok(current[name].as_bool().unwrap_or(true)),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(ServingError::malformed(format!("log setting `{name}` must be a boolean"))),
    };
    for (name, value) in changes {
        match name.as_str() {
            "log_info" | "log_warning" | "log_error" => {}
            "log_verbose_level" if value.as_u64().is_some() => {}
            "log_verbose_level" => {
                return Err(ServingError::malformed("log setting `log_verbose_level` must be a number not below 0"));
            }
            "log_format" if matches!(value.as_str(), Some("default" | "ISO8601")) => {}
            "log_format" => {
                return Err(ServingError::invalid("log setting `log_format` must be `default` or `ISO8601`"));
            }
            "log_file" if value.as_str() == Some("") => {}
            "log_file" => {
                return Err(ServingError::unsupported("log file location can not be updated through network protocol"));
            }
            _ => return Err(ServingError::invalid(format!("unknown log setting `{name}`"))),
        }
    }
    let (info, warning) = (read_bool("log_info")?, read_bool("log_warning")?);
    read_bool("log_error")?;
    let verbose = changes.get("log_verbose_level").unwrap_or(&current["log_verbose_level"]).as_u64().unwrap_or(0);
    let level = match (verbose, info, warning) {
        (0, true, _) => LogLevel::Info,
        (0, false, true) => LogLevel::Warning,
        (0, false, false) => LogLevel::Error,
        (1, ..) => LogLevel::Debug,
        _ => LogLevel::Trace,
    };
    if let Some(logging) = &state.logging {
        logging.set_level(level);
    }
    Ok(())
}

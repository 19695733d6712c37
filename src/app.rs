//! The composition root: the only place that knows every part.
//!
//! Decides which engine serves ONNX models and puts the backends together; everything else is handed on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hanok_backend::Backend;
use hanok_backend_builtin::BuiltinBackend;
use hanok_backend_onnxruntime::{LibrarySearch, OnnxRuntimeBackend, SearchReport, TELEMETRY_SWITCH, locate};
use hanok_repository::BackendRegistry;

use crate::commands::error::CommandError;
use crate::settings::Surroundings;

/// Settings by backend and key; those for all backends are under the empty name.
pub(crate) type BackendSettings = BTreeMap<String, BTreeMap<String, String>>;

/// How to get the faster engine.
pub(crate) const GET_ONNXRUNTIME: &str =
    "run `scripts/setup` in the project, or `pip install onnxruntime` in an active virtual environment";

/// Switches off the uploader inside ONNX Runtime's Linux builds, which looks at the environment when it is loaded.
pub(crate) fn switch_off_library_telemetry() {
    let (name, value) = TELEMETRY_SWITCH;
    #[allow(unsafe_code, reason = "the library reads only the environment, and only when it is loaded")]
    // SAFETY: called first thing in `main`, before any other thread exists.
    unsafe {
        std::env::set_var(name, value);
    }
}

/// Keeps freed memory from piling up: few arenas, and large buffers given back to the system when they are freed.
///
/// glibc makes up to eight arenas per processor and learns to keep buffers of up to 32 MiB, so that a server with short
/// lived loading threads and large bodies never comes back to its idle size.
pub(crate) fn bound_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 4 << 20;
        let arenas = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        let settings = [
            (libc::M_ARENA_MAX, libc::c_int::try_from(arenas).unwrap_or(2)),
            (libc::M_MMAP_THRESHOLD, LARGE),
            (libc::M_TRIM_THRESHOLD, 2 * LARGE),
        ];
        for (parameter, value) in settings {
            #[allow(unsafe_code, reason = "the allocator's settings have no safe form")]
            // SAFETY: called first thing in `main`, before any other thread exists; an unknown value is refused.
            let accepted = unsafe { libc::mallopt(parameter, value) };
            debug_assert_eq!(accepted, 1);
        }
    }
}

/// Which engine serves ONNX models, and why.
#[derive(Debug)]
pub(crate) struct EngineChoice {
    /// ONNX Runtime, when it was found and opened.
    pub(crate) onnxruntime: Option<Arc<OnnxRuntimeBackend>>,
    /// Where it was looked for.
    pub(crate) search: SearchReport,
    /// Why it is not used although it was found.
    pub(crate) failure: Option<String>,
}

/// Looks for ONNX Runtime and opens it, unless the settings ask for tract.
pub(crate) fn choose_engine(
    settings: &BackendSettings,
    surroundings: &Surroundings,
) -> Result<EngineChoice, CommandError> {
    let setting = |backend: &str, key: &str| settings.get(backend).and_then(|keys| keys.get(key));
    let engine = setting("onnx", "engine").map_or("auto", String::as_str);
    if !matches!(engine, "auto" | "tract" | "onnxruntime") {
        return Err(CommandError::input(format!(
            "--backend-config=onnx,engine={engine}: expected `auto`, `tract` or `onnxruntime`, got `{engine}`"
        )));
    }
    let flag = setting("onnxruntime", "library").map(PathBuf::from);
    let asked_for = flag.is_some() || engine == "onnxruntime";
    let search = locate(&LibrarySearch {
        flag,
        environment: surroundings.onnxruntime_library.clone(),
        executable_directory: surroundings.executable_directory.clone(),
        project_directory: Some(surroundings.project_library_directory.clone()),
        virtual_environment: surroundings.virtual_environment.clone(),
        working_directory: surroundings.working_directory.clone(),
        path_directories: surroundings.path_directories.clone(),
        home_directory: surroundings.home_directory.clone(),
    });
    if engine == "tract" {
        return Ok(EngineChoice { onnxruntime: None, search, failure: None });
    }
    let (onnxruntime, failure) = match &search.found {
        None => (None, None),
        Some(found) => match OnnxRuntimeBackend::open(&found.path) {
            Ok(backend) => (Some(Arc::new(backend)), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    if asked_for && onnxruntime.is_none() {
        return Err(CommandError::failed(format!(
            "ONNX Runtime was asked for and cannot be used: {}; {GET_ONNXRUNTIME}",
            failure.as_deref().unwrap_or("no library was found")
        )));
    }
    Ok(EngineChoice { onnxruntime, search, failure })
}

/// Puts the backends of this process together.
pub(crate) fn backends(settings: &BackendSettings, engine: &EngineChoice) -> BackendRegistry {
    let mut registry = BackendRegistry::new(settings.clone());
    registry.offer("builtin", Arc::new(BuiltinBackend::new()));
    #[cfg(feature = "tract")]
    let tract: Option<Arc<dyn Backend>> = Some(Arc::new(hanok_backend_tract::TractBackend::new()));
    #[cfg(not(feature = "tract"))]
    let tract: Option<Arc<dyn Backend>> = None;
    if let Some(tract) = &tract {
        registry.offer("tract", Arc::clone(tract));
    }
    match (&engine.onnxruntime, tract) {
        (Some(onnxruntime), _) => {
            registry.offer("onnxruntime", Arc::clone(onnxruntime) as Arc<dyn Backend>);
        }
        (None, Some(tract)) => registry.offer("onnxruntime", tract),
        (None, None) => {}
    }
    registry
}

/// One line on which engine serves ONNX models, for the log and the doctor.
pub(crate) fn engine_summary(engine: &EngineChoice) -> String {
    match (&engine.onnxruntime, &engine.search.found, &engine.failure) {
        (Some(backend), Some(found), _) => {
            format!("ONNX models are served by ONNX Runtime {} ({})", backend.version(), found.how)
        }
        (None, _, Some(failure)) => {
            format!("ONNX models are served by tract: ONNX Runtime was found and cannot be used: {failure}")
        }
        (None, Some(_), None) => "ONNX models are served by tract, as asked for".to_owned(),
        _ if cfg!(feature = "tract") => format!(
            "ONNX models are served by tract, which is inside this binary; ONNX Runtime would be up to four times \
             faster: {GET_ONNXRUNTIME}"
        ),
        _ => format!(
            "ONNX models cannot be served: this binary has no tract, and no ONNX Runtime was found; {GET_ONNXRUNTIME}"
        ),
    }
}

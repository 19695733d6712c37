//! The composition root: the only place that knows every part.
//!
//! Puts the backends together; everything else is handed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanok_backend::Backend;
use hanok_backend_builtin::BuiltinBackend;
use hanok_backend_onnxruntime::TELEMETRY_SWITCH;
use hanok_repository::BackendRegistry;

use crate::onnx_engine::{EngineBackend, OnnxEngine};

/// Settings by backend and key; those for all backends are under the empty name.
pub(crate) type BackendSettings = BTreeMap<String, BTreeMap<String, String>>;

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

/// Puts the backends of this process together.
pub(crate) fn backends(settings: &BackendSettings, engine: &Arc<OnnxEngine>) -> BackendRegistry {
    let mut registry = BackendRegistry::new(settings.clone());
    registry.offer("builtin", Arc::new(BuiltinBackend::new()));
    #[cfg(feature = "tract")]
    let tract: Option<Arc<dyn Backend>> = Some(Arc::new(hanok_backend_tract::TractBackend::new()));
    #[cfg(not(feature = "tract"))]
    let tract: Option<Arc<dyn Backend>> = None;
    if let Some(tract) = &tract {
        registry.offer("tract", Arc::clone(tract));
    }
    if let Some(backend) = EngineBackend::new(engine, tract) {
        registry.offer("onnxruntime", Arc::new(backend));
    }
    registry
}

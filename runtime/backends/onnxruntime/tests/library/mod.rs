//! The library for tests: found as the binary finds it, or a visible line that says why a test checks nothing.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hanok_backend_onnxruntime::{LibrarySearch, OnnxRuntimeBackend, TELEMETRY_SWITCH, locate};

/// The repository's root.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The opened library; `None` after a line about what is missing.
pub(crate) fn backend() -> Option<OnnxRuntimeBackend> {
    static BACKEND: OnceLock<Option<OnnxRuntimeBackend>> = OnceLock::new();
    *BACKEND.get_or_init(|| {
        #[allow(unsafe_code, reason = "the standard library's way to set a variable")]
        // SAFETY: set before the library is opened; no other code of these tests reads the environment through C.
        unsafe {
            std::env::set_var(TELEMETRY_SWITCH.0, TELEMETRY_SWITCH.1);
        }
        let report = locate(&LibrarySearch {
            environment: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
            project_directory: Some(workspace().join(".hanok/lib")),
            ..Default::default()
        });
        match &report.found {
            Some(found) => Some(OnnxRuntimeBackend::open(&found.path).expect("a library that was found opens")),
            None => {
                eprintln!("skipped: {report}");
                None
            }
        }
    })
}

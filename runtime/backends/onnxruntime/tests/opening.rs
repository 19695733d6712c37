//! What a wrong library gives: an error, never a crash, and another try may succeed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod library;

use std::path::Path;

use hanok_backend::ErrorCode;
use hanok_backend_onnxruntime::{OnnxRuntimeBackend, TELEMETRY_SWITCH};

/// One test, because the process opens a library only once.
#[test]
fn wrong_libraries_are_errors_and_a_right_one_opens_afterwards() {
    if std::env::var_os(TELEMETRY_SWITCH.0).is_none() {
        let error = OnnxRuntimeBackend::open(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
        assert_eq!(error.message(), "`ORT_DISABLE_TELEMETRY=1` must be set before ONNX Runtime is opened");
    }
    #[allow(unsafe_code, reason = "the standard library's way to set a variable")]
    // SAFETY: this is the only test of the process.
    unsafe {
        std::env::set_var(TELEMETRY_SWITCH.0, TELEMETRY_SWITCH.1);
    }
    let missing = OnnxRuntimeBackend::open(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
    assert_eq!((missing.code(), missing.message()), (ErrorCode::Unavailable, "ONNX Runtime could not be loaded"));
    assert!(missing.operator_detail().unwrap().contains("/nowhere/libonnxruntime.so"));
    let other = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"];
    if let Some(path) = other.iter().map(Path::new).find(|path| path.exists()) {
        let error = OnnxRuntimeBackend::open(path).unwrap_err();
        assert_eq!(error.message(), "the file given as ONNX Runtime is another library");
    }
    if let Some(backend) = library::backend() {
        assert!(backend.version().starts_with("1."), "{}", backend.version());
    }
}

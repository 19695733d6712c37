//! The CUDA provider on a machine without a GPU: an error with a remedy, never a crash.
//!
//! With the library for processors always; with the library for GPUs where `HANOK_ONNXRUNTIME_GPU` names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod library;

use std::path::PathBuf;

use hanok_backend::{Backend, ErrorCode};
use hanok_backend_onnxruntime::{OnnxRuntimeBackend, TELEMETRY_SWITCH};

/// One test, because the process opens a library only once.
#[test]
fn without_a_gpu_the_provider_says_what_is_missing() {
    let for_gpus = std::env::var_os("HANOK_ONNXRUNTIME_GPU").map(PathBuf::from);
    let backend = match &for_gpus {
        Some(path) => {
            #[allow(unsafe_code, reason = "the standard library's way to set a variable")]
            // SAFETY: this is the only test of the process.
            unsafe {
                std::env::set_var(TELEMETRY_SWITCH.0, TELEMETRY_SWITCH.1);
            }
            Some(OnnxRuntimeBackend::open(path).unwrap())
        }
        None => library::backend(),
    };
    let Some(backend) = backend else { return };
    assert!(!backend.executes_on_gpus(), "no GPU was given to it");
    match backend.cuda_provider() {
        Ok(()) => println!("the provider opened: this machine has a GPU's driver and libraries"),
        Err(error) => {
            println!("{}", error.message());
            assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
            assert!(!error.message().contains("could not be started"), "every cause has a remedy: {error}");
            let built_without = error.message().contains("is built without the CUDA provider");
            assert_eq!(built_without, for_gpus.is_none(), "{error}");
        }
    }
}

//! Without a CUDA driver, or without a device, everything answers with an error and nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_kernels::{KernelError, context, driver};

#[test]
fn no_driver_is_unavailable() {
    match driver() {
        // A machine with a GPU: the context must open too.
        Ok(()) => drop(context(0).unwrap()),
        Err(error) => {
            assert!(matches!(error, KernelError::Unavailable { what: "the CUDA driver", .. }), "{error:?}");
            assert_eq!(context(0).unwrap_err(), error);
            assert_eq!(driver().unwrap_err(), error, "asked again, the same");
        }
    }
}

//! The driver's result codes: their names, and what each means for what is on the device.
//!
//! Numbers and names are those of `cuda.h` 13.0 (a test compares them with another binding of it). A code that is not
//! listed is kept as its number and taken as fatal for the context: going on computing on unknown ground is worse than
//! rebuilding once too often.

use std::fmt;

/// An answer of the driver other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResultCode(pub u32);

/// What a failure means for the context and the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The call was refused; everything else goes on.
    Refused,
    /// There was no memory for this; everything else goes on.
    OutOfMemory,
    /// The context is damaged ("sticky"): every later call in it fails the same, and its memory is lost.
    ContextLost,
    /// The device, or the way to it, is gone until the process or the machine is started anew.
    DeviceLost,
}

use Severity::{ContextLost, DeviceLost, OutOfMemory, Refused};

/// Code, name without the prefix `CUDA_ERROR_`, meaning.
const CODES: [(u32, &str, Severity); 79] = [
    (1, "INVALID_VALUE", Refused),
    (2, "OUT_OF_MEMORY", OutOfMemory),
    (3, "NOT_INITIALIZED", Refused),
    (4, "DEINITIALIZED", DeviceLost),
    (34, "STUB_LIBRARY", DeviceLost),
    (46, "DEVICE_UNAVAILABLE", DeviceLost),
    (100, "NO_DEVICE", DeviceLost),
    (101, "INVALID_DEVICE", Refused),
    (102, "DEVICE_NOT_LICENSED", DeviceLost),
    (200, "INVALID_IMAGE", Refused),
    (201, "INVALID_CONTEXT", Refused),
    (205, "MAP_FAILED", Refused),
    (206, "UNMAP_FAILED", Refused),
    (207, "ARRAY_IS_MAPPED", Refused),
    (208, "ALREADY_MAPPED", Refused),
    (209, "NO_BINARY_FOR_GPU", Refused),
    (210, "ALREADY_ACQUIRED", Refused),
    (211, "NOT_MAPPED", Refused),
    (212, "NOT_MAPPED_AS_ARRAY", Refused),
    (213, "NOT_MAPPED_AS_POINTER", Refused),
    (214, "ECC_UNCORRECTABLE", DeviceLost),
    (215, "UNSUPPORTED_LIMIT", Refused),
    (216, "CONTEXT_ALREADY_IN_USE", Refused),
    (217, "PEER_ACCESS_UNSUPPORTED", Refused),
    (218, "INVALID_PTX", Refused),
    (219, "INVALID_GRAPHICS_CONTEXT", Refused),
    (220, "NVLINK_UNCORRECTABLE", DeviceLost),
    (221, "JIT_COMPILER_NOT_FOUND", Refused),
    (222, "UNSUPPORTED_PTX_VERSION", Refused),
    (223, "JIT_COMPILATION_DISABLED", Refused),
    (224, "UNSUPPORTED_EXEC_AFFINITY", Refused),
    (225, "UNSUPPORTED_DEVSIDE_SYNC", Refused),
    (226, "CONTAINED", ContextLost),
    (300, "INVALID_SOURCE", Refused),
    (301, "FILE_NOT_FOUND", Refused),
    (302, "SHARED_OBJECT_SYMBOL_NOT_FOUND", Refused),
    (303, "SHARED_OBJECT_INIT_FAILED", Refused),
    (304, "OPERATING_SYSTEM", Refused),
    (400, "INVALID_HANDLE", Refused),
    (401, "ILLEGAL_STATE", Refused),
    (500, "NOT_FOUND", Refused),
    (600, "NOT_READY", Refused),
    (700, "ILLEGAL_ADDRESS", ContextLost),
    (701, "LAUNCH_OUT_OF_RESOURCES", Refused),
    (702, "LAUNCH_TIMEOUT", ContextLost),
    (703, "LAUNCH_INCOMPATIBLE_TEXTURING", Refused),
    (704, "PEER_ACCESS_ALREADY_ENABLED", Refused),
    (705, "PEER_ACCESS_NOT_ENABLED", Refused),
    (708, "PRIMARY_CONTEXT_ACTIVE", Refused),
    (709, "CONTEXT_IS_DESTROYED", ContextLost),
    (710, "ASSERT", ContextLost),
    (711, "TOO_MANY_PEERS", Refused),
    (712, "HOST_MEMORY_ALREADY_REGISTERED", Refused),
    (713, "HOST_MEMORY_NOT_REGISTERED", Refused),
    (714, "HARDWARE_STACK_ERROR", ContextLost),
    (715, "ILLEGAL_INSTRUCTION", ContextLost),
    (716, "MISALIGNED_ADDRESS", ContextLost),
    (717, "INVALID_ADDRESS_SPACE", ContextLost),
    (718, "INVALID_PC", ContextLost),
    (719, "LAUNCH_FAILED", ContextLost),
    (720, "COOPERATIVE_LAUNCH_TOO_LARGE", Refused),
    (721, "TENSOR_MEMORY_LEAK", ContextLost),
    (800, "NOT_PERMITTED", Refused),
    (801, "NOT_SUPPORTED", Refused),
    (802, "SYSTEM_NOT_READY", DeviceLost),
    (803, "SYSTEM_DRIVER_MISMATCH", DeviceLost),
    (804, "COMPAT_NOT_SUPPORTED_ON_DEVICE", DeviceLost),
    (805, "MPS_CONNECTION_FAILED", DeviceLost),
    (806, "MPS_RPC_FAILURE", ContextLost),
    (807, "MPS_SERVER_NOT_READY", Refused),
    (808, "MPS_MAX_CLIENTS_REACHED", Refused),
    (809, "MPS_MAX_CONNECTIONS_REACHED", Refused),
    (810, "MPS_CLIENT_TERMINATED", ContextLost),
    (811, "CDP_NOT_SUPPORTED", Refused),
    (812, "CDP_VERSION_MISMATCH", Refused),
    (900, "STREAM_CAPTURE_UNSUPPORTED", Refused),
    (901, "STREAM_CAPTURE_INVALIDATED", Refused),
    (908, "STREAM_CAPTURE_WRONG_THREAD", Refused),
    (999, "UNKNOWN", ContextLost),
];

/// Codes below this one that the driver does not have are the runtime library's, and end a call.
const FIRST_OF_CONTEXTS: u32 = 700;

/// Codes of stream capture that are refused like those listed: 902 to 907, and what follows capture.
const FURTHER_REFUSED: [u32; 9] = [902, 903, 904, 905, 906, 907, 909, 910, 911];

impl ResultCode {
    /// No memory on the device.
    pub const OUT_OF_MEMORY: Self = Self(2);
    /// There is nothing of that name.
    pub const NOT_FOUND: Self = Self(500);
    /// The context was destroyed since.
    pub const CONTEXT_IS_DESTROYED: Self = Self(709);
    /// What was asked about has not happened yet.
    pub const NOT_READY: Self = Self(600);

    fn entry(self) -> Option<(&'static str, Severity)> {
        CODES.iter().find(|(code, ..)| *code == self.0).map(|&(_, name, severity)| (name, severity))
    }

    /// What it means for the context and the device.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self.entry() {
            Some((_, severity)) => severity,
            None if FURTHER_REFUSED.contains(&self.0) => Refused,
            None => ContextLost,
        }
    }

    /// The driver's name without its prefix, where this code is known.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(name, _)| name)
    }
}

impl Severity {
    /// What a text of another library says of a device's failure, such as `CUDA failure 700: an illegal memory access`.
    ///
    /// ONNX Runtime passes the runtime library's codes on; those that end a context have the driver's numbers, and all others
    /// end a call. What cuBLAS and cuDNN answer has numbers of their own, which say nothing of the context: it is asked itself.
    #[must_use]
    pub fn in_text(text: &str) -> Option<Self> {
        if ["ALLOC_FAILED", "ALLOCATION_FAILED"].iter().any(|name| text.contains(name)) {
            return Some(OutOfMemory);
        }
        let after = ["CUDA failure ", "cudaError "].iter().find_map(|mark| text.split_once(mark))?.1;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        let code = ResultCode(digits.parse().ok()?);
        // Numbers below are the runtime library's own where the driver has none of them.
        Some(if code.entry().is_none() && code.0 < FIRST_OF_CONTEXTS { Refused } else { code.severity() })
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "CUDA_ERROR_{name} ({})", self.0),
            None => write!(formatter, "code {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use cudarc::driver::sys::CUresult;

    use super::*;

    /// Another binding of the same header; only its codes are read as its enumeration.
    const OTHERS: [CUresult; 24] = [
        CUresult::CUDA_ERROR_INVALID_VALUE,
        CUresult::CUDA_ERROR_OUT_OF_MEMORY,
        CUresult::CUDA_ERROR_DEINITIALIZED,
        CUresult::CUDA_ERROR_STUB_LIBRARY,
        CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE,
        CUresult::CUDA_ERROR_NO_DEVICE,
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE,
        CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE,
        CUresult::CUDA_ERROR_CONTAINED,
        CUresult::CUDA_ERROR_NOT_READY,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
        CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED,
        CUresult::CUDA_ERROR_ASSERT,
        CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR,
        CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION,
        CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
        CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE,
        CUresult::CUDA_ERROR_INVALID_PC,
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        CUresult::CUDA_ERROR_TENSOR_MEMORY_LEAK,
        CUresult::CUDA_ERROR_MPS_RPC_FAILURE,
        CUresult::CUDA_ERROR_MPS_CLIENT_TERMINATED,
        CUresult::CUDA_ERROR_UNKNOWN,
    ];

    #[test]
    fn names_and_numbers_are_those_of_the_header() {
        for other in OTHERS {
            let code = ResultCode(other as u32);
            assert_eq!(format!("CUDA_ERROR_{}", code.name().unwrap()), format!("{other:?}"));
        }
        assert!(CODES.is_sorted_by_key(|(code, ..)| *code));
    }

    #[test]
    fn what_ends_a_context_is_told_from_what_ends_a_call() {
        let of = |code| ResultCode(code).severity();
        for sticky in [700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999, 4242] {
            assert_eq!(of(sticky), ContextLost, "{sticky}");
        }
        for refused in [1, 201, 400, 600, 701, 905, 910] {
            assert_eq!(of(refused), Refused, "{refused}");
        }
        assert_eq!(of(2), OutOfMemory);
        assert_eq!(of(214), DeviceLost);
    }

    #[test]
    fn failures_are_read_out_of_other_libraries_texts() {
        let of = |text: &str| Severity::in_text(text);
        let place = " ; GPU=0 ; hostname=h ; file=a.cc ; line=1 ; expr=f(700);";
        let text = |start: &str| format!("{start}{place}");
        assert_eq!(of(&text("CUDA failure 700: an illegal memory access was encountered")), Some(ContextLost));
        assert_eq!(of(&text("CUDA failure 2: out of memory")), Some(OutOfMemory));
        assert_eq!(of(&text("CUDA failure 214: uncorrectable ECC error encountered")), Some(DeviceLost));
        assert_eq!(of(&text("CUDA failure 4242: unknown")), Some(ContextLost));
        // What an empty grid or a missing kernel is to the runtime library: only that call failed.
        for refused in ["9: invalid configuration argument", "98: invalid device function", "209: no kernel image"] {
            assert_eq!(of(&text(&format!("CUDA failure {refused}"))), Some(Refused), "{refused}");
        }
        // Numbers of other libraries are not the driver's.
        for (other, expected) in [
            ("CUDNN failure 3000: CUDNN_STATUS_NOT_SUPPORTED", None),
            ("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED", None),
            ("CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED", None),
            ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", Some(OutOfMemory)),
            ("CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", Some(OutOfMemory)),
        ] {
            assert_eq!(of(&text(other)), expected, "{other}");
        }
        assert_eq!(of("CUDA failure : none"), None);
        assert_eq!(of("shape mismatch"), None);
        assert_eq!(ResultCode(700).to_string(), "CUDA_ERROR_ILLEGAL_ADDRESS (700)");
        assert_eq!(ResultCode(4242).to_string(), "code 4242");
    }
}

//! What failed at a device, as data. Whoever answers a client maps these; nothing here knows a protocol.

use thiserror::Error;

use crate::result_code::{ResultCode, Severity};

/// A failure of a device, its driver, or a library that it needs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// A library or device is not there: the caller may go on without a GPU.
    #[error("{what} is not available: {reason}")]
    Unavailable {
        /// What is missing.
        what: &'static str,
        /// What was tried or answered, for the operator.
        reason: String,
    },
    /// The device, or the limit of a pool on it, has no room.
    #[error("device {ordinal} has no `{wanted}` bytes left within the limit of `{limit}`")]
    OutOfMemory {
        /// Ordinal of the device; the host's pinned memory has none and is told as `u32::MAX`.
        ordinal: u32,
        /// Bytes asked for.
        wanted: u64,
        /// The pool's limit in bytes, or the device's memory.
        limit: u64,
    },
    /// The driver refused a call.
    #[error("`{call}` failed with {code}")]
    Driver {
        /// Name of the call.
        call: &'static str,
        /// The driver's answer.
        code: ResultCode,
    },
    /// The driver is too old: it lacks a function.
    #[error("{what} lacks `{symbol}`: a newer one is needed")]
    TooOld {
        /// Which library.
        what: &'static str,
        /// The missing function.
        symbol: &'static str,
    },
}

impl DeviceError {
    /// What the failure means for what was on the device.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Unavailable { .. } | Self::TooOld { .. } => Severity::DeviceLost,
            Self::OutOfMemory { .. } => Severity::OutOfMemory,
            Self::Driver { code, .. } => code.severity(),
        }
    }
}

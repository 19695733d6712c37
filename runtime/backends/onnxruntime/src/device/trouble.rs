//! What may go wrong in an execution on a GPU, and what it means for the instance.

use hanok_backend::{ErrorCode, ServingError};
use hanok_devices::{DeviceError, Severity};

use crate::failure::Failure;

/// A failure, before it is known whether the device's context survived it.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The request does not fit the model.
    Request(ServingError),
    /// The library failed, perhaps with the device.
    Library(Failure),
    /// The driver failed.
    Device(DeviceError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Library(failure)
    }
}

impl From<DeviceError> for Trouble {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<ServingError> for Trouble {
    fn from(error: ServingError) -> Self {
        Self::Request(error)
    }
}

impl Trouble {
    /// What it means for what is on the device. The library tells a device's failure by its number within a text.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::Request(_) => Severity::Refused,
            Self::Device(error) => error.severity(),
            Self::Library(failure) => Severity::in_text(&failure.message).unwrap_or(Severity::Refused),
        }
    }

    /// This failure, or what the device says of itself after it, where that is worse: a library may pass on less than it met.
    /// A request that does not fit is nothing that the device is asked about.
    pub(crate) fn or_worse(self, device: impl FnOnce() -> Result<(), DeviceError>) -> Self {
        if matches!(self, Self::Request(_)) {
            return self;
        }
        match device() {
            Err(error) if error.severity() > self.severity() => Self::Device(error),
            _ => self,
        }
    }

    /// The error for the client, and for the operator.
    pub(crate) fn into_error(self) -> ServingError {
        let severity = self.severity();
        let detail = match self {
            Self::Request(error) => return error,
            Self::Library(failure) if severity == Severity::Refused => return failure.into_run_error(),
            Self::Library(failure) => failure.message,
            Self::Device(error) => error.to_string(),
        };
        let (code, message) = match severity {
            Severity::OutOfMemory => {
                (ErrorCode::ResourceExhausted, "the GPU has no memory left for this request; a smaller batch may fit")
            }
            Severity::Refused => (ErrorCode::Internal, "the GPU refused a part of this request"),
            Severity::ContextLost => (ErrorCode::Unavailable, "the GPU failed and is set up again; try again"),
            Severity::DeviceLost => (ErrorCode::Unavailable, "the GPU of this model is gone"),
        };
        ServingError::new(code, message).with_operator_detail(detail)
    }
}

#[cfg(test)]
mod tests {
    use hanok_devices::ResultCode;

    use super::*;

    fn library(text: &str) -> Trouble {
        Trouble::Library(Failure::other(text))
    }

    #[test]
    fn memory_that_is_short_is_told_as_such_whoever_says_so() {
        let texts = [
            "CUDA failure 2: out of memory ; GPU=0",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
            "Non-zero status code returned while running Conv node. Failed to allocate memory for requested buffer of size 12",
            "Available memory of 0 is smaller than requested bytes of 12",
        ];
        for text in texts {
            assert_eq!(library(text).into_error().code(), ErrorCode::ResourceExhausted, "{text}");
            assert!(library(text).severity() <= Severity::OutOfMemory, "the instance stays: {text}");
        }
    }

    #[test]
    fn what_the_device_says_counts_where_it_is_worse() {
        let sticky = || Err(DeviceError::Driver { call: "cuStreamSynchronize", code: ResultCode(700) });
        let text = "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0";
        assert_eq!(library(text).or_worse(|| Ok(())).severity(), Severity::Refused);
        assert_eq!(library(text).or_worse(sticky).severity(), Severity::ContextLost);
        let gone = DeviceError::Driver { call: "cuEventSynchronize", code: ResultCode(214) };
        assert_eq!(Trouble::Device(gone).or_worse(sticky).severity(), Severity::DeviceLost);
        let request = Trouble::Request(ServingError::invalid("no tensor"));
        assert_eq!(request.or_worse(|| unreachable!("the device is not asked")).severity(), Severity::Refused);
    }
}

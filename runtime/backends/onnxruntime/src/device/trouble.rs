//! What may go wrong in an execution on a GPU, and what it means for the instance.

use hanok_backend::{ErrorCode, ServingError};
use hanok_devices::{DeviceError, ResultCode, Severity};

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
            Self::Library(failure) => {
                ResultCode::in_text(&failure.message).map_or(Severity::Refused, ResultCode::severity)
            }
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

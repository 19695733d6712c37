//! What failed, as an HTTP status and as a gRPC code: two exhaustive matches, nowhere else (W-04, W-95, W-101).
//!
//! The `triton` profile answers as Triton does, including where it calls a client's mistake its own; the `strict`
//! profile names the mistake.

use hanok_backend::{ErrorCode, ServingError};

/// How failures become statuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusProfile {
    /// As Triton does.
    #[default]
    Triton,
    /// As the failure is.
    Strict,
}

impl StatusProfile {
    fn code(self, error: &ServingError) -> ErrorCode {
        match self {
            Self::Triton => error.triton_code(),
            Self::Strict => error.code(),
        }
    }
}

/// The HTTP status of a failure.
///
/// Limits and passed deadlines are 503 in both profiles, which is what Triton answers for a full queue (W-97).
#[must_use]
pub fn http_status(error: &ServingError, profile: StatusProfile) -> u16 {
    match profile.code(error) {
        ErrorCode::InvalidArgument | ErrorCode::Cancelled => 400,
        ErrorCode::NotFound => 404,
        ErrorCode::AlreadyExists => match profile {
            StatusProfile::Triton => 400,
            StatusProfile::Strict => 409,
        },
        ErrorCode::Unavailable | ErrorCode::ResourceExhausted | ErrorCode::DeadlineExceeded => 503,
        ErrorCode::Unsupported => 501,
        ErrorCode::Internal => 500,
    }
}

/// The gRPC code of a failure.
#[must_use]
pub fn grpc_code(error: &ServingError, profile: StatusProfile) -> tonic::Code {
    match profile.code(error) {
        ErrorCode::InvalidArgument => tonic::Code::InvalidArgument,
        ErrorCode::NotFound => tonic::Code::NotFound,
        ErrorCode::AlreadyExists => tonic::Code::AlreadyExists,
        ErrorCode::Unavailable => tonic::Code::Unavailable,
        ErrorCode::ResourceExhausted => tonic::Code::ResourceExhausted,
        ErrorCode::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        ErrorCode::Cancelled => tonic::Code::Cancelled,
        ErrorCode::Unsupported => tonic::Code::Unimplemented,
        ErrorCode::Internal => tonic::Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w04_http_statuses() {
        let status = |code| http_status(&ServingError::new(code, "x"), StatusProfile::Triton);
        assert_eq!(status(ErrorCode::Internal), 500);
        assert_eq!(status(ErrorCode::NotFound), 404);
        assert_eq!(status(ErrorCode::Unavailable), 503);
        assert_eq!(status(ErrorCode::Unsupported), 501);
        assert_eq!(status(ErrorCode::InvalidArgument), 400);
        assert_eq!(status(ErrorCode::AlreadyExists), 400);
        assert_eq!(status(ErrorCode::Cancelled), 400);
    }

    #[test]
    fn w95_grpc_codes() {
        let code = |code| grpc_code(&ServingError::new(code, "x"), StatusProfile::Triton);
        assert_eq!(code(ErrorCode::Internal), tonic::Code::Internal);
        assert_eq!(code(ErrorCode::NotFound), tonic::Code::NotFound);
        assert_eq!(code(ErrorCode::InvalidArgument), tonic::Code::InvalidArgument);
        assert_eq!(code(ErrorCode::Unavailable), tonic::Code::Unavailable);
        assert_eq!(code(ErrorCode::Unsupported), tonic::Code::Unimplemented);
        assert_eq!(code(ErrorCode::AlreadyExists), tonic::Code::AlreadyExists);
        assert_eq!(code(ErrorCode::Cancelled), tonic::Code::Cancelled);
    }

    #[test]
    fn w101_profiles_differ_on_malformed_requests() {
        let error = ServingError::malformed("x");
        assert_eq!(http_status(&error, StatusProfile::Triton), 500);
        assert_eq!(http_status(&error, StatusProfile::Strict), 400);
        assert_eq!(grpc_code(&error, StatusProfile::Strict), tonic::Code::InvalidArgument);
    }
}

//! What failed, as data: one closed code, a text for the client, details for the operator.
//!
//! Turning a code into an HTTP or gRPC status happens in the server, in one exhaustive match each.

use std::borrow::Cow;
use std::fmt;

/// What failed. Closed: a new code is a change of the wire contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request contradicts the protocol or the model's contract.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// Not now: loading, draining, or a queue is full. Trying again may help.
    Unavailable,
    /// A stated limit of the server is exhausted (memory, connections, in-flight requests).
    ResourceExhausted,
    /// The request's deadline passed before it was executed.
    DeadlineExceeded,
    /// The caller is gone.
    Cancelled,
    /// The server or the model does not offer this.
    Unsupported,
    /// A fault of the server, the backend or the model.
    Internal,
}

/// A failure on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingError {
    code: ErrorCode,
    message: Cow<'static, str>,
    operator_detail: Option<Box<str>>,
    triton_code: Option<ErrorCode>,
}

impl ServingError {
    /// A failure with the text that the client may read: no path, address or internal name in it.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), operator_detail: None, triton_code: None }
    }

    /// Adds what only the operator's log may show.
    #[must_use]
    pub fn with_operator_detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.operator_detail = Some(detail.into());
        self
    }

    /// Says which code Triton answers for this class of failure, where it differs from ours
    /// (W-10, W-72: 500 for a client's mistake). The `triton` status profile uses it, `strict` does not.
    #[must_use]
    pub fn with_triton_code(mut self, code: ErrorCode) -> Self {
        self.triton_code = Some(code);
        self
    }

    /// Shorthand for [`ErrorCode::InvalidArgument`].
    #[must_use]
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// A malformed message: `InvalidArgument`, which Triton answers as INTERNAL (W-10).
    #[must_use]
    pub fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid(message).with_triton_code(ErrorCode::Internal)
    }

    /// Shorthand for [`ErrorCode::Internal`].
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// Shorthand for [`ErrorCode::NotFound`].
    #[must_use]
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// Shorthand for [`ErrorCode::Unavailable`].
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// Shorthand for [`ErrorCode::Unsupported`].
    #[must_use]
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    /// What failed.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// What Triton's status for this failure is derived from: its own code where it differs, else ours.
    #[must_use]
    pub fn triton_code(&self) -> ErrorCode {
        self.triton_code.unwrap_or(self.code)
    }

    /// The text for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text for the operator's log, if there is more to say.
    #[must_use]
    pub fn operator_detail(&self) -> Option<&str> {
        self.operator_detail.as_deref()
    }
}

impl fmt::Display for ServingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.operator_detail {
            Some(detail) => write!(formatter, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServingError {}

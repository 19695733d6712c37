//! Why a pull did not succeed.

use std::fmt;

use hanok_registry::{ErrorCode, RegistryError};
use hanok_sources::{SourceError, SourceErrorCode};

/// Why a pull did not succeed; each part tells what to do and has a code.
#[derive(Debug)]
pub(crate) enum PullError {
    /// The source, or the way there.
    Source(SourceError),
    /// The local registry, or the model repository.
    Registry(RegistryError),
    /// What was fetched is not what the caller pinned.
    Pinned {
        /// Digest that was asked for.
        expected: hanok_registry::Digest,
        /// Digest of what came.
        actual: hanok_registry::Digest,
    },
    /// The model's file is none.
    Invalid {
        /// Its name.
        file: String,
        /// Why.
        reason: String,
    },
    /// A part of this program ended early.
    Interrupted(String),
}

impl PullError {
    /// Whether what has been fetched is of no use to another attempt: it is refused for what it is, or takes the room that is
    /// missing.
    pub(super) fn wastes_what_came(&self) -> bool {
        use SourceErrorCode as Code;
        match self {
            Self::Source(error) => matches!(
                error.code(),
                Code::DiskFull
                    | Code::DigestMismatch
                    | Code::InvalidModel
                    | Code::LfsPointer
                    | Code::TooLarge
                    | Code::TooManyFiles
                    | Code::UnsafeEntry
                    | Code::UnsafePath
                    | Code::Unsupported
            ),
            Self::Registry(error) => {
                matches!(error.code(), ErrorCode::ResourceExhausted | ErrorCode::DataLoss | ErrorCode::InvalidArgument)
            }
            Self::Pinned { .. } | Self::Invalid { .. } => true,
            Self::Interrupted(_) => false,
        }
    }
}

impl fmt::Display for PullError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => {
                write!(formatter, "{}; {}", error.message(), error.action())?;
                if let Some(detail) = error.operator_detail() {
                    write!(formatter, ": {detail}")?;
                }
                write!(formatter, " ({})", error.code().as_str())
            }
            Self::Registry(error) => {
                let detail = error.operator_detail().map(|detail| format!(": {detail}")).unwrap_or_default();
                write!(formatter, "{error}{detail} ({})", error.code().as_str())
            }
            Self::Pinned { expected, actual } => write!(
                formatter,
                "expected content with digest `{expected}`, got `{actual}`; do not serve it: ask the publisher, or pin the \
                 new digest if the change is meant (digest-mismatch)"
            ),
            Self::Invalid { file, reason } => write!(
                formatter,
                "`{file}` is no ONNX model: {reason}; publish it anew, and it is fetched again (invalid-model)"
            ),
            Self::Interrupted(what) => write!(formatter, "the pull ended early: {what} (internal)"),
        }
    }
}

impl std::error::Error for PullError {}

impl From<SourceError> for PullError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<RegistryError> for PullError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

//! What failed, as data: closed variants with their values, and one closed code.
//!
//! Whoever reads these texts runs the command on files of their own, so they name files and rows.

use std::error::Error;
use std::{fmt, io};

use hanok_features::FeatureError;
use hanok_sources::SourceError;

use crate::storage::code_of;

/// What failed, in one word for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfflineErrorCode {
    /// The call, a declaration or the content of a file breaks a stated rule.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// A stated limit is reached.
    ResourceExhausted,
    /// A file or store cannot be read or written now.
    Unavailable,
    /// What is asked for is not done here.
    Unsupported,
    /// A file is damaged.
    Damaged,
    /// A bucket wants credentials and none are set.
    CredentialsMissing,
    /// A bucket refused the credentials, or what they may do.
    CredentialsRefused,
    /// A bucket is at an address that is not allowed, or would be spoken to without encryption.
    AddressRefused,
}

impl OfflineErrorCode {
    /// As scripts read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Damaged => "damaged",
            Self::CredentialsMissing => "credentials_missing",
            Self::CredentialsRefused => "credentials_refused",
            Self::AddressRefused => "address_refused",
        }
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineError {
    /// Something breaks a stated rule.
    Invalid {
        /// Where: a file with column and row, a declaration, an option.
        place: String,
        /// Which rule, expected before actual.
        reason: String,
    },
    /// The named thing does not exist.
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name, and what is there instead.
        name: String,
    },
    /// A stated limit is reached.
    LimitReached {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file cannot be read or written.
    Unavailable {
        /// Which file.
        file: String,
        /// What the system says.
        detail: String,
    },
    /// No space is left where a file is written.
    Full {
        /// Which file.
        file: String,
    },
    /// A file is not what its name says, or only a part of it.
    Damaged {
        /// Which file.
        file: String,
        /// What its reader says.
        detail: String,
    },
    /// What is asked for is not done here.
    Unsupported {
        /// Where.
        place: String,
        /// What, and what to do instead.
        reason: String,
    },
    /// A bucket did not do what was asked of it.
    Stored {
        /// Which file, folder or pattern.
        file: String,
        /// Why.
        error: SourceError,
    },
    /// A declaration or an online store failed.
    Features(FeatureError),
}

impl OfflineError {
    /// Something that breaks a rule.
    pub(crate) fn invalid(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), reason: reason.into() }
    }

    /// A file that cannot be read or written.
    pub(crate) fn unavailable(file: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self::Unavailable { file: file.into(), detail: detail.to_string() }
    }

    /// A file that is damaged.
    pub(crate) fn damaged(file: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self::Damaged { file: file.into(), detail: detail.to_string() }
    }

    /// What a bucket did not do.
    pub(crate) fn stored(file: impl Into<String>, error: SourceError) -> Self {
        Self::Stored { file: file.into(), error }
    }

    /// This crate's own error within one of a library that read or wrote through a storage; none where there is none.
    pub(crate) fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        among_causes(error, |cause, _| cause.downcast_ref::<Self>().cloned())
    }

    /// A file that the system or a library could not read or write: the storage's own error where it has one.
    pub(crate) fn from_storage(file: &str, error: &(dyn Error + 'static)) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let is_full = |_: &_, io: Option<&io::Error>| {
            io.filter(|io| matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge)).map(|_| ())
        };
        Self::within(error).unwrap_or_else(|| match among_causes(error, is_full) {
            Some(()) => Self::Full { file: file.to_owned() },
            None => Self::unavailable(file, error),
        })
    }

    /// What failed.
    #[must_use]
    pub const fn code(&self) -> OfflineErrorCode {
        use hanok_features::ErrorCode as Feature;
        match self {
            Self::Invalid { .. } => OfflineErrorCode::InvalidArgument,
            Self::NotFound { .. } => OfflineErrorCode::NotFound,
            Self::LimitReached { .. } | Self::Full { .. } => OfflineErrorCode::ResourceExhausted,
            Self::Unavailable { .. } => OfflineErrorCode::Unavailable,
            Self::Damaged { .. } => OfflineErrorCode::Damaged,
            Self::Unsupported { .. } => OfflineErrorCode::Unsupported,
            Self::Stored { error, .. } => code_of(error.code()),
            Self::Features(error) => match error.code() {
                Feature::InvalidArgument => OfflineErrorCode::InvalidArgument,
                Feature::NotFound => OfflineErrorCode::NotFound,
                Feature::ResourceExhausted => OfflineErrorCode::ResourceExhausted,
                Feature::Unavailable | Feature::DeadlineExceeded => OfflineErrorCode::Unavailable,
                Feature::Unsupported => OfflineErrorCode::Unsupported,
                Feature::Internal => OfflineErrorCode::Damaged,
            },
        }
    }
}

/// The first of an error and its causes of which something is told; what is one of the system's comes as that too.
fn among_causes<T>(
    error: &(dyn Error + 'static),
    tell: impl Fn(&(dyn Error + 'static), Option<&io::Error>) -> Option<T>,
) -> Option<T> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        let by_csv = || match current.downcast_ref::<csv::Error>()?.kind() {
            csv::ErrorKind::Io(error) => Some(error),
            _ => None,
        };
        let io = current.downcast_ref::<io::Error>().or_else(by_csv);
        if let Some(told) = tell(current, io) {
            return Some(told);
        }
        // What an `io::Error` is made of is not its source.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}

impl fmt::Display for OfflineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { place, reason } | Self::Unsupported { place, reason } => {
                write!(formatter, "{place}: {reason}")
            }
            Self::NotFound { what, name } => write!(formatter, "{what} {name}"),
            Self::LimitReached { what, limit } => write!(formatter, "at most `{limit}` {what} are taken"),
            Self::Unavailable { file, detail } => write!(formatter, "`{file}`: {detail}"),
            Self::Full { file } => {
                write!(formatter, "`{file}`: no space is left where it is written; free some there, and run it again")
            }
            Self::Damaged { file, detail } => {
                write!(formatter, "`{file}` is damaged, or was not written to its end: {detail}")
            }
            Self::Stored { file, error } => {
                write!(formatter, "`{file}`: {}; {}", error.message(), error.action())?;
                error.operator_detail().map_or(Ok(()), |detail| write!(formatter, ": {detail}"))
            }
            Self::Features(error) => {
                error.fmt(formatter)?;
                error.operator_detail().map_or(Ok(()), |detail| write!(formatter, " ({detail})"))
            }
        }
    }
}

impl Error for OfflineError {}

impl From<OfflineError> for io::Error {
    /// To be found again by [`OfflineError::within`].
    fn from(error: OfflineError) -> Self {
        Self::other(error)
    }
}

impl From<FeatureError> for OfflineError {
    fn from(error: FeatureError) -> Self {
        Self::Features(error)
    }
}

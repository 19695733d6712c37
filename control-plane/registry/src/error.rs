//! What failed, as data: closed variants with their values, and one closed code for whoever answers a client.
//!
//! Texts name no file or address outside the registry; that is [`RegistryError::operator_detail`].

use std::fmt;

use crate::digest::Digest;
use crate::policy::Obstacle;
use crate::stage::Stage;

/// What failed, for the one place that turns failures into statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The call contradicts the contract; the same call will always be refused.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already, with other content.
    AlreadyExists,
    /// Somebody else changed it first; read again, then decide again.
    Conflict,
    /// The model's own rules are not met yet.
    FailedPrecondition,
    /// A stated limit is reached, or the disk is full.
    ResourceExhausted,
    /// Not now; nothing was changed, and trying again may help.
    Unavailable,
    /// Content is not what its digest says: damaged, or not what was promised.
    DataLoss,
    /// It may or may not have happened; look before doing it again.
    OutcomeUnknown,
    /// The registry cannot be used as it is: read-only, from a newer version, not ours.
    Unsupported,
    /// A fault of the registry.
    Internal,
}

impl ErrorCode {
    /// As it is written, such as `not_found`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::FailedPrecondition => "failed_precondition",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

/// Why a call did not succeed. Unless its code is [`ErrorCode::OutcomeUnknown`], nothing was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryError {
    /// A value breaks a stated rule.
    Invalid {
        /// Which value.
        field: &'static str,
        /// Which rule, expected before actual.
        reason: String,
    },
    /// The named thing does not exist.
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The named thing exists already, with other content.
    AlreadyExists {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The alias does not point where the caller expected.
    AliasMoved {
        /// `MODEL@ALIAS`.
        alias: String,
        /// Version expected; `None`: expected not to exist.
        expected: Option<u64>,
        /// Version found; `None`: it does not exist.
        actual: Option<u64>,
    },
    /// The version is not in the stage that the caller expected.
    StageMoved {
        /// `MODEL/VERSION`.
        version: String,
        /// Stage expected.
        expected: Stage,
        /// Stage found.
        actual: Stage,
    },
    /// There is no way from one stage to the other.
    NoTransition {
        /// Stage that the version is in.
        from: Stage,
        /// Stage that was asked for.
        to: Stage,
    },
    /// The model's rules for the stage are not met.
    NotApproved {
        /// `MODEL/VERSION`.
        version: String,
        /// Stage that was asked for.
        stage: Stage,
        /// What is missing, in order.
        obstacles: Vec<Obstacle>,
    },
    /// The version's files were evicted.
    Evicted {
        /// `MODEL/VERSION`.
        version: String,
        /// Where they can be pulled from again.
        source: Option<String>,
    },
    /// What came is not what was promised.
    DigestMismatch {
        /// Which file or version.
        what: String,
        /// Digest that was promised; `None`: nothing was.
        expected: Option<Digest>,
        /// Digest of what came; `None`: nothing did.
        actual: Option<Digest>,
    },
    /// Somebody changed a file or folder while it was read.
    Changed {
        /// Which.
        path: String,
    },
    /// A stated limit is reached.
    LimitReached {
        /// Of what, with its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was asked for.
        actual: u64,
    },
    /// The database or the file system refused or failed.
    Storage(StorageFailure, Box<str>),
}

/// How the database or the file system refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFailure {
    /// Another process holds the registry for longer than a call waits.
    Busy,
    /// The registry cannot be written to.
    ReadOnly,
    /// The content contradicts itself or cannot be read.
    Corrupt,
    /// There are files, and no database that tells what they are.
    DatabaseLost,
    /// It is a database, but not one of ours.
    NotARegistry,
    /// A newer version of the program has changed the layout.
    NewerLayout {
        /// Newest layout that this program knows.
        known: u64,
        /// Layout found.
        found: u64,
    },
    /// No space is left; nothing was changed.
    DiskFull,
    /// No space is left for a model repository, which need not lie where the registry lies.
    RepositoryFull,
    /// A model repository cannot be written to.
    RepositoryReadOnly,
    /// No space is left for a lock file, which may lie anywhere.
    LockFileFull,
    /// A lock file cannot be written where it is asked for.
    LockFileReadOnly,
    /// The disk failed under a commit.
    OutcomeUnknown,
    /// Anything else.
    Internal,
}

impl RegistryError {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    pub(crate) fn corrupt(detail: impl Into<Box<str>>) -> Self {
        Self::Storage(StorageFailure::Corrupt, detail.into())
    }

    /// The same, of something that was done in a model repository.
    pub(crate) fn in_repository(self) -> Self {
        match self {
            Self::Storage(StorageFailure::DiskFull, detail) => Self::Storage(StorageFailure::RepositoryFull, detail),
            Self::Storage(StorageFailure::ReadOnly, detail) => {
                Self::Storage(StorageFailure::RepositoryReadOnly, detail)
            }
            other => other,
        }
    }

    /// The same, of a lock file.
    pub(crate) fn of_lock_file(self) -> Self {
        match self {
            Self::Storage(StorageFailure::DiskFull, detail) => Self::Storage(StorageFailure::LockFileFull, detail),
            Self::Storage(StorageFailure::ReadOnly, detail) => Self::Storage(StorageFailure::LockFileReadOnly, detail),
            other => other,
        }
    }

    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Self::Storage(StorageFailure::DiskFull, _))
    }

    /// What failed.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::NoTransition { .. } => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::AlreadyExists { .. } => ErrorCode::AlreadyExists,
            Self::AliasMoved { .. } | Self::StageMoved { .. } => ErrorCode::Conflict,
            Self::NotApproved { .. } | Self::Evicted { .. } => ErrorCode::FailedPrecondition,
            Self::LimitReached { .. } => ErrorCode::ResourceExhausted,
            Self::DigestMismatch { .. } => ErrorCode::DataLoss,
            Self::Changed { .. } => ErrorCode::Unavailable,
            Self::Storage(failure, _) => match failure {
                StorageFailure::Busy => ErrorCode::Unavailable,
                StorageFailure::ReadOnly
                | StorageFailure::RepositoryReadOnly
                | StorageFailure::LockFileReadOnly
                | StorageFailure::NotARegistry
                | StorageFailure::NewerLayout { .. } => ErrorCode::Unsupported,
                StorageFailure::DiskFull | StorageFailure::RepositoryFull | StorageFailure::LockFileFull => {
                    ErrorCode::ResourceExhausted
                }
                StorageFailure::OutcomeUnknown => ErrorCode::OutcomeUnknown,
                StorageFailure::Corrupt | StorageFailure::DatabaseLost => ErrorCode::DataLoss,
                StorageFailure::Internal => ErrorCode::Internal,
            },
        }
    }

    /// The text for the operator's log, where there is more to say.
    #[must_use]
    pub fn operator_detail(&self) -> Option<&str> {
        match self {
            Self::Storage(_, detail) if !detail.is_empty() => Some(detail),
            _ => None,
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version =
            |version: &Option<u64>| version.map_or("nothing".to_owned(), |number| format!("version {number}"));
        match self {
            Self::Invalid { field, reason } => write!(formatter, "{field}: {reason}"),
            Self::NotFound { what, name } => write!(formatter, "{what} `{name}` does not exist"),
            Self::AlreadyExists { what, name } => {
                write!(formatter, "{what} `{name}` exists already with other content")
            }
            Self::AliasMoved { alias, expected, actual } => write!(
                formatter,
                "alias `{alias}` has moved: expected {}, found {}",
                version(expected),
                version(actual)
            ),
            Self::StageMoved { version, expected, actual } => {
                write!(formatter, "version `{version}` has moved: expected stage `{expected}`, found `{actual}`")
            }
            Self::NoTransition { from, to } => {
                write!(formatter, "stage: a version in stage `{from}` cannot go to `{to}`")
            }
            Self::NotApproved { version, stage, obstacles } => {
                let obstacles: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
                write!(formatter, "`{version}` is not approved for stage `{stage}`: {}", obstacles.join("; "))
            }
            Self::Evicted { version, source } => {
                write!(formatter, "the files of `{version}` were evicted")?;
                match source {
                    Some(source) => write!(formatter, "; pull `{source}` to have them again"),
                    None => Ok(()),
                }
            }
            Self::DigestMismatch { what, expected, actual } => {
                let digest =
                    |digest: &Option<Digest>| digest.map_or("nothing".to_owned(), |known| format!("`{known}`"));
                let (expected, actual) = (digest(expected), digest(actual));
                write!(formatter, "`{what}` is not what was promised: expected {expected}, got {actual}")
            }
            Self::Changed { path } => {
                write!(formatter, "`{path}` was changed while it was read; try again when nobody writes there")
            }
            Self::LimitReached { what, limit, actual } => {
                write!(formatter, "expected at most {limit} {what}, got {actual}")
            }
            Self::Storage(failure, _) => failure.fmt(formatter),
        }
    }
}

impl fmt::Display for StorageFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Busy => "the registry is held by another process",
            Self::ReadOnly => "the registry is read-only",
            Self::Corrupt => "the registry is damaged",
            Self::DatabaseLost => {
                "the registry's files are here, but its database is gone; restore registry.sqlite from a backup, or move the \
                 folder away and register again"
            }
            Self::NotARegistry => "the database is not a registry",
            Self::NewerLayout { known, found } => {
                return write!(
                    formatter,
                    "the registry was written by a newer version: expected layout {known} or older, found {found}"
                );
            }
            Self::RepositoryFull => {
                "no space is left for the model repository; free some where it lies, and repeat the command"
            }
            Self::RepositoryReadOnly => {
                "the model repository cannot be written to; give this user the right to it, or another `--model-repository`"
            }
            Self::LockFileFull => {
                "no space is left for the lock file; free some where it is to lie, or give another `--file`"
            }
            Self::LockFileReadOnly => {
                "the lock file cannot be written there; give this user the right to its folder, or another `--file`"
            }
            Self::DiskFull => {
                "no space is left for the registry; free some, or evict versions with `hanok registry gc --quota SIZE`"
            }
            Self::OutcomeUnknown => "the registry failed while committing; the change may or may not have happened",
            Self::Internal => "the registry failed",
        })
    }
}

impl std::error::Error for RegistryError {}

impl From<std::io::Error> for RegistryError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let failure = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StorageFailure::ReadOnly,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StorageFailure::DiskFull,
            ErrorKind::WouldBlock => StorageFailure::Busy,
            _ => StorageFailure::Internal,
        };
        Self::Storage(failure, error.to_string().into())
    }
}

impl From<rusqlite::Error> for RegistryError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sqlite;
        let failure = match error.sqlite_error_code() {
            Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => StorageFailure::Busy,
            Some(Sqlite::ReadOnly | Sqlite::PermissionDenied) => StorageFailure::ReadOnly,
            Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => StorageFailure::Corrupt,
            Some(Sqlite::DiskFull) => StorageFailure::DiskFull,
            // The index of the log could not be given its size.
            Some(Sqlite::SystemIoFailure) if extended_code(&error) == SHARED_MEMORY_SIZE => StorageFailure::DiskFull,
            _ => StorageFailure::Internal,
        };
        Self::Storage(failure, error.to_string().into())
    }
}

/// `SQLITE_IOERR_SHMSIZE` of <https://www.sqlite.org/rescode.html>.
const SHARED_MEMORY_SIZE: i32 = 10 | 19 << 8;

fn extended_code(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |failure| failure.extended_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_disk_is_full_is_told() {
        let full = || RegistryError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(full().to_string().starts_with("no space is left for the registry"));
        let repository = full().in_repository();
        assert!(repository.to_string().starts_with("no space is left for the model repository"), "{repository}");
        assert_eq!(repository.code(), ErrorCode::ResourceExhausted);
        assert!(full().is_full() && !repository.is_full(), "evicting versions does not help there");
        let lock = full().of_lock_file();
        assert!(lock.to_string().starts_with("no space is left for the lock file"), "{lock}");
        assert_eq!(lock.code(), ErrorCode::ResourceExhausted);
        assert!(!lock.is_full());
    }
}

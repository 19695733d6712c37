//! What failed, as data: closed variants with their values, and one closed code for whoever answers a client.
//!
//! Texts name no file, address or statement; that is [`StateError::operator_detail`].

use std::fmt;

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
    /// The lease is somebody else's by now; stop acting.
    Fenced,
    /// A stated limit is reached, or the disk is full.
    ResourceExhausted,
    /// Not now; nothing was changed, and trying again may help.
    Unavailable,
    /// It may or may not have happened. Committing the same decision ids again settles it.
    OutcomeUnknown,
    /// The store cannot be used as it is: read-only, from a newer version, not ours.
    Unsupported,
    /// A fault of the store or its data.
    Internal,
}

/// Why a call did not succeed. Unless its code is [`ErrorCode::OutcomeUnknown`], nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
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
    /// The version expected is not the present one.
    Conflict {
        /// Kind of thing: `collection`, `machine` or `cursor`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Version that the caller expected.
        expected: u64,
        /// Version found.
        actual: u64,
    },
    /// A record with this source and id is in the journal, and says something else.
    RecordDiffers {
        /// The event's source.
        source: String,
        /// The event's id.
        id: String,
    },
    /// Some of a transaction's records are in the journal and some are not: it is not the same transaction again.
    PartlyRecorded {
        /// How many are there.
        recorded: usize,
        /// How many were given.
        given: usize,
    },
    /// The lease has been granted again since.
    Fenced {
        /// Name of the lease.
        lease: String,
        /// Token presented.
        token: u64,
        /// Token of the newest grant.
        current: u64,
    },
    /// A stated limit is reached.
    LimitReached {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The queue of calls is full.
    QueueFull {
        /// How many it holds.
        limit: usize,
    },
    /// The store was closed.
    Closed,
    /// The database refused or failed.
    Engine(EngineFailure, Box<str>),
}

/// How a database refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineFailure {
    /// Another process uses the store.
    Locked,
    /// The store cannot be written to.
    ReadOnly,
    /// The store's content contradicts itself or cannot be read.
    Corrupt,
    /// It is a database, but not one of ours.
    NotAStateStore,
    /// A newer version of the program has changed the store's layout.
    NewerLayout {
        /// Newest layout that this program knows.
        known: u64,
        /// Layout found.
        found: u64,
    },
    /// No space is left; nothing was changed, and what is there is served on.
    DiskFull,
    /// The database cannot be reached or is busy.
    Unreachable,
    /// The answer to a commit was lost or the disk failed under it.
    OutcomeUnknown,
    /// The server is set up so that acknowledged would not mean durable, or cannot hold our text.
    UnsafeServer,
    /// Anything else.
    Internal,
}

impl StateError {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn corrupt(detail: impl Into<Box<str>>) -> Self {
        Self::Engine(EngineFailure::Corrupt, detail.into())
    }

    /// What failed.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::RecordDiffers { .. } | Self::PartlyRecorded { .. } => ErrorCode::AlreadyExists,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Fenced { .. } => ErrorCode::Fenced,
            Self::LimitReached { .. } => ErrorCode::ResourceExhausted,
            Self::QueueFull { .. } | Self::Closed => ErrorCode::Unavailable,
            Self::Engine(failure, _) => match failure {
                EngineFailure::Locked | EngineFailure::Unreachable => ErrorCode::Unavailable,
                EngineFailure::ReadOnly
                | EngineFailure::NotAStateStore
                | EngineFailure::NewerLayout { .. }
                | EngineFailure::UnsafeServer => ErrorCode::Unsupported,
                EngineFailure::DiskFull => ErrorCode::ResourceExhausted,
                EngineFailure::OutcomeUnknown => ErrorCode::OutcomeUnknown,
                EngineFailure::Corrupt | EngineFailure::Internal => ErrorCode::Internal,
            },
        }
    }

    /// The text for the operator's log, where there is more to say.
    #[must_use]
    pub fn operator_detail(&self) -> Option<&str> {
        match self {
            Self::Engine(_, detail) => Some(detail),
            _ => None,
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { field, reason } => write!(formatter, "{field}: {reason}"),
            Self::NotFound { what, name } => write!(formatter, "{what} `{name}` does not exist"),
            Self::Conflict { what, name, expected, actual } => {
                write!(formatter, "{what} `{name}` has changed: expected version {expected}, found {actual}")
            }
            Self::RecordDiffers { source, id } => {
                write!(formatter, "the journal holds other content for id `{id}` of source `{source}`")
            }
            Self::PartlyRecorded { recorded, given } => write!(
                formatter,
                "expected none or all of the transaction's {given} records in the journal, found {recorded}"
            ),
            Self::Fenced { lease, token, current } => {
                write!(formatter, "lease `{lease}` was granted again: expected token {token}, found {current}")
            }
            Self::LimitReached { what, limit } => write!(formatter, "at most {limit} {what} are held"),
            Self::QueueFull { limit } => write!(formatter, "{limit} calls to the state store are waiting already"),
            Self::Closed => formatter.write_str("the state store is closed"),
            Self::Engine(failure, _) => failure.fmt(formatter),
        }
    }
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Locked => "the state store is in use by another process",
            Self::ReadOnly => "the state store is read-only",
            Self::Corrupt => "the state store is damaged",
            Self::NotAStateStore => "the database is not a state store",
            Self::NewerLayout { known, found } => {
                return write!(
                    formatter,
                    "the state store was written by a newer version: expected layout {known} or older, found {found}"
                );
            }
            Self::DiskFull => "no space is left for the state store; free some on its disk",
            Self::Unreachable => "the state store cannot be reached at the moment",
            Self::OutcomeUnknown => "the state store failed while committing; the change may or may not have happened",
            Self::UnsafeServer => "the database server's settings do not keep what it acknowledges",
            Self::Internal => "the state store failed",
        })
    }
}

impl std::error::Error for StateError {}

//! Why a call on the controller did not succeed, as data. The admin port turns it into a status.

use hanok_state::StateError;
use thiserror::Error;

use crate::declared::Problem;

/// Why a call did not succeed; nothing has changed then, but where the variant says so.
#[derive(Clone, Debug, Error)]
pub(crate) enum ControlError {
    #[error("the declaration has `{}` problems, the first at {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Problems(Vec<Problem>),
    #[error("expected revision `{expected}`, found `{found}`")]
    RevisionMismatch { expected: u64, found: u64 },
    #[error("{what} `{name}` does not exist")]
    NotFound { what: &'static str, name: String },
    #[error("{0}")]
    Refused(String),
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error("another replica acts: `{holder}`")]
    NotLeader { holder: String },
    /// The runtimes that could be reached have their last good table; the store does not know of it.
    #[error("in force on `{in_force}` of `{runtimes}` runtimes, but not recorded: {reason}")]
    NotRecorded { in_force: usize, runtimes: usize, reason: StateError },
    #[error(transparent)]
    Store(#[from] StateError),
    #[error("stored {what} `{name}` cannot be read: {reason}")]
    Stored { what: &'static str, name: String, reason: String },
    #[error("the controller has more calls waiting than it takes")]
    Busy,
    #[error("the controller has stopped")]
    Stopped,
}

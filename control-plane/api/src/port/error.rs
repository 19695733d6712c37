//! Why a runtime did not do what it was asked.

use hanok_routing::TableError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a runtime did not do what it was asked. Travels between processes as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PortError {
    /// Another table is in force than expected.
    #[error("expected table version `{expected}` in force, got `{in_force}`")]
    Conflict {
        /// What was expected.
        expected: u64,
        /// What is.
        in_force: u64,
    },
    /// The version is not above the one in force, or was used for other content.
    #[error("table version `{offered}` is not new, `{in_force}` is in force")]
    NotNew {
        /// Version offered.
        offered: u64,
        /// What is in force.
        in_force: u64,
    },
    /// The table or a comparison has problems.
    #[error("the table was refused: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The version to mark good is not known any more.
    #[error("table version `{version}` is not known any more")]
    UnknownVersion {
        /// Version asked for.
        version: u64,
    },
    /// No table was marked good.
    #[error("no table was marked good")]
    NoGoodTable,
    /// It could not be reached, or did not answer in time.
    #[error("the runtime cannot be reached: {0}")]
    Unreachable(String),
    /// It refused the token.
    #[error("the runtime refused the token")]
    Unauthorised,
    /// It answered something else than expected.
    #[error("the runtime answered unexpectedly: {0}")]
    Protocol(String),
}

impl PortError {
    /// Whether trying the same again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

impl From<TableError> for PortError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Invalid(problems) => Self::Invalid(problems.iter().map(ToString::to_string).collect()),
            TableError::Conflict { expected, in_force } => Self::Conflict { expected, in_force },
            TableError::NotNew { offered, in_force } => Self::NotNew { offered, in_force },
            TableError::Unknown { version } => Self::UnknownVersion { version },
            TableError::NoGoodTable => Self::NoGoodTable,
        }
    }
}

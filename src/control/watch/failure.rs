//! Why a version was not brought into service.

use std::fmt;

use hanok_api::CallError;

use crate::pulling::PullError;

/// Why a version was not brought into service.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be pulled.
    Pull(PullError),
    /// The reference names something else by now.
    Overtaken(String),
    /// Anything else, as a text for the operator.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull(error) => error.fmt(formatter),
            Self::Overtaken(to) => write!(formatter, "the reference names `{to}` by now"),
            Self::Other(text) => formatter.write_str(text),
        }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        Self::Pull(error)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Other(format!("the control plane refused: {error}"))
    }
}

//! Why a command could not do what was asked, told to the person at the terminal.
//!
//! Not the wire's error codes: those arrive inside [`ClientError`]. The invariant: every text says what to do next.

use std::fmt;

use hanok_offline::OfflineError;
use hanok_registry::RegistryError;

use crate::client::ClientError;
use crate::pulling::PullError;

/// A command's failure. The process ends with status 1 and prints it on standard error.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The command line or one of its files is wrong: what was expected, what was given, what to do.
    Input(String),
    /// Talking to a server failed.
    Client(ClientError),
    /// Something on this machine failed: a file, the terminal, a start-up. The text says what to do.
    Failed(String),
}

impl CommandError {
    /// A mistake on the command line or in a file that it names.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// A failure on this machine.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) | Self::Failed(message) => formatter.write_str(message),
            Self::Client(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<RegistryError> for CommandError {
    /// With the code in brackets: scripts go by it.
    fn from(error: RegistryError) -> Self {
        let detail = error.operator_detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        Self::Failed(format!("{error}{detail} ({})", error.code().as_str()))
    }
}

impl From<PullError> for CommandError {
    fn from(error: PullError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<OfflineError> for CommandError {
    /// With the code in brackets: scripts go by it.
    fn from(error: OfflineError) -> Self {
        Self::Failed(format!("{error} ({})", error.code().as_str()))
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("could not write the result: {error}"))
    }
}

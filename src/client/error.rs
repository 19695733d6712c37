//! Why a call to a v2 server failed, in words for the person who typed the command.
//!
//! Not a wire error: the server's own text is carried inside [`ClientError::Refused`], unchanged.

use std::fmt;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// No connection, or it broke.
    Unreachable {
        /// The address as typed.
        server: String,
        /// What the operating system or the transport said.
        cause: String,
    },
    /// The server answered with an error.
    Refused {
        /// `400`, `NOT_FOUND`, ...
        status: String,
        /// The server's text.
        message: String,
    },
    /// The answer breaks the protocol.
    Reply(String),
    /// The request cannot be made with this protocol or encoding.
    Unsupported(String),
}

impl ClientError {
    /// A reply that breaks the protocol.
    pub(crate) fn reply(message: impl Into<String>) -> Self {
        Self::Reply(message.into())
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { server, cause } => write!(
                formatter,
                "no answer from `{server}`: {cause}; start a server with `hanok serve`, or name a running one with \
                 --server http://HOST:PORT or --server grpc://HOST:PORT"
            ),
            Self::Refused { status, message } if message.is_empty() => {
                write!(formatter, "the server answered {status} without a text; its log says more")
            }
            Self::Refused { status, message } => write!(formatter, "the server answered {status}: {message}"),
            Self::Reply(message) => write!(
                formatter,
                "the server's answer breaks the v2 protocol: {message}; check that --server names an inference server"
            ),
            Self::Unsupported(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for ClientError {}

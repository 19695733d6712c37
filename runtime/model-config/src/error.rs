//! What can be wrong with a configuration: where in the text, or which field and why.
//!
//! Messages carry no file-system path and no machine detail, so that they may be shown to a client as they are.

use std::fmt;

use thiserror::Error;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Path of the field, such as `input[0].dims[1]`; empty for the configuration as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ConfigProblem {
    /// A problem of the field at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "{}: {}", self.path, self.message)
        }
    }
}

/// A field that was accepted and is not acted upon; for the log, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Path of the field, such as `optimization.graph`.
    pub path: String,
    /// Why it has no effect.
    pub message: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Why there is no configuration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The text is larger than is read.
    #[error("model configuration is larger than the maximum of `{maximum}` bytes, got `{actual}`")]
    TooLarge {
        /// Most that is read, in bytes.
        maximum: usize,
        /// Size of the text, in bytes.
        actual: usize,
    },
    /// The text is not a configuration.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The configuration contradicts itself, its model, or asks for what is not offered; never empty.
    #[error("{}", joined(.0))]
    Invalid(Vec<ConfigProblem>),
    /// The bytes are not a readable ONNX model.
    #[error("not a readable ONNX model: {0}")]
    Onnx(String),
}

fn joined(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<Vec<ConfigProblem>> for ConfigError {
    fn from(problems: Vec<ConfigProblem>) -> Self {
        Self::Invalid(problems)
    }
}

//! The text form of a configuration: protobuf's text format, read against the descriptors of our own messages.
//!
//! Accepts what protobuf's own reader accepts and refuses more: unknown fields and enum names, repeated map keys and a
//! field given twice, each with line, column and, for a name, the nearest known one. Not a writer. Work and memory are
//! bounded by the size of the text; nesting is bounded by the messages themselves, none of which contains itself.

mod escape;
mod lexer;
mod parser;

use parser::Parser;

use crate::{ConfigError, wire};

/// Largest configuration that is read, as text or as JSON, in bytes.
pub(crate) const MAXIMUM_TEXT_BYTES: usize = 1 << 20;

/// Parses the text of a `config.pbtxt`.
///
/// # Errors
/// [`ConfigError::TooLarge`] above 1 MiB; [`ConfigError::Syntax`] with the place and the reason of the first mistake.
pub fn parse_pbtxt(text: &str) -> Result<wire::ModelConfig, ConfigError> {
    if text.len() > MAXIMUM_TEXT_BYTES {
        return Err(ConfigError::TooLarge { maximum: MAXIMUM_TEXT_BYTES, actual: text.len() });
    }
    let message = Parser::new(text)?.document(&wire::model_config_descriptor())?;
    message.transcode_to().map_err(|error| ConfigError::Syntax { line: 1, column: 1, message: error.to_string() })
}

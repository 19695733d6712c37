//! From text to a validated configuration in one call.

use crate::{
    CompletionFacts, ConfigError, FilledField, ModelConfig, ModelSignature, Notice, complete, parse_pbtxt, wire,
};

/// A configuration, and what its reader should be told about it.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The validated configuration.
    pub config: ModelConfig,
    /// Fields that completion filled, for the log.
    pub filled: Vec<FilledField>,
    /// Fields that are accepted and have no effect, for the log.
    pub notices: Vec<Notice>,
}

/// Parses `text` (a `config.pbtxt`; may be empty), completes and validates it.
///
/// # Errors
/// As [`parse_pbtxt`]; [`ConfigError::Invalid`] with every problem found.
pub fn load_config(
    text: &str,
    facts: &CompletionFacts,
    signature: Option<&ModelSignature>,
) -> Result<LoadedConfig, ConfigError> {
    load_wire_config(parse_pbtxt(text)?, facts, signature)
}

/// Completes and validates a configuration that came as a message (a load request's override).
///
/// # Errors
/// [`ConfigError::Invalid`] with every problem found.
pub fn load_wire_config(
    mut wire: wire::ModelConfig,
    facts: &CompletionFacts,
    signature: Option<&ModelSignature>,
) -> Result<LoadedConfig, ConfigError> {
    let filled = complete(&mut wire, signature, facts)?;
    let (config, notices) = ModelConfig::from_wire(wire, facts)?;
    Ok(LoadedConfig { config, filled, notices })
}

//! Which built-in model a configuration asks for.
//!
//! Not the models themselves: names only, and the answer to a name that is none of them.

use std::fmt;

use hanok_backend::ServingError;
use hanok_model_config::ModelConfig;

/// A built-in model, named by the configuration parameter `model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// Gives every input as the output of the same position; Triton's identity backend.
    Identity,
    /// First output: sum of two inputs; second output: their difference. Integers wrap round.
    AddSub,
    /// One response per element; Triton's repeat backend. Decoupled.
    Repeat,
    /// As many responses as the input's value says; Triton's square backend. Decoupled.
    Square,
    /// Running sum over a sequence, told by control inputs where sequences start and end.
    SequenceAccumulator,
    /// Identity that first sleeps for as many milliseconds as the first element says.
    Sleep,
    /// Identity that fails as `Internal` for a request whose first INT32 element is -1.
    Fail,
    /// Identity that panics for a request whose first INT32 element is -1.
    Panic,
}

impl ModelKind {
    /// Every kind, in the order of messages.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::AddSub,
        Self::Repeat,
        Self::Square,
        Self::SequenceAccumulator,
        Self::Sleep,
        Self::Fail,
        Self::Panic,
    ];

    /// The name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::AddSub => "add_sub",
            Self::Repeat => "repeat",
            Self::Square => "square",
            Self::SequenceAccumulator => "sequence_accumulator",
            Self::Sleep => "sleep",
            Self::Fail => "fail",
            Self::Panic => "panic",
        }
    }

    /// The kind that the parameter `model` of `config` names.
    ///
    /// # Errors
    /// `InvalidArgument`, listing the kinds, when there is no such parameter or its value is none of them.
    pub fn from_config(config: &ModelConfig) -> Result<Self, ServingError> {
        let kinds = Self::ALL.map(|kind| format!("`{kind}`")).join(", ");
        let Some(name) = config.parameters.get("model") else {
            return Err(ServingError::invalid(format!(
                "backend `builtin` needs the parameter `model`, one of {kinds}, in the configuration of model `{}`",
                config.name
            )));
        };
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let hint = Self::nearest(name).map(|kind| format!("; did you mean `{kind}`?")).unwrap_or_default();
            ServingError::invalid(format!(
                "parameter `model` of model `{}` must be one of {kinds}, got `{name}`{hint}",
                config.name
            ))
        })
    }

    /// The kind whose name is at most a third of its letters away from `name`.
    fn nearest(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .map(|kind| (strsim::osa_distance(kind.name(), name), kind))
            .min_by_key(|&(distance, _)| distance)
            .filter(|(distance, kind)| distance * 3 <= kind.name().len())
            .map(|(_, kind)| kind)
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_kind() {
        assert_eq!(ModelKind::nearest("identiy"), Some(ModelKind::Identity));
        assert_eq!(ModelKind::nearest("addsub"), Some(ModelKind::AddSub));
        assert_eq!(ModelKind::nearest("sequence-accumulator"), Some(ModelKind::SequenceAccumulator));
        assert_eq!(ModelKind::nearest("resnet50"), None);
    }
}

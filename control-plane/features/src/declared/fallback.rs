//! What happens when a feature has no usable value.

use crate::value::Value;

/// What happens when a feature has no row, is null, is stale, or its store does not answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fallback {
    /// The declared default.
    Default(Value),
    /// A stale value as it is, and when the store does not answer the last value that was seen, however old; otherwise
    /// the declared default if there is one, else the request fails.
    LastKnown(Option<Value>),
    /// Passed on as missing: NaN in a tensor of floats.
    Missing,
    /// The request fails.
    Fail,
}

impl Fallback {
    /// The declared words.
    pub(super) const NAMES: [&'static str; 4] = ["default", "last_known", "missing", "fail"];

    /// As it is declared.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Default(_) => "default",
            Self::LastKnown(_) => "last_known",
            Self::Missing => "missing",
            Self::Fail => "fail",
        }
    }
}

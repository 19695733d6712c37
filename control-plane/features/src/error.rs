//! What failed, as data: closed variants with their values, and one closed code for whoever answers a client.
//!
//! Texts name no file, address or credential; that is [`FeatureError::operator_detail`].

use std::fmt;

use crate::declared::nearest;

/// What failed, for the one place that turns failures into statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The call contradicts the contract; the same call will always be refused.
    InvalidArgument,
    /// The named thing does not exist, or a feature has no value and no fallback.
    NotFound,
    /// A stated limit is reached, or the disk is full.
    ResourceExhausted,
    /// Not now; trying again may help.
    Unavailable,
    /// The deadline came first.
    DeadlineExceeded,
    /// The store or its content cannot be used as declared.
    Unsupported,
    /// A fault of the store or its data.
    Internal,
}

impl ErrorCode {
    /// As it is written, such as `not_found`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

/// Why a feature has no usable value and the request fails for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The store has no row for the key.
    NotFound,
    /// The stored value is null.
    Null,
    /// The value is older than the declared maximum age.
    Stale {
        /// How old it is, in whole seconds.
        age_seconds: u64,
        /// How old it may be, in whole seconds.
        maximum_seconds: u64,
    },
    /// A maximum age is declared, and the store does not tell readably from when the value is.
    OfUnknownAge {
        /// How old it may be, in whole seconds.
        maximum_seconds: u64,
    },
    /// What is stored cannot be used as declared, and what the operator should know about it: it may repeat the value.
    Unusable(Box<str>),
    /// The store did not answer, and what the operator should know about it.
    StoreUnavailable(Box<str>),
    /// The store did not answer in time.
    StoreTooSlow,
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureError {
    /// A value breaks a stated rule.
    Invalid {
        /// Which value.
        field: String,
        /// Which rule, expected before actual.
        reason: String,
    },
    /// The named thing does not exist.
    NotFound {
        /// Kind of thing: `feature view`, `feature`, `entity`, ...
        what: &'static str,
        /// Its name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A feature has no usable value for a row, and its fallback is to fail.
    NoValue {
        /// `view:feature`.
        feature: String,
        /// Which row of the request.
        row: usize,
        /// Why.
        why: Missing,
    },
    /// A stated limit is reached.
    LimitReached {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The store cannot be reached, refuses, or answers what is no answer. The second text is for the operator.
    Unavailable(&'static str, Box<str>),
    /// No space is left on the store's disk; nothing was changed. The second text is for the operator.
    Full(&'static str, Box<str>),
    /// The deadline came first.
    DeadlineExceeded,
    /// The store or its content cannot be used as declared.
    Unsupported(String),
    /// The store's content contradicts itself, or the store failed. The second text is for the operator.
    Internal(&'static str, Box<str>),
}

impl FeatureError {
    /// A value that breaks a rule.
    #[must_use]
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// The same, about a row of a request.
    #[must_use]
    pub(crate) fn in_row(self, row: usize) -> Self {
        match self {
            Self::Invalid { field, reason } => Self::Invalid { field: format!("{field}, row `{row}`"), reason },
            other => other,
        }
    }

    /// A name that does not exist, clipped, with the nearest that does.
    pub(crate) fn not_found<'n>(what: &'static str, name: &str, known: impl Iterator<Item = &'n str>) -> Self {
        Self::NotFound { what, nearest: nearest(name, known), name: name.chars().take(128).collect() }
    }

    /// A store that cannot be used now.
    #[must_use]
    pub fn unavailable(what: &'static str, detail: impl fmt::Display) -> Self {
        Self::Unavailable(what, detail.to_string().into())
    }

    /// A store that failed.
    #[must_use]
    pub fn internal(what: &'static str, detail: impl fmt::Display) -> Self {
        Self::Internal(what, detail.to_string().into())
    }

    /// What failed.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::NoValue { why, .. } => match why {
                Missing::NotFound | Missing::Null => ErrorCode::NotFound,
                Missing::Unusable(_) => ErrorCode::Unsupported,
                Missing::Stale { .. } | Missing::OfUnknownAge { .. } | Missing::StoreUnavailable(_) => {
                    ErrorCode::Unavailable
                }
                Missing::StoreTooSlow => ErrorCode::DeadlineExceeded,
            },
            Self::Unsupported(_) => ErrorCode::Unsupported,
            Self::LimitReached { .. } | Self::Full(..) => ErrorCode::ResourceExhausted,
            Self::Unavailable(..) => ErrorCode::Unavailable,
            Self::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Self::Internal(..) => ErrorCode::Internal,
        }
    }

    /// The text for the operator's log, where there is more to say.
    #[must_use]
    pub fn operator_detail(&self) -> Option<&str> {
        match self {
            Self::Unavailable(_, detail)
            | Self::Full(_, detail)
            | Self::Internal(_, detail)
            | Self::NoValue { why: Missing::StoreUnavailable(detail) | Missing::Unusable(detail), .. } => Some(detail),
            _ => None,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => formatter.write_str("the store has no row for the key"),
            Self::Null => formatter.write_str("the stored value is null"),
            Self::Stale { age_seconds, maximum_seconds } => {
                write!(formatter, "the value is stale: expected at most `{maximum_seconds}` s, got `{age_seconds}` s")
            }
            Self::OfUnknownAge { maximum_seconds } => {
                write!(formatter, "the value's age is not known: expected at most `{maximum_seconds}` s")
            }
            Self::Unusable(_) => formatter.write_str("the stored value cannot be used as declared"),
            Self::StoreUnavailable(_) => formatter.write_str("the feature store is unavailable"),
            Self::StoreTooSlow => formatter.write_str("the feature store did not answer in time"),
        }
    }
}

impl fmt::Display for FeatureError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { field, reason } => write!(formatter, "{field}: {reason}"),
            Self::NotFound { what, name, nearest } => {
                write!(formatter, "{what} `{name}` does not exist")?;
                nearest.as_ref().map_or(Ok(()), |nearest| write!(formatter, "; did you mean `{nearest}`?"))
            }
            Self::NoValue { feature, row, why } => write!(formatter, "feature `{feature}` of row `{row}`: {why}"),
            Self::LimitReached { what, limit } => write!(formatter, "at most `{limit}` {what} are taken"),
            Self::Unavailable(what, _) | Self::Internal(what, _) => formatter.write_str(what),
            Self::Full(what, _) => write!(formatter, "{what}: no space is left; free some on its disk"),
            Self::DeadlineExceeded => formatter.write_str("the deadline came before the features"),
            Self::Unsupported(what) => formatter.write_str(what),
        }
    }
}

impl std::error::Error for FeatureError {}

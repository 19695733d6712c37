//! Faults of features as the operator of a command reads them: what, why, what to do, and the code in brackets, which scripts
//! go by.

use hanok_features::{ErrorCode, FeatureError, Missing};

use crate::commands::error::CommandError;

/// A fault as the operator of a command reads it.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(crate) fn told_to_operator(error: FeatureError) -> CommandError {
    let detail = error.operator_detail().map_or_else(String::new, |detail| format!(" ({detail})"));
    let remedy = remedy(&error).map_or_else(String::new, |remedy| format!("; {remedy}"));
    CommandError::failed(with_code(&format!("{error}{detail}{remedy}"), error.code()))
}

/// A mistake in a command's arguments or files.
pub(crate) fn mistake(code: ErrorCode, text: &str) -> CommandError {
    CommandError::input(with_code(text, code))
}

fn with_code(text: &str, code: ErrorCode) -> String {
    format!("{text} ({})", code.as_str())
}

/// What to do, where the text does not say so already.
const fn remedy(error: &FeatureError) -> Option<&'static str> {
    Some(match error {
        FeatureError::Invalid { .. } | FeatureError::Full(..) | FeatureError::Unsupported(_) => return None,
        FeatureError::NotFound { .. } => "give a name that the declarations have, or declare it",
        FeatureError::NoValue { why, .. } => match why {
            Missing::NotFound | Missing::Null => {
                "write it with `hanok features put`, or declare a `default` or another `fallback`"
            }
            Missing::Stale { .. } => {
                "write newer rows, or declare a larger `maximum_age_seconds` or another `fallback`"
            }
            Missing::OfUnknownAge { .. } => "write its event time too, or declare no `maximum_age_seconds`",
            Missing::Unusable(_) => "correct what is stored, or the type that is declared",
            Missing::StoreUnavailable(_) => STORE,
            Missing::StoreTooSlow => DEADLINE,
        },
        FeatureError::LimitReached { .. } => "give fewer at once",
        FeatureError::Unavailable(..) => STORE,
        FeatureError::DeadlineExceeded => DEADLINE,
        FeatureError::Internal(..) => {
            "see what the disk says; else restore the store, or move it away and write its rows anew"
        }
    })
}

const STORE: &str =
    "see that the store is there and that its path or address, and the rights to it, are what is declared";
const DEADLINE: &str = "see why the store is slow, or declare more `deadline_milliseconds`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_why_what_to_do_and_the_code() {
        let told = told_to_operator(FeatureError::Unavailable("the store is away", "refused".into())).to_string();
        assert!(told.starts_with("the store is away (refused); see that the store is there"), "{told}");
        assert!(told.ends_with(" (unavailable)"), "{told}");
        let told = told_to_operator(FeatureError::invalid("key `a`", "expected `int32`, got `x`")).to_string();
        assert_eq!(told, "key `a`: expected `int32`, got `x` (invalid_argument)");
    }
}

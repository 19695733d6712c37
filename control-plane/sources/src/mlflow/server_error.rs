//! What MLflow's errors mean: `{"error_code": …, "message": …}`, and answers that are not MLflow's at all. Pure.

use http::StatusCode;
use serde_json::Value;

use crate::artifact_path::shown;
use crate::egress::short_document;
use crate::web::refused_status;
use crate::{SourceError, SourceErrorCode};

/// What was asked, for the words of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question<'a> {
    /// Which version an alias of a model points at.
    Alias {
        /// The model.
        model: &'a str,
        /// Its alias.
        alias: &'a str,
    },
    /// Something of MLflow's.
    Plain(&'a str),
}

impl Question<'_> {
    fn words(self) -> String {
        match self {
            Self::Alias { model, alias } => format!("alias `{}` of model `{}`", shown(alias), shown(model)),
            Self::Plain(what) => shown(what),
        }
    }
}

/// The document of a good answer.
///
/// # Errors
/// What the server refused, or `UnexpectedAnswer` when it is no MLflow server that answers.
pub(super) fn judged(
    status: StatusCode,
    host: &str,
    document: &[u8],
    question: Question<'_>,
    with_credentials: bool,
) -> Result<Value, SourceError> {
    let parsed: Option<Value> = serde_json::from_slice(document).ok().filter(Value::is_object);
    let error_code = parsed.as_ref().and_then(|value| value["error_code"].as_str()).unwrap_or_default();
    let said =
        parsed.as_ref().and_then(|value| value["message"].as_str()).map_or_else(|| short_document(document), shown);
    let what = question.words();
    if status.is_success()
        && let Some(value) = parsed
    {
        return Ok(value);
    }
    let error = match error_code {
        "INVALID_PARAMETER_VALUE" | "RESOURCE_DOES_NOT_EXIST"
            if matches!(question, Question::Alias { .. }) && said.contains("alias") =>
        {
            SourceError::new(
                SourceErrorCode::AliasMissing,
                format!("{what} points at no version"),
                "set the alias in MLflow, or name a version: mlflow://NAME/VERSION",
            )
        }
        "RESOURCE_DOES_NOT_EXIST" => {
            let what = match question {
                // What is missing is the model.
                Question::Alias { model, .. } => format!("model `{}`", shown(model)),
                Question::Plain(_) => what,
            };
            SourceError::new(
                SourceErrorCode::NotFound,
                format!("MLflow has no {what}"),
                "check the name of the model and its version; names are case-sensitive",
            )
        }
        "UNAUTHENTICATED" | "PERMISSION_DENIED" | "CUSTOMER_UNAUTHORIZED" => {
            return Err(refused_status(StatusCode::UNAUTHORIZED, host, &what, with_credentials)
                .unwrap_or_else(|| not_mlflow(host, document)));
        }
        "" if parsed_is_foreign(status, document) => return Err(not_mlflow(host, document)),
        _ => match refused_status(status, host, &what, with_credentials) {
            Some(error) => error,
            None => return Err(not_mlflow(host, document)),
        },
    };
    Err(error.with_operator_detail(format_args!("{status} {error_code}: {said}")))
}

/// An answer that claims success without JSON, or an error page for a path that every MLflow server has.
fn parsed_is_foreign(status: StatusCode, document: &[u8]) -> bool {
    status.is_success() || (status == StatusCode::NOT_FOUND && document.trim_ascii_start().starts_with(b"<"))
}

/// Somebody else's answer: a login page, a proxy's error, another service.
fn not_mlflow(host: &str, document: &[u8]) -> SourceError {
    let page = document.trim_ascii_start().starts_with(b"<");
    SourceError::new(
        SourceErrorCode::UnexpectedAnswer,
        format!("`{}` answered with {} instead of MLflow's JSON", shown(host), if page { "a web page" } else { "something else" }),
        "check that MLFLOW_TRACKING_URI is the tracking server itself, with its path if it has one, and not a login page before it",
    )
    .with_operator_detail(short_document(document))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    /// Bodies as MLflow 3.17 sent them.
    #[test]
    fn answers_mean_what_they_mean() {
        let alias_missing = br#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias nope not found.", "sqlstate": "KAM00"}"#;
        let no_model =
            br#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model with name=none not found"}"#;
        let nope = Question::Alias { model: "none", alias: "nope" };
        let error = judged(StatusCode::NOT_FOUND, "host", no_model, nope, false).unwrap_err();
        assert_eq!(error.message(), "MLflow has no model `none`");
        let error = judged(StatusCode::BAD_REQUEST, "host", alias_missing, nope, false).unwrap_err();
        assert_eq!(error.message(), "alias `nope` of model `none` points at no version");
        for (status, body, question, expected) in [
            (400, alias_missing.as_slice(), nope, SourceErrorCode::AliasMissing),
            (404, no_model, nope, SourceErrorCode::NotFound),
            (404, no_model, Question::Plain("model `none`"), SourceErrorCode::NotFound),
            (200, b"<!doctype html><html>log in</html>", Question::Plain("x"), SourceErrorCode::UnexpectedAnswer),
            (404, b"<!doctype html>\n<title>404", Question::Plain("x"), SourceErrorCode::UnexpectedAnswer),
            (200, b"[1]", Question::Plain("x"), SourceErrorCode::UnexpectedAnswer),
            (200, b"", Question::Plain("x"), SourceErrorCode::UnexpectedAnswer),
            (401, b"You are not authenticated.", Question::Plain("x"), SourceErrorCode::CredentialsMissing),
            (
                403,
                br#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#,
                Question::Plain("x"),
                SourceErrorCode::CredentialsMissing,
            ),
            (
                500,
                br#"{"error_code": "INTERNAL_ERROR", "message": "no"}"#,
                Question::Plain("x"),
                SourceErrorCode::ServerError,
            ),
            (502, b"<html>bad gateway</html>", Question::Plain("x"), SourceErrorCode::ServerError),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                judged(status, "host", body, question, false).unwrap_err().code(),
                expected,
                "{status} {body:?}"
            );
        }
        assert!(judged(StatusCode::OK, "host", b"{}", Question::Plain("x"), false).is_ok());
    }
}

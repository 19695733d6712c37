//! What an HTTP status means for a pull. One place.

use http::StatusCode;

use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

/// The error that `status` of `host` means for `what`; `None` for success.
pub(crate) fn refused_status(
    status: StatusCode,
    host: &str,
    what: &str,
    with_credentials: bool,
) -> Option<SourceError> {
    if status.is_success() {
        return None;
    }
    let host = shown(host);
    let (code, happened, action) = match status.as_u16() {
        401 | 403 | 407 if with_credentials => (
            SourceErrorCode::CredentialsRefused,
            format!("`{host}` refused the credentials for {what} ({status})"),
            "check that they are current and may read this",
        ),
        401 | 403 | 407 => (
            SourceErrorCode::CredentialsMissing,
            format!("`{host}` wants credentials for {what} ({status}), and none are set for it"),
            "set them in the environment or a netrc file; see the documentation of sources",
        ),
        404 | 410 => {
            (SourceErrorCode::NotFound, format!("`{host}` has no {what} ({status})"), "check the name and the address")
        }
        408 | 425 | 429 | 500..=599 => (
            SourceErrorCode::ServerError,
            format!("`{host}` cannot serve {what} now ({status})"),
            "repeat the command later; check the server",
        ),
        _ => (
            SourceErrorCode::UnexpectedAnswer,
            format!("`{host}` answered {status} for {what}"),
            "check that the address is that of the right server",
        ),
    };
    Some(SourceError::new(code, happened, action))
}

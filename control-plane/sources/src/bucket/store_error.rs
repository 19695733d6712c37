//! What object_store's errors mean for a pull.

use std::error::Error as StdError;

use http::StatusCode;
use object_store::Error;

use crate::artifact_path::shown;
use crate::web::refused_status;
use crate::{BucketReference, SourceError, SourceErrorCode};

/// `error`, which happened on the way to `what` of `bucket`, in our words; our own error where there is one within.
pub(super) fn explained(error: &Error, bucket: &BucketReference, what: &str) -> SourceError {
    let mut chain = Vec::new();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<SourceError>() {
            return own.clone();
        }
        chain.push(shown(&current.to_string()));
        cause = current.source();
    }
    if let Error::Generic { .. } = error
        && let Some(refused) = status_within(&chain)
            .and_then(|status| refused_status(status, &bucket.bucket, &format!("`{}`", shown(what)), true))
    {
        return refused.with_operator_detail(chain.join(": "));
    }
    let place = format!("{}://{}", bucket.provider.scheme(), bucket.bucket);
    let what = shown(what);
    let (code, message, action) = match error {
        Error::NotFound { .. } => (
            SourceErrorCode::NotFound,
            format!("`{place}` has no `{what}`, or there is no such bucket"),
            "check the bucket, the prefix, and the region or endpoint",
        ),
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => (
            SourceErrorCode::CredentialsRefused,
            format!("`{place}` refused the credentials for `{what}`"),
            "check that they are current, belong to this endpoint, and may list and read the bucket",
        ),
        Error::InvalidPath { .. } => (
            SourceErrorCode::UnsafePath,
            format!("`{place}` has an object whose name cannot be a file's"),
            "rename the object; nothing of this listing was taken",
        ),
        Error::Precondition { .. } | Error::NotModified { .. } => (
            SourceErrorCode::SourceChanged,
            format!("`{what}` in `{place}` is not what was listed a moment ago"),
            "repeat the command: it resolves the reference anew",
        ),
        _ => (
            SourceErrorCode::UnexpectedAnswer,
            format!("`{place}` answered unexpectedly for `{what}`"),
            "check the endpoint, the region and the bucket; the operator's log has the storage's words",
        ),
    };
    SourceError::new(code, message, action).with_operator_detail(chain.join(": "))
}

/// object_store keeps the status of most refused requests in its text only.
fn status_within(chain: &[String]) -> Option<StatusCode> {
    let digits = chain.iter().rev().find_map(|text| text.split_once("status code: "))?.1.get(..3)?;
    StatusCode::from_bytes(digits.as_bytes()).ok()
}

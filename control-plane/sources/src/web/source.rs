//! One file of a web server as a source: what it is now, and its bytes.

use http::HeaderValue;
use http::header::LAST_MODIFIED;

use super::ranged::{open_ranged, strong_tag};
use super::refused_status;
use crate::artifact_path::shown;
use crate::download::{Remote, RemoteStream};
use crate::egress::{Asked, WebClient};
use crate::listing::too_large;
use crate::{Limits, ListedFile, Revision, SourceError, SourceErrorCode, WebReference};

/// What the reference names now: its head, asked for with a GET since signed URLs often allow nothing else.
pub(crate) async fn resolve(
    client: &WebClient,
    reference: &WebReference,
    authorization: Option<&HeaderValue>,
    limits: Limits,
) -> Result<(Revision, ListedFile), SourceError> {
    let asked = Asked::get(reference.url().clone()).with_authorization(authorization);
    let answer = client.follow(asked).await?;
    let what = format!("`{}`", reference.file_name());
    if let Some(error) = refused_status(answer.status(), answer.host(), &what, authorization.is_some()) {
        return Err(error);
    }
    let name = reference.file_name().as_str().to_ascii_lowercase();
    if answer.is_page() && !name.ends_with(".html") && !name.ends_with(".htm") {
        return Err(SourceError::new(
            SourceErrorCode::UnexpectedAnswer,
            format!("`{}` answered with a web page instead of {what}", shown(answer.host())),
            "it may want a login: set credentials for it; or use the address of the file itself, not of the page about it",
        ));
    }
    let bytes = answer.content_length();
    if bytes.is_some_and(|bytes| bytes > limits.bytes) {
        return Err(too_large(limits.bytes));
    }
    let mark = strong_tag(&answer);
    let url = reference.url();
    let revision = match (reference.sha256(), &mark, answer.header(LAST_MODIFIED)) {
        (Some(digest), ..) => Revision::lasting(format!("{url} sha256:{digest}")),
        (None, Some(tag), _) => Revision { text: format!("{url} etag:{tag}"), immutable: false, marked: true },
        (None, None, Some(modified)) => {
            let text = format!("{url} modified:{modified} bytes:{}", bytes.unwrap_or_default());
            Revision { text, immutable: false, marked: true }
        }
        (None, None, None) => Revision { text: format!("{url} unmarked"), immutable: false, marked: false },
    };
    let file = ListedFile { path: reference.file_name().clone(), bytes, sha256: reference.sha256(), mark };
    Ok((revision, file))
}

/// The file, for downloading.
#[derive(Debug)]
pub(crate) struct WebFile {
    pub(crate) client: WebClient,
    pub(crate) reference: WebReference,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Remote for WebFile {
    async fn open(&self, file: &ListedFile, offset: u64, mark: Option<&str>) -> Result<RemoteStream, SourceError> {
        let asked = Asked::get(self.reference.url().clone()).with_authorization(self.authorization.as_ref());
        open_ranged(&self.client, asked, &format!("`{}`", file.path), offset, mark).await
    }
}

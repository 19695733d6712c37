//! Carries object_store's requests over this crate's guarded client. Follows no redirect: signatures hold for one host.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use url::Url;

use crate::artifact_path::shown;
use crate::egress::{Answer, Asked, WebClient, short_document};
use crate::{SourceError, SourceErrorCode};

/// Gives object_store the guarded client.
#[derive(Clone, Debug)]
pub(super) struct GuardedConnection {
    pub(super) client: WebClient,
    /// Most bytes of an answer that is not an object: a listing, a token.
    pub(super) document_bytes: u64,
}

impl HttpConnector for GuardedConnection {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for GuardedConnection {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let (is_listing, is_get) = (is_listing(&url), parts.method == Method::GET);
        let body = match body.as_bytes() {
            Some(body) => body.clone(),
            // What is written comes as a payload of one piece or more.
            None => body.collect().await?.to_bytes(),
        };
        let asked = Asked { method: parts.method, url, headers: parts.headers, body };
        let answer = self.client.send(asked).await.map_err(carried)?;
        let (head, answer) = answer.split();
        let body = if is_listing && head.status.is_success() {
            HttpResponseBody::from(listing(answer, self.document_bytes).await.map_err(carried)?)
        } else {
            let is_object = is_get && head.status.is_success();
            HttpResponseBody::new(StreamBody::new(bounded(
                answer,
                if is_object { u64::MAX } else { self.document_bytes },
            )))
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

/// Whether a GET asks for a listing: S3 and Google say `list-type`, Azure says `comp=list`.
fn is_listing(url: &Url) -> bool {
    url.query_pairs().any(|(key, value)| key == "list-type" || (key == "comp" && value == "list"))
}

/// A listing, whole. The library reads any XML as one, web pages too: as an empty listing.
async fn listing(answer: Answer, most: u64) -> Result<Bytes, SourceError> {
    let host = answer.host().to_owned();
    let document = answer.document(most).await?;
    let start = String::from_utf8_lossy(&document[..document.len().min(512)]).into_owned();
    let root = start.trim_start_matches('\u{feff}').trim_start();
    let root = match root.strip_prefix("<?xml") {
        Some(declared) => declared.split_once("?>").map_or("", |(_, rest)| rest.trim_start()),
        None => root,
    };
    if root.starts_with("<ListBucketResult") || root.starts_with("<EnumerationResults") {
        return Ok(document);
    }
    Err(SourceError::new(
        SourceErrorCode::UnexpectedAnswer,
        format!("`{}` answered with something else than a listing", shown(&host)),
        "check that the endpoint is the storage itself, and not a page before it",
    )
    .with_operator_detail(short_document(&document)))
}

type Piece = Result<Frame<Bytes>, HttpError>;

/// The body, piece by piece, with the client's bound on silence and at most `most` bytes.
fn bounded(answer: Answer, most: u64) -> impl stream::Stream<Item = Piece> + Send {
    stream::try_unfold((answer, most), |(mut answer, left)| async move {
        match answer.piece().await.map_err(carried)? {
            None => Ok(None),
            Some(piece) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Ok(Some((Frame::data(piece), (answer, left)))),
                None => Err(carried(SourceError::new(
                    SourceErrorCode::TooLarge,
                    "the storage answered with an absurdly long document",
                    "check that the endpoint is the right one",
                ))),
            },
        }
    })
}

/// Our error within object_store's, where [`super::store_error`] finds it again.
fn carried(error: SourceError) -> HttpError {
    let kind = match error.code() {
        SourceErrorCode::Unreachable => HttpErrorKind::Connect,
        SourceErrorCode::TimedOut => HttpErrorKind::Timeout,
        SourceErrorCode::LengthMismatch => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

//! An answer being read: bounded whole, or piece by piece with bounded silence and a least pace.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::client::silent;
use super::pace::Pace;
use crate::artifact_path::shown;
use crate::{MinimumRate, SourceError, SourceErrorCode};

/// Head of an answer, and its body as it comes.
#[derive(Debug)]
pub(crate) struct Answer {
    host: String,
    response: Response<Incoming>,
    silence: Duration,
    pace: Pace,
}

impl Answer {
    pub(super) const fn new(host: String, response: Response<Incoming>, silence: Duration, least: MinimumRate) -> Self {
        Self { host, response, silence, pace: Pace::new(least) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// Whether the end of the body can be told from a connection that broke.
    pub(crate) fn end_is_marked(&self) -> bool {
        self.content_length().is_some() || self.headers().contains_key(TRANSFER_ENCODING)
    }

    /// Whether the answer claims to be a web page.
    pub(crate) fn is_page(&self) -> bool {
        self.header(CONTENT_TYPE).is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/html"))
    }

    /// The head by itself, for those who carry both on.
    pub(crate) fn split(mut self) -> (http::response::Parts, Self) {
        let mut response = Response::new(());
        *response.status_mut() = self.response.status();
        *response.version_mut() = self.response.version();
        *response.headers_mut() = std::mem::take(self.response.headers_mut());
        (response.into_parts().0, self)
    }

    /// Next piece of the body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let asked = Instant::now();
            let frame = tokio::time::timeout(self.silence, self.response.body_mut().frame())
                .await
                .map_err(|_| silent(&self.host, self.silence))?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    let data = frame.into_data().ok();
                    let came = self.pace.came(asked.elapsed(), data.as_ref().map_or(0, Bytes::len));
                    came.map_err(|rate| self.too_slow(rate))?;
                    if data.is_some() {
                        return Ok(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(SourceError::new(
                        SourceErrorCode::LengthMismatch,
                        format!("`{}` ended its answer before the announced length", shown(&self.host)),
                        "repeat the command: what arrived is kept",
                    )
                    .with_operator_detail(error));
                }
            }
        }
    }

    fn too_slow(&self, rate: u64) -> SourceError {
        let MinimumRate { bytes_per_second, over } = self.pace.least();
        let (host, seconds) = (shown(&self.host), over.as_secs_f32());
        SourceError::new(
            SourceErrorCode::TooSlow,
            format!("`{host}` sent {rate} bytes a second over {seconds} seconds, expected {bytes_per_second} at least"),
            "repeat the command: what arrived is kept where the server can go on; or allow less with `--minimum-rate`",
        )
    }

    /// The whole body, of at most `most` bytes.
    pub(crate) async fn document(mut self, most: u64) -> Result<Bytes, SourceError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if whole.len() as u64 + piece.len() as u64 > most {
                return Err(SourceError::new(
                    SourceErrorCode::TooLarge,
                    format!("`{}` answered with a document of more than {most} bytes", shown(&self.host)),
                    "check that the address is that of the right server",
                ));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// The start of a document, for an operator's eyes.
pub(crate) fn short_document(bytes: &[u8]) -> String {
    shown(&String::from_utf8_lossy(&bytes[..bytes.len().min(480)]))
}

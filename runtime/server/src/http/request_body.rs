//! Taking a request's body: bounded in bytes, in chunks and in time, contiguous when done.
//!
//! A body that arrived in one piece is handed on as it is. Nothing is allocated for what a header merely announces
//! beyond the limit, and memory grows with what has arrived.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hanok_backend::{ErrorCode, ServingError};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::Limits;

/// What went wrong while a body was taken.
#[derive(Debug)]
pub(crate) enum BodyFailure {
    /// The request is refused; the connection must be closed, since the rest of the body is unread.
    Refused(ServingError),
    /// The body took too long (408).
    TimedOut,
    /// The client went away or broke the framing.
    Broken,
}

/// Takes the whole body.
pub(crate) async fn take_body(mut body: Incoming, limits: &Limits) -> Result<Bytes, BodyFailure> {
    let announced = body.size_hint().lower();
    if announced > limits.max_request_bytes as u64 {
        return Err(BodyFailure::Refused(too_large(limits.max_request_bytes)));
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut chunks = 0;
    let mut length = 0_usize;
    let collected = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyFailure::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            chunks += 1;
            length += data.len();
            if chunks > limits.max_body_chunks {
                return Err(BodyFailure::Refused(ServingError::invalid(format!(
                    "request body has more than the maximum of `{}` chunks",
                    limits.max_body_chunks
                ))));
            }
            if length > limits.max_request_bytes {
                return Err(BodyFailure::Refused(too_large(limits.max_request_bytes)));
            }
            if chunks == 1 {
                first = data;
                continue;
            }
            if chunks == 2 {
                whole.reserve(usize::try_from(announced).unwrap_or(0).max(length));
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
        Ok(())
    };
    within(collected, limits.body_timeout).await?;
    Ok(if chunks > 1 { whole.freeze() } else { first })
}

/// Runs `future` with a time limit; a timer is made only when it does not finish at once.
async fn within<F>(future: F, limit: Duration) -> Result<(), BodyFailure>
where
    F: Future<Output = Result<(), BodyFailure>>,
{
    let mut future = std::pin::pin!(future);
    let at_once = std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await;
    match at_once {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => tokio::time::timeout(limit, future).await.unwrap_or(Err(BodyFailure::TimedOut)),
    }
}

/// Triton's answer to a body over the limit: 400, naming the limit and the option.
pub(crate) fn too_large(limit: usize) -> ServingError {
    ServingError::new(
        ErrorCode::InvalidArgument,
        format!(
            "request body exceeds the maximum allowed value of `{limit}` bytes. \
             Use --http-max-input-size to increase the limit"
        ),
    )
}

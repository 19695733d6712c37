//! The shape of every HTTP reply: status, content type, body; errors as `{"error": "..."}` (W-03, W-05).

use bytes::Bytes;
use hanok_backend::{ErrorCode, ServingError};
use hanok_protocol::http_status;
use hanok_protocol::v2_http::error_body;
use http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::ReplyBody;
use crate::state::ServerState;

pub(crate) type Reply = Response<ReplyBody>;

/// 200 with an empty body.
pub(crate) fn empty() -> Reply {
    Response::new(ReplyBody::empty())
}

/// 200 with a JSON body.
pub(crate) fn json(body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(ReplyBody::new([body.into()]));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A status with an error body.
pub(crate) fn refusal(status: StatusCode, message: &str) -> Reply {
    let mut reply = json(error_body(message));
    *reply.status_mut() = status;
    reply
}

/// A failure, by the server's status profile.
pub(crate) fn failure(error: &ServingError, state: &ServerState) -> Reply {
    if let Some(detail) = error.operator_detail() {
        tracing::debug!(message = error.message(), detail, "a request was refused");
    }
    let status = http_status(error, state.behaviour.profile);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = refusal(status, error.message());
    if matches!(error.code(), ErrorCode::Unavailable | ErrorCode::ResourceExhausted) {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// A failure whose status is fixed, because Triton's routes differ in what they answer.
pub(crate) fn failure_with(status: StatusCode, error: &ServingError) -> Reply {
    refusal(status, error.message())
}

/// 405, saying what is allowed.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Reply {
    let mut reply = refusal(StatusCode::METHOD_NOT_ALLOWED, "method is not allowed here");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// 501 for a content coding that is not offered, saying which ones are (W-50).
pub(crate) fn unsupported_coding() -> Reply {
    let mut reply = refusal(StatusCode::NOT_IMPLEMENTED, "content encoding is not supported; use `gzip` or `deflate`");
    reply.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    reply
}

/// Says that the connection ends with this reply.
pub(crate) fn closing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

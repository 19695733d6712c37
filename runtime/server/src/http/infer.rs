//! `POST /v2/models/{m}[/versions/{v}]/infer`.
//!
//! Cheap refusals first: limits before the body, the body's length before its bytes, the model before the tensors.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{InferenceRequest, ServingError};
use hanok_protocol::v2_http::{
    BodyLayout, HttpLimits, INFERENCE_HEADER_CONTENT_LENGTH, ResponseBody, body_layout, parse_infer, parse_raw,
    write_infer_response,
};
use hanok_protocol::{InferReply, OutputPlan, UnaryEndpoint, prepare, refuse_decoupled, reply_outputs};
use hanok_repository::ReadyVersion;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use hyper::body::Incoming;

use super::ReplyBody;
use super::compression::{self, Coding, RequestCoding};
use super::header_forwarding::forward_headers;
use super::reply::{self, Reply};
use super::request_body::{BodyFailure, take_body};
use crate::inference::{Outcome, fix_deadline, infer};
use crate::state::ServerState;

/// Bodies above this size are inflated and JSON above it is parsed where blocking is allowed.
const INLINE_BYTES: usize = 128 << 10;
static HEADER_LENGTH: HeaderName = HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH);

/// Answers an inference request.
pub(super) async fn answer(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
    model: &str,
    version: Option<u64>,
) -> Reply {
    let received = Instant::now();
    let permit = match state.admission.request() {
        Ok(permit) => permit,
        Err(error) => return reply::closing(reply::failure(&error, state)),
    };
    let (head, body) = request.into_parts();
    let coding = compression::request_coding(head.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes));
    if coding == RequestCoding::Unsupported || head.headers.get_all(CONTENT_ENCODING).iter().count() > 1 {
        return reply::closing(reply::unsupported_coding());
    }
    let body = match take_body(body, &state.limits).await {
        Ok(body) => body,
        Err(BodyFailure::Refused(error)) => return reply::closing(reply::failure(&error, state)),
        Err(BodyFailure::TimedOut) => {
            let status = http::StatusCode::REQUEST_TIMEOUT;
            return reply::closing(reply::refusal(status, "the request's body did not arrive in time"));
        }
        Err(BodyFailure::Broken) => {
            let status = http::StatusCode::BAD_REQUEST;
            return reply::closing(reply::refusal(status, "the request's body is not framed correctly"));
        }
    };
    let bytes_permit = match state.admission.body(body.len()) {
        Ok(permit) => permit,
        Err(error) => return reply::failure(&error, state),
    };
    let answered = match inflated(body, coding, state) {
        Ok(body) => execute(state, &head.headers, &body, model, version, received).await,
        Err(error) => Err(error),
    };
    let mut reply = match answered {
        Ok(content) => compressed(success(content), &head.headers),
        Err(error) => reply::failure(&error, state),
    };
    reply.body_mut().hold(permit);
    reply.body_mut().hold(bytes_permit);
    reply
}

fn inflated(body: Bytes, coding: RequestCoding, state: &ServerState) -> Result<Bytes, ServingError> {
    match coding {
        RequestCoding::Coded(coding) if !body.is_empty() => {
            let limit = state.limits.max_request_bytes;
            where_blocking_is_allowed(body.len() > INLINE_BYTES / 8, || compression::inflate(&body, coding, limit))
        }
        _ => Ok(body),
    }
}

/// Runs `work` here when it is short, else after telling the runtime that this thread will be busy.
fn where_blocking_is_allowed<T>(long: bool, work: impl FnOnce() -> T) -> T {
    if long { tokio::task::block_in_place(work) } else { work() }
}

async fn execute(
    state: &ServerState,
    headers: &HeaderMap,
    body: &Bytes,
    model: &str,
    version: Option<u64>,
    received: Instant,
) -> Result<ResponseBody, ServingError> {
    let ready = state.repository.ready().version(model, version)?;
    let (request, plan) = match understood(state, headers, body, &ready, received) {
        Ok(understood) => understood,
        Err(error) => {
            Outcome::begin(&ready, received, "").fail(&error);
            return Err(error);
        }
    };
    let id = request.id.clone();
    let mut response = infer(&ready, request, &id).await?;
    let outputs = reply_outputs(&mut response, &plan, &ready.config, &ready.labels)?;
    let reply = InferReply {
        id: &id,
        model_name: &ready.model,
        model_version: ready.version,
        parameters: &response.parameters,
        outputs,
    };
    write_infer_response(&reply)
}

/// From bytes to a validated request with its deadline.
fn understood(
    state: &ServerState,
    headers: &HeaderMap,
    body: &Bytes,
    ready: &ReadyVersion,
    received: Instant,
) -> Result<(InferenceRequest, OutputPlan), ServingError> {
    refuse_decoupled(&ready.config, UnaryEndpoint::Http)?;
    let layout = body_layout(headers.get_all(&HEADER_LENGTH).iter().map(HeaderValue::as_bytes), body.len())?;
    let (mut request, plan) = match layout {
        BodyLayout::Raw => prepare(parse_raw(body, &ready.config)?, &ready.config, received, None)?,
        BodyLayout::Json { length } => where_blocking_is_allowed(length > INLINE_BYTES, || {
            let limits = HttpLimits {
                max_json_bytes: state.limits.max_request_bytes,
                max_json_tensor_bytes: state.limits.max_request_bytes,
                max_depth: u32::try_from(state.limits.max_json_depth).unwrap_or(100),
                ..HttpLimits::default()
            };
            prepare(parse_infer(body, length, &ready.model, &limits)?, &ready.config, received, None)
        })?,
    };
    check_id(&request, state)?;
    forward_headers(state.behaviour.http_header_forward.as_ref(), headers, &mut request.parameters)?;
    fix_deadline(&mut request, None, &state.limits);
    Ok((request, plan))
}

/// Bounds the length of the id, which is echoed and logged.
pub(crate) fn check_id(request: &InferenceRequest, state: &ServerState) -> Result<(), ServingError> {
    let limit = state.limits.max_request_id_bytes;
    if request.id.len() > limit {
        return Err(ServingError::invalid(format!(
            "request id may have `{limit}` bytes at most, got `{}`",
            request.id.len()
        )));
    }
    Ok(())
}

fn success(content: ResponseBody) -> Reply {
    let (content_type, header_length) = (content.content_type(), content.header_length);
    let mut reply = Reply::new(ReplyBody::new(std::iter::once(content.head).chain(content.parts)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(length) = header_length {
        headers.insert(HEADER_LENGTH.clone(), HeaderValue::from(length));
    }
    reply
}

/// Compresses a reply when its client asks for it (W-51); the header length still counts plain bytes (W-52).
fn compressed(mut reply: Reply, headers: &HeaderMap) -> Reply {
    let Some(accept) = headers.get(ACCEPT_ENCODING) else { return reply };
    let Some(coding) = accept.to_str().ok().and_then(compression::reply_coding) else { return reply };
    let size: usize = reply.body().parts().iter().map(Bytes::len).sum();
    let deflated =
        where_blocking_is_allowed(size > INLINE_BYTES / 8, || compression::deflate(reply.body().parts(), coding));
    match deflated {
        Ok(content) => {
            reply.body_mut().replace(content);
            reply.headers_mut().insert(CONTENT_ENCODING, coding_value(coding));
        }
        // Plain is always right.
        Err(error) => tracing::warn!(%error, "a reply could not be compressed"),
    }
    reply
}

fn coding_value(coding: Coding) -> HeaderValue {
    HeaderValue::from_static(coding.name())
}

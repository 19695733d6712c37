//! `POST /v2/models/{m}[/versions/{v}]/infer`.
//!
//! Cheap refusals first: limits before the body, the body's length before its bytes, the model before the tensors.

use std::sync::Arc;

use bytes::Bytes;
use hanok_backend::{InferenceRequest, ServingError};
use hanok_protocol::v2_http::{
    BodyLayout, HttpLimits, INFERENCE_HEADER_CONTENT_LENGTH, ResponseBody, body_layout, parse_infer, parse_raw,
    write_infer_response,
};
use hanok_protocol::{
    InferMessage, InferReply, OutputPlan, UnaryEndpoint, prepare_with_regions, refuse_decoupled, reply_outputs,
};
use hanok_routing::{Arm, RequestedVersion};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use hyper::body::Incoming;

use super::ReplyBody;
use super::compression::{self, Coding, RequestCoding};
use super::header_forwarding::forward_headers;
use super::reply::{self, Reply};
use super::request_body::{BodyFailure, take_body};
use crate::admission::Permit;
use crate::inference::{Outcome, admit_regions, fix_deadline, infer};
use crate::request_tracing::Arrival;
use crate::state::ServerState;
use crate::traffic::{MessageFacts, RequestHead, Routed};

/// Bodies above this size are inflated and JSON above it is parsed where blocking is allowed.
const INLINE_BYTES: usize = 128 << 10;
static HEADER_LENGTH: HeaderName = HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH);

/// Answers an inference request.
pub(super) async fn answer(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
    model: &str,
    version: RequestedVersion<'_>,
) -> Reply {
    let mut arrival = Arrival::over_http();
    let is_traced = state.tracer.is_on();
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
    if is_traced {
        arrival.body_has_come();
    }
    let bytes_permit = match state.admission.body(body.len()) {
        Ok(permit) => permit,
        Err(error) => return reply::failure(&error, state),
    };
    let answered = match inflated(body, coding, state) {
        Ok(body) => execute(state, &head.headers, &body, model, version, &mut arrival).await,
        Err(error) => Err(error),
    };
    let mut reply = match answered {
        Ok(answered) => compressed(success(answered), &head.headers),
        Err(error) => reply::failure(&error, state),
    };
    reply.body_mut().hold(permit);
    reply.body_mut().hold(bytes_permit);
    if let Some(trace) = arrival.trace {
        reply.body_mut().trace(trace);
    }
    reply
}

/// An answer's bytes, and the arm and version to tell of, where the table says so.
struct Answered {
    content: ResponseBody,
    told: Option<(Arc<Arm>, u64)>,
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
    version: RequestedVersion<'_>,
    arrival: &mut Arrival,
) -> Result<Answered, ServingError> {
    // Who serves is known before anything is parsed, unless the table has a say in it.
    let direct = state.traffic.direct(model, version).transpose()?;
    let Understood { routed, request, plan, fetched: _fetched } =
        understood(state, headers, body, (model, version), direct, arrival)?;
    let id = request.id.clone();
    let mut response = infer(&state.traffic, &routed, request, &id).await?;
    let outputs = reply_outputs(&mut response, &plan, &routed.ready.config, &routed.ready.labels)?;
    routed.tell(&mut response.parameters);
    let reply = InferReply {
        id: &id,
        model_name: routed.public_model(),
        model_version: routed.ready.version,
        parameters: &response.parameters,
        outputs,
    };
    let told = routed.told_arm().map(|arm| (Arc::clone(arm), routed.ready.version));
    Ok(Answered { content: write_infer_response(&reply)?, told })
}

/// A request that was understood.
struct Understood {
    routed: Routed,
    request: InferenceRequest,
    plan: OutputPlan,
    /// The right to what is brought to the host from regions.
    fetched: Option<Permit>,
}

/// From bytes to who serves and a validated request with its deadline. A failure is counted where it is known whose.
fn understood(
    state: &ServerState,
    headers: &HeaderMap,
    body: &Bytes,
    (model, version): (&str, RequestedVersion<'_>),
    direct: Option<Routed>,
    arrival: &mut Arrival,
) -> Result<Understood, ServingError> {
    let received = arrival.received;
    if let Some(routed) = &direct {
        arrival.sample(state, model, routed);
    }
    let parsed = match parse(state, headers, body, model, direct.as_ref()) {
        Ok(parsed) => parsed,
        Err(error) => {
            if let Some(routed) = &direct {
                Outcome::begin(&state.traffic, routed, received, "").fail(&error);
            }
            return Err(error);
        }
    };
    let routed = match direct {
        Some(routed) => routed,
        None => {
            let facts = MessageFacts::new(RequestHead::Http(headers), parsed.as_ref(), &state.traffic);
            let routed = state.traffic.route(model, version, &facts)?;
            arrival.sample(state, model, &routed);
            routed
        }
    };
    let prepared = || {
        let config = routed.ready.client_config();
        refuse_decoupled(config, UnaryEndpoint::Http)?;
        let message = match parsed {
            Some(message) => message,
            None => parse_raw(body, config)?,
        };
        let (mut request, plan) = prepare_with_regions(message, config, &state.regions(), received, None)?;
        let fetched = admit_regions(&request, &routed, &state.admission)?;
        check_id(&request, state)?;
        forward_headers(state.behaviour.http_header_forward.as_ref(), headers, &mut request.parameters)?;
        fix_deadline(&mut request, None, &state.limits);
        arrival.understood(&mut request);
        Ok((request, plan, fetched))
    };
    match prepared() {
        Ok((request, plan, fetched)) => Ok(Understood { routed, request, plan, fetched }),
        Err(error) => {
            Outcome::begin(&state.traffic, &routed, received, "").fail(&error);
            Err(error)
        }
    }
}

/// The message of a body; `None` for a raw body, which only the model's configuration explains.
fn parse<'b>(
    state: &ServerState,
    headers: &HeaderMap,
    body: &'b Bytes,
    model: &str,
    direct: Option<&Routed>,
) -> Result<Option<InferMessage<'b>>, ServingError> {
    if let Some(routed) = direct {
        refuse_decoupled(&routed.ready.config, UnaryEndpoint::Http)?;
    }
    let layout = body_layout(headers.get_all(&HEADER_LENGTH).iter().map(HeaderValue::as_bytes), body.len())?;
    let BodyLayout::Json { length } = layout else { return Ok(None) };
    let limits = HttpLimits {
        max_json_bytes: state.limits.max_request_bytes,
        max_json_tensor_bytes: state.limits.max_request_bytes,
        max_depth: u32::try_from(state.limits.max_json_depth).unwrap_or(100),
        ..HttpLimits::default()
    };
    where_blocking_is_allowed(length > INLINE_BYTES, || parse_infer(body, length, model, &limits)).map(Some)
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

fn success(Answered { content, told }: Answered) -> Reply {
    let (content_type, header_length) = (content.content_type(), content.header_length);
    let mut reply = Reply::new(ReplyBody::new(std::iter::once(content.head).chain(content.parts)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(length) = header_length {
        headers.insert(HEADER_LENGTH.clone(), HeaderValue::from(length));
    }
    if let Some((arm, version)) = told {
        // Names of arms are words; one that is no header value is told in the parameters only.
        if let Ok(name) = HeaderValue::from_str(&arm.name) {
            headers.insert(HeaderName::from_static("hanok-arm"), name);
        }
        headers.insert(HeaderName::from_static("hanok-version"), HeaderValue::from(version));
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

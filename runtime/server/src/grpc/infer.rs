//! `ModelInfer`, and the steps that it shares with streams.

use std::time::{Duration, Instant};

use hanok_backend::{InferenceRequest, InferenceResponse, ServingError};
use hanok_protocol::v2_grpc::wire::inference::{ModelInferRequest, ModelInferResponse};
use hanok_protocol::v2_grpc::{GrpcLimits, infer_response_message, parse_infer_request, parse_version};
use hanok_protocol::{InferReply, OutputPlan, UnaryEndpoint, prepare_with_regions, refuse_decoupled, reply_outputs};
use hanok_routing::RequestedVersion;
use hanok_telemetry::RequestTrace;
use tonic::metadata::MetadataMap;

use crate::admission::Permit;
use crate::http::{check_id, forward_headers};
use crate::inference::{Outcome, admit_regions, fix_deadline, infer};
use crate::request_tracing::Arrival;
use crate::state::ServerState;
use crate::traffic::{MessageFacts, RequestHead, Routed};

/// A request that was understood: for which version, what, and how its reply looks.
pub(super) struct Understood {
    pub(super) routed: Routed,
    pub(super) request: InferenceRequest,
    pub(super) plan: OutputPlan,
    pub(super) empty_final_response: bool,
    /// The right to the message's bytes, and to what is brought to the host from regions.
    pub(super) held: (Permit, Option<Permit>),
}

/// Answers one unary call, whose head came at `called` where traces are on; its trace goes on with the reply.
pub(super) async fn answer(
    state: &ServerState,
    metadata: MetadataMap,
    message: ModelInferRequest,
    called: Option<Instant>,
) -> Result<(ModelInferResponse, Option<Box<RequestTrace>>), ServingError> {
    let mut arrival = Arrival::over_grpc(called);
    let _permit = state.admission.request()?;
    let timeout = call_timeout(&metadata);
    let understood = understand(state, metadata, message, &mut arrival, timeout, Some(UnaryEndpoint::Grpc))?;
    let Understood { routed, request, plan, held: _held, .. } = understood;
    let id = request.id.clone();
    let mut response = infer(&state.traffic, &routed, request, &id).await?;
    let reply = reply_message(&routed, &plan, &id, &mut response)?;
    Ok((reply, arrival.trace))
}

/// From a message to a validated request with its deadline; counts the failure where a model is known.
pub(super) fn understand(
    state: &ServerState,
    metadata: MetadataMap,
    mut message: ModelInferRequest,
    arrival: &mut Arrival,
    timeout: Option<Duration>,
    endpoint: Option<UnaryEndpoint>,
) -> Result<Understood, ServingError> {
    let received = arrival.received;
    let bytes = state.admission.body(message.raw_input_contents.iter().map(bytes::Bytes::len).sum())?;
    let version = requested_version(state, &message.model_name, &message.model_version)?;
    let model = std::mem::take(&mut message.model_name);
    let version_text = std::mem::take(&mut message.model_version);
    // Who serves is known before anything is parsed, unless the table has a say in it.
    let direct = state.traffic.direct(&model, version.of(&version_text)).transpose()?;
    let count = |routed: &Routed, error: &ServingError| {
        Outcome::begin(&state.traffic, routed, received, "").fail(error);
    };
    if let Some(routed) = &direct {
        arrival.sample(state, &model, routed);
    }
    if let (Some(routed), Some(endpoint)) = (&direct, endpoint) {
        refuse_decoupled(&routed.ready.config, endpoint).inspect_err(|error| count(routed, error))?;
    }
    let parsed = parse_infer_request(&mut message, &GrpcLimits::default());
    let parsed = parsed.inspect_err(|error| {
        if let Some(routed) = &direct {
            count(routed, error);
        }
    })?;
    let routed = match direct {
        Some(routed) => routed,
        None => {
            let facts = MessageFacts::new(RequestHead::Grpc(&metadata), Some(&parsed), &state.traffic);
            let routed = state.traffic.route(&model, version.of(&version_text), &facts)?;
            arrival.sample(state, &model, &routed);
            routed
        }
    };
    let prepared = || {
        let config = routed.ready.client_config();
        if let Some(endpoint) = endpoint {
            refuse_decoupled(config, endpoint)?;
        }
        let empty_final_response = parsed.reserved.empty_final_response;
        let (mut request, plan) = prepare_with_regions(parsed, config, &state.regions(), received, None)?;
        let fetched = admit_regions(&request, &routed, &state.admission)?;
        check_id(&request, state)?;
        if let Some(pattern) = &state.behaviour.grpc_header_forward {
            forward_headers(Some(pattern), &metadata.into_headers(), &mut request.parameters)?;
        }
        fix_deadline(&mut request, timeout, &state.limits);
        arrival.understood(&mut request);
        Ok((request, plan, empty_final_response, fetched))
    };
    match prepared() {
        Ok((request, plan, empty_final_response, fetched)) => {
            Ok(Understood { routed, request, plan, empty_final_response, held: (bytes, fetched) })
        }
        Err(error) => {
            count(&routed, &error);
            Err(error)
        }
    }
}

/// What stands in the place of a version.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    Any,
    Number(u64),
    /// A label, or `latest`.
    Word,
}

impl Version {
    /// As routing wants it; `text` is what it was read from.
    pub(super) const fn of(self, text: &str) -> RequestedVersion<'_> {
        match self {
            Self::Any => RequestedVersion::Any,
            Self::Number(number) => RequestedVersion::Number(number),
            Self::Word => RequestedVersion::Label(text),
        }
    }
}

/// Reads a version: nothing, a number, or a label that the model's traffic has.
///
/// # Errors
/// `InvalidArgument` for what is none of these, in Triton's words.
pub(super) fn requested_version(state: &ServerState, model: &str, text: &str) -> Result<Version, ServingError> {
    if !text.is_empty() && state.traffic.knows_label(model, text) {
        return Ok(Version::Word);
    }
    Ok(parse_version(text)?.map_or(Version::Any, Version::Number))
}

/// The model and version to describe.
///
/// # Errors
/// `InvalidArgument` for what is no version, a word that is no label included.
pub(super) fn described(state: &ServerState, model: &str, text: &str) -> Result<(String, Option<u64>), ServingError> {
    let version = requested_version(state, model, text)?;
    let (model, number) = state.traffic.described(model, version.of(text))?;
    Ok((model.into_owned(), number))
}

/// The reply to a response.
pub(super) fn reply_message(
    routed: &Routed,
    plan: &OutputPlan,
    id: &str,
    response: &mut InferenceResponse,
) -> Result<ModelInferResponse, ServingError> {
    let ready = &routed.ready;
    let outputs = reply_outputs(response, plan, &ready.config, &ready.labels)?;
    routed.tell(&mut response.parameters);
    Ok(infer_response_message(InferReply {
        id,
        model_name: routed.public_model(),
        model_version: ready.version,
        parameters: &response.parameters,
        outputs,
    }))
}

/// The time that the caller gives, from the `grpc-timeout` header: up to eight digits and a unit (gRPC over HTTP/2,
/// section "Requests").
pub(super) fn call_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            call_timeout(&metadata)
        };
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "1", "m", "-1m", "100000000S", "1x", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

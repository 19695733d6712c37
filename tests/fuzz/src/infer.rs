//! Requests over both protocols.
//!
//! The first bytes of an HTTP input say what a request's headers would: which model, and how much of the body is JSON.

use bytes::Bytes;
use hanok_protocol::v2_grpc::wire::inference::ModelInferRequest;
use hanok_protocol::{v2_grpc, v2_http};
use prost::Message;
use serde::de::IgnoredAny;

use crate::echo::{MODELS, answer};

/// An infer body over HTTP: byte 0 chooses the model, bytes 1 and 2 (little-endian) how many of the rest are JSON; 65,535
/// for all of them.
pub fn http_infer(input: &[u8]) {
    let [model, low, high, body @ ..] = input else {
        return;
    };
    let config = &MODELS[usize::from(*model) % MODELS.len()];
    let length = u16::from_le_bytes([*low, *high]);
    let header = length.to_string();
    let values = (length != u16::MAX).then_some(header.as_bytes());
    let body = Bytes::copy_from_slice(body);
    // Small limits, so that inputs of a few hundred bytes reach them.
    let limits = v2_http::HttpLimits {
        max_json_tensor_bytes: 4096,
        max_depth: 20,
        max_tensors: 6,
        max_rank: 8,
        max_parameters: 6,
        ..Default::default()
    };
    match v2_http::body_layout(values, body.len()) {
        Err(_) => {}
        Ok(v2_http::BodyLayout::Raw) => {
            if let Ok(message) = v2_http::parse_raw(&body, config) {
                answer(message, config);
            }
        }
        Ok(v2_http::BodyLayout::Json { length }) => {
            if let Ok(message) = v2_http::parse_infer(&body, length, &config.name, &limits) {
                let json = &body[..length];
                assert!(is_json(json), "accepted, and not JSON: {}", String::from_utf8_lossy(json));
                answer(message, config);
            }
        }
    }
}

/// Whether an independent parser takes it, too. Bare `NaN`, `Inf` and `Infinity` are RapidJSON's and ours (W-28), so such
/// texts do not count.
fn is_json(text: &[u8]) -> bool {
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    has(b"NaN") || has(b"Inf") || serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// An infer message over gRPC; byte 0 chooses the model.
pub fn grpc_infer(input: &[u8]) {
    let [model, message @ ..] = input else { return };
    let config = &MODELS[usize::from(*model) % MODELS.len()];
    let Ok(mut request) = ModelInferRequest::decode(Bytes::copy_from_slice(message)) else {
        return;
    };
    let limits = v2_grpc::GrpcLimits { max_tensors: 6, max_rank: 8, max_parameters: 6 };
    if let Ok(message) = v2_grpc::parse_infer_request(&mut request, &limits) {
        answer(message, config);
    }
}

/// Bodies of repository requests, and paths; byte 0 chooses.
pub fn repository_requests(input: &[u8]) {
    let [choice, body @ ..] = input else { return };
    match choice % 4 {
        0 => drop(v2_http::parse_index(body)),
        1 => drop(v2_http::parse_load(body)),
        2 => drop(v2_http::parse_unload(body)),
        _ => {
            if let Ok(path) = std::str::from_utf8(body) {
                let _matched = v2_http::route(v2_http::Method::from_name("POST"), path);
            }
        }
    }
}

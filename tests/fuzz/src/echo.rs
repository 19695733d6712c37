//! Models for the targets, and the identity model's answer to any valid request.
//!
//! The answer is written as a reply and read again, so that a target covers the writer as well as the parser.

use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{InferenceResponse, OutputTensor};
use hanok_model_config::{CompletionFacts, ModelConfig, load_config};
use hanok_protocol::{InferMessage, InferReply, prepare, reply_outputs, v2_http};

/// Configurations that differ in what validation must look at.
pub(crate) static MODELS: LazyLock<Vec<ModelConfig>> = LazyLock::new(|| {
    let tensors = |kinds: &[(&str, &str)]| -> String {
        let one = |field: &str, name: &str, index: usize, (kind, dims): (&str, &str)| {
            format!("{field} {{ name: \"{name}{index}\" data_type: TYPE_{kind} dims: [{dims}] }} ")
        };
        let all = kinds.iter().enumerate();
        all.map(|(index, kind)| one("input", "INPUT", index, *kind) + &one("output", "OUTPUT", index, *kind)).collect()
    };
    [
        ("fp32", format!("max_batch_size: 8 {}", tensors(&[("FP32", "-1")]))),
        ("bytes", format!("max_batch_size: 8 {}", tensors(&[("STRING", "-1")]))),
        ("pair", format!("max_batch_size: 8 {}", tensors(&[("INT32", "2"), ("UINT8", "-1")]))),
        ("unbatched", tensors(&[("INT64", "-1, -1")])),
        ("half", tensors(&[("FP16", "2"), ("BOOL", "1"), ("UINT64", "1")])),
    ]
    .into_iter()
    .map(|(name, text)| {
        let text = format!("name: \"{name}\" backend: \"builtin\" {text}");
        load_config(&text, &CompletionFacts::new(name), None).expect("the configurations are valid").config
    })
    .collect()
});

/// Validates `message` against `config`; where it is valid, answers as identity does and checks the HTTP reply.
pub(crate) fn answer(message: InferMessage<'_>, config: &ModelConfig) {
    let Ok((request, plan)) = prepare(message, config, Instant::now(), None) else {
        return;
    };
    assert_eq!(request.inputs.len(), config.inputs.len());
    assert!(!config.batches() || (1..=config.max_batch_size).contains(&request.rows) || request.rows == 0);
    let parameters = Vec::new();
    let mut response = InferenceResponse::default();
    for (spec, input) in config.inputs.iter().zip(&request.inputs) {
        let input = input.as_ref().expect("no input of these models is optional");
        if let Some(size) = input.shape.byte_size(spec.data_type).expect("a validated shape has a size") {
            assert_eq!(size, input.data.len(), "as many bytes as the shape says");
        }
        response.outputs.push(Some(OutputTensor {
            data_type: spec.data_type,
            shape: input.shape.clone(),
            data: input.data.clone(),
        }));
    }
    let Ok(outputs) = reply_outputs(&mut response, &plan, config, &[]) else {
        return;
    };
    let floats = outputs.iter().any(|output| output.data_type.name().contains('F'));
    let reply =
        InferReply { id: &request.id, model_name: &config.name, model_version: 1, parameters: &parameters, outputs };
    let Ok(body) = v2_http::write_infer_response(&reply) else {
        return;
    };
    let json = &body.head[..body.header_length.unwrap_or(body.head.len())];
    // A bare NaN or Infinity is allowed between floats (W-28) and is all that may differ from JSON.
    if !floats {
        let value: serde_json::Value = serde_json::from_slice(json).expect("a reply is JSON");
        assert_eq!(value["model_name"], config.name.as_str());
    }
    assert_eq!(body.length(), body.head.len() + body.parts.iter().map(Bytes::len).sum::<usize>());
}

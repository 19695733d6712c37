//! The JSON documents other than infer replies: metadata, statistics, repository index, errors.
//!
//! Not on the hot path, so they are built as values. Statistics and the like hold the numbers that the plain structs
//! hold; nothing is computed here.

use bytes::Bytes;
use hanok_telemetry::{BatchSizeSnapshot, DurationCount};
use serde_json::{Map, Value, json};

use super::json_text::write_string;
use crate::{ModelMetadata, ModelVersionStatistics, RepositoryEntry, ServerMetadata, TensorMetadata};

/// `{"error": "..."}` (W-03).
#[must_use]
pub fn error_body(message: &str) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 16);
    out.extend_from_slice(b"{\"error\":");
    write_string(&mut out, message);
    out.push(b'}');
    out.into()
}

fn body(value: &Value) -> Bytes {
    value.to_string().into()
}

/// The answer to `GET /v2` (W-14).
#[must_use]
pub fn server_metadata_body(metadata: &ServerMetadata) -> Bytes {
    body(&json!({
        "name": metadata.name,
        "version": metadata.version,
        "extensions": metadata.extensions,
    }))
}

/// The answer to a model metadata request (W-16).
#[must_use]
pub fn model_metadata_body(metadata: &ModelMetadata) -> Bytes {
    let tensors = |tensors: &[TensorMetadata]| -> Vec<Value> {
        tensors
            .iter()
            .map(|tensor| json!({"name": tensor.name, "datatype": tensor.data_type.name(), "shape": &tensor.shape[..]}))
            .collect()
    };
    body(&json!({
        "name": metadata.name,
        "versions": metadata.versions.iter().map(u64::to_string).collect::<Vec<_>>(),
        "platform": metadata.platform,
        "inputs": tensors(&metadata.inputs),
        "outputs": tensors(&metadata.outputs),
    }))
}

fn duration(duration: DurationCount) -> Value {
    json!({"count": duration.count, "ns": duration.ns})
}

fn batch(batch: &BatchSizeSnapshot) -> Value {
    let part = |ns| duration(DurationCount { count: batch.count, ns });
    json!({
        "batch_size": batch.batch_size,
        "compute_input": part(batch.compute_input_ns),
        "compute_infer": part(batch.compute_infer_ns),
        "compute_output": part(batch.compute_output_ns),
    })
}

/// The answer to a statistics request (W-19, W-65 to W-68).
#[must_use]
pub fn statistics_body(models: &[ModelVersionStatistics]) -> Bytes {
    let models: Vec<Value> = models
        .iter()
        .map(|model| {
            let snapshot = &model.snapshot;
            let none = duration(DurationCount::default());
            json!({
                "name": model.name,
                "version": model.version.to_string(),
                "last_inference": snapshot.last_inference_epoch_ms,
                "inference_count": snapshot.inference_count,
                "execution_count": snapshot.execution_count,
                "inference_stats": {
                    "success": duration(snapshot.success),
                    "fail": duration(snapshot.fail),
                    "queue": duration(snapshot.queue),
                    "compute_input": duration(snapshot.compute_input),
                    "compute_infer": duration(snapshot.compute_infer),
                    "compute_output": duration(snapshot.compute_output),
                    "cache_hit": none,
                    "cache_miss": none,
                },
                "response_stats": {},
                "batch_stats": snapshot.batches.iter().map(batch).collect::<Vec<_>>(),
                "memory_usage": [],
            })
        })
        .collect();
    body(&json!({ "model_stats": models }))
}

/// The answer to a repository index request (W-70).
#[must_use]
pub fn repository_index_body(entries: &[RepositoryEntry]) -> Bytes {
    let entries: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut line = Map::new();
            line.insert("name".to_owned(), entry.name.as_str().into());
            if let Some((version, state)) = entry.version {
                line.insert("version".to_owned(), version.to_string().into());
                line.insert("state".to_owned(), state.name().into());
                if !entry.reason.is_empty() {
                    line.insert("reason".to_owned(), entry.reason.as_str().into());
                }
            }
            Value::Object(line)
        })
        .collect();
    body(&Value::Array(entries))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_telemetry::StatisticsSnapshot;

    use super::*;
    use crate::{ModelState, TRITON_EXTENSIONS, sample_models};

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn w03_errors_are_objects() {
        assert_eq!(text(&error_body("a \"b\"\n")), r#"{"error":"a \"b\"\n"}"#);
    }

    #[test]
    fn w14_w15_server() {
        let metadata = ServerMetadata {
            name: "triton".to_owned(),
            version: "2.51.0".to_owned(),
            extensions: TRITON_EXTENSIONS.map(str::to_owned).to_vec(),
        };
        let body = server_metadata_body(&metadata);
        assert!(
            text(&body)
                .starts_with(r#"{"name":"triton","version":"2.51.0","extensions":["classification","sequence","#)
        );
    }

    #[test]
    fn w16_model() {
        let body = model_metadata_body(&ModelMetadata::of(&sample_models::simple(), &[1, 3]));
        assert!(text(&body).starts_with(
            r#"{"name":"simple","versions":["1","3"],"platform":"builtin","inputs":[{"name":"INPUT0","datatype":"INT32","shape":[-1,16]},"#
        ));
        let unbatched = ModelMetadata::of(&sample_models::two_variable_dims(), &[1]);
        assert_eq!(&unbatched.inputs[0].shape[..], [-1, -1]);
    }

    #[test]
    fn w65_to_w68_statistics() {
        let snapshot = StatisticsSnapshot {
            last_inference_epoch_ms: 1_700_000_000_123,
            inference_count: 12,
            execution_count: 3,
            success: DurationCount { count: 5, ns: 900 },
            batches: vec![BatchSizeSnapshot {
                batch_size: 4,
                count: 3,
                compute_input_ns: 1,
                compute_infer_ns: 2,
                compute_output_ns: 3,
            }],
            ..StatisticsSnapshot::default()
        };
        let body = statistics_body(&[ModelVersionStatistics { name: "simple".to_owned(), version: 2, snapshot }]);
        let value: Value = serde_json::from_slice(&body).unwrap();
        let model = &value["model_stats"][0];
        assert_eq!(model["version"], "2");
        assert_eq!(model["last_inference"], 1_700_000_000_123_u64);
        assert_eq!(model["inference_stats"]["success"], json!({"count": 5, "ns": 900}));
        let members: Vec<&String> = model["inference_stats"].as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"]
        );
        assert_eq!(model["batch_stats"][0]["compute_infer"], json!({"count": 3, "ns": 2}));
        assert_eq!((&model["response_stats"], &model["memory_usage"]), (&json!({}), &json!([])));
    }

    #[test]
    fn w70_index() {
        let entries = [
            RepositoryEntry { name: "a".to_owned(), version: Some((1, ModelState::Ready)), reason: String::new() },
            RepositoryEntry {
                name: "b".to_owned(),
                version: Some((2, ModelState::Unavailable)),
                reason: "unloaded".to_owned(),
            },
            RepositoryEntry { name: "c".to_owned(), version: None, reason: String::new() },
        ];
        assert_eq!(
            text(&repository_index_body(&entries)),
            r#"[{"name":"a","version":"1","state":"READY"},{"name":"b","version":"2","state":"UNAVAILABLE","reason":"unloaded"},{"name":"c"}]"#
        );
    }
}

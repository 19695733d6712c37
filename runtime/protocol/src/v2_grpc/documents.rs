//! The messages other than inference: metadata, statistics, repository index.

use hanok_telemetry::{BatchSizeSnapshot, DurationCount};

use super::wire::inference::model_metadata_response::TensorMetadata as TensorMetadataMessage;
use super::wire::inference::repository_index_response::ModelIndex;
use super::wire::inference::{
    InferBatchStatistics, InferStatistics, ModelMetadataResponse, ModelStatistics, ModelStatisticsResponse,
    RepositoryIndexResponse, ServerMetadataResponse, StatisticDuration,
};
use crate::{ModelMetadata, ModelVersionStatistics, RepositoryEntry, ServerMetadata, TensorMetadata};

/// The answer to `ServerMetadata`.
#[must_use]
pub fn server_metadata_message(metadata: &ServerMetadata) -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        extensions: metadata.extensions.clone(),
    }
}

/// The answer to `ModelMetadata`.
#[must_use]
pub fn model_metadata_message(metadata: &ModelMetadata) -> ModelMetadataResponse {
    let tensors = |tensors: &[TensorMetadata]| {
        tensors
            .iter()
            .map(|tensor| TensorMetadataMessage {
                name: tensor.name.clone(),
                datatype: tensor.data_type.name().to_owned(),
                shape: tensor.shape.to_vec(),
            })
            .collect()
    };
    ModelMetadataResponse {
        name: metadata.name.clone(),
        versions: metadata.versions.iter().map(u64::to_string).collect(),
        platform: metadata.platform.clone(),
        inputs: tensors(&metadata.inputs),
        outputs: tensors(&metadata.outputs),
    }
}

/// The answer to `ModelStatistics`.
#[must_use]
pub fn statistics_message(models: &[ModelVersionStatistics]) -> ModelStatisticsResponse {
    let duration = |duration: DurationCount| Some(StatisticDuration { count: duration.count, ns: duration.ns });
    let batch = |batch: &BatchSizeSnapshot| {
        let part = |ns| Some(StatisticDuration { count: batch.count, ns });
        InferBatchStatistics {
            batch_size: u64::from(batch.batch_size),
            compute_input: part(batch.compute_input_ns),
            compute_infer: part(batch.compute_infer_ns),
            compute_output: part(batch.compute_output_ns),
        }
    };
    let model_stats = models
        .iter()
        .map(|model| {
            let snapshot = &model.snapshot;
            ModelStatistics {
                name: model.name.clone(),
                version: model.version.to_string(),
                last_inference: snapshot.last_inference_epoch_ms,
                inference_count: snapshot.inference_count,
                execution_count: snapshot.execution_count,
                inference_stats: Some(InferStatistics {
                    success: duration(snapshot.success),
                    fail: duration(snapshot.fail),
                    queue: duration(snapshot.queue),
                    compute_input: duration(snapshot.compute_input),
                    compute_infer: duration(snapshot.compute_infer),
                    compute_output: duration(snapshot.compute_output),
                    cache_hit: duration(DurationCount::default()),
                    cache_miss: duration(DurationCount::default()),
                }),
                batch_stats: snapshot.batches.iter().map(batch).collect(),
                ..ModelStatistics::default()
            }
        })
        .collect();
    ModelStatisticsResponse { model_stats }
}

/// The answer to `RepositoryIndex`.
#[must_use]
pub fn repository_index_message(entries: &[RepositoryEntry]) -> RepositoryIndexResponse {
    let models = entries
        .iter()
        .map(|entry| ModelIndex {
            name: entry.name.clone(),
            version: entry.version.map(|(version, _)| version.to_string()).unwrap_or_default(),
            state: entry.version.map(|(_, state)| state.name().to_owned()).unwrap_or_default(),
            reason: if entry.version.is_some() { entry.reason.clone() } else { String::new() },
        })
        .collect();
    RepositoryIndexResponse { models }
}
